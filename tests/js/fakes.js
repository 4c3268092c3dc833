/** A clock that moves when told, a server that answers as told, memory that can be broken. */

/** Let everything that was resolved run. A turn of the real loop, so that any chain of promises is through. */
export const settle = () => new Promise((resolve) => setImmediate(resolve));

export class FakeClock {
  #now = 1_000_000;
  #timers = new Map();
  #next = 1;

  now = () => this.#now;

  later = (run, milliseconds) => {
    this.#timers.set(this.#next, { run, at: this.#now + milliseconds });
    return this.#next++;
  };

  cancel = (timer) => void this.#timers.delete(timer);

  /** How long until the next timer, null if there is none. */
  get nextIn() {
    const times = [...this.#timers.values()].map(({ at }) => at - this.#now);
    return times.length ? Math.min(...times) : null;
  }

  async advance(milliseconds) {
    const end = this.#now + milliseconds;
    for (;;) {
      await settle();
      const due = [...this.#timers].filter(([, { at }]) => at <= end).sort((a, b) => a[1].at - b[1].at)[0];
      if (due === undefined) break;
      this.#timers.delete(due[0]);
      this.#now = Math.max(this.#now, due[1].at);
      due[1].run();
    }
    this.#now = end;
    await settle();
  }

  /** The machine sleeps: time goes on, no timer runs. */
  sleep(milliseconds) {
    this.#now += milliseconds;
  }
}

/** A body that a test writes piece by piece. */
export class Body {
  #queue = [];
  #wake = () => {};

  constructor(signal) {
    signal.addEventListener("abort", () => this.fail(new DOMException("aborted", "AbortError")));
  }

  push(piece) {
    this.#put({ value: typeof piece === "string" ? new TextEncoder().encode(piece) : piece });
  }

  end() {
    this.#put({ done: true });
  }

  fail(error = new TypeError("network error")) {
    this.#put({ error });
  }

  #put(item) {
    this.#queue.push(item);
    this.#wake();
  }

  async *[Symbol.asyncIterator]() {
    for (;;) {
      while (this.#queue.length === 0) await new Promise((resolve) => (this.#wake = resolve));
      const { value, done, error } = this.#queue.shift();
      if (error) throw error;
      if (done) return;
      yield value;
    }
  }
}

export class FakeServer {
  /** What was asked: url, signal and the body that answers. */
  requests = [];
  #answers = [];

  /** The next request gets this instead of a stream: a status, an answer's fields, or an error that is thrown. */
  answerOnce(answer) {
    this.#answers.push(answer);
  }

  get last() {
    return this.requests.at(-1);
  }

  get cursors() {
    return this.requests.map(({ url }) => new URL(url, "http://site").searchParams.get("after"));
  }

  open = async (url, signal) => {
    const body = new Body(signal);
    this.requests.push({ url, signal, body });
    const answer = this.#answers.shift() ?? {};
    if (answer instanceof Error) throw answer;
    if (answer === "hang") await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    return { status: 200, type: "text/event-stream; charset=utf-8", retryAfter: 0, pieces: body, ...answer };
  };

  async send(...frames) {
    this.last.body.push(frames.join(""));
    await settle();
  }
}

export class FakeStorage {
  constructor(values = {}) {
    Object.assign(this, values);
  }
  getItem(key) {
    return Object.hasOwn(this, key) ? this[key] : null;
  }
  setItem(key, value) {
    this[key] = String(value);
  }
  removeItem(key) {
    delete this[key];
  }
}

export const OPENING = "retry: 2000\n\n";
export const cursor = (seq, log = "log") => `1.${log}.${seq}.n${seq}`;
export const frame = (seq, type, data = {}) => `id: ${cursor(seq)}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
export const ping = (seq) => frame(seq, "ping");
export const reset = (seq, reason = "expired") => frame(seq, "reset", { reason });
export const bye = (reason, retry) => `retry: ${retry}\nevent: bye\ndata: {"reason":"${reason}"}\n\n`;

export const run = (fields = {}) => ({
  id: "r1",
  task_id: "t1",
  name: "photos.tasks.resize",
  label: "Resizing photo",
  state: "running",
  was: "queued",
  late: false,
  cancelling: false,
  attempt: 1,
  done: null,
  total: null,
  message: null,
  result: null,
  error: null,
  parent: null,
  queued_at: "2026-01-01T00:00:00.000Z",
  started_at: null,
  finished_at: null,
  next_attempt_at: null,
  at: "2026-01-01T00:00:01.000Z",
  ...fields,
});
