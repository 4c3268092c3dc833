/**
 * What a page talks to. It touches no DOM: streams, memory and the API are handed in.
 *
 * A snapshot (the page as the server rendered it, or the API's list) says how things stood at its cursor; the stream
 * tells everything after the last event that was handled, which may be earlier: on the page before.
 */

import { Backoff } from "./backoff.js";
import { isAfter } from "./cursor.js";
import { endingOf, hasEnded } from "./runs.js";
import { Stream } from "./stream.js";
import { Watch } from "./watch.js";

/**
 * @import { Place } from "./place.js"
 * @import { Run, Snapshot } from "./runs.js"
 * @import { Message } from "./sse.js"
 * @import { Clock, Status, StreamOptions } from "./stream.js"
 * @import { Open } from "./transport.js"
 *
 * @typedef {(data: any, message: Message) => void} Handler gets the payload, and the event as it was on the wire
 * @typedef {{ start(): void, stop(): void, wake(): void }} Streaming
 * @typedef {{ list(): Promise<Snapshot>, run(id: string): Promise<{ run: Run | null, cursor: string }> }} Reading
 *
 * @typedef {object} ClientOptions
 * @property {string} events the address of the own stream
 * @property {string} cursor where in the log the page is true
 * @property {number} ping seconds between two pings of the server
 * @property {Place} place
 * @property {Reading | null} api null where the project serves none: then nothing is read anew
 * @property {Open} open
 * @property {Clock} clock
 * @property {() => number} [random]
 * @property {(error: unknown) => void} [report]
 * @property {(options: StreamOptions) => Streaming} [stream]
 */

// As many as the server replays at most (REPLAY_LIMIT): older ones cannot come again.
const REMEMBERED = 1_000;
// Up to here runs are cheaper to read one by one than with the list.
const FEW = 2;

/**
 * Dispatches `status`; `ending` (detail: the run) once for each run that ended, told by an event or, after a `reset`,
 * by the snapshot; `snapshot` (detail: runs and cursor) when the list of runs was read anew.
 */
export class Client extends EventTarget {
  /** @type {Status} */
  status = "connecting";

  #options;
  #own;
  #cursor;
  #report;
  /** @type {Map<string, Set<{ handler: Handler }>>} */
  #handlers = new Map();
  /** @type {Map<string, Channel>} */
  #channels = new Map();
  /** @type {Set<Watch>} */
  #watches = new Set();
  #handled = new Recent(REMEMBERED);
  #rung = new Recent(REMEMBERED);
  #running = false;

  // What is to be read from the API.
  #readList = false;
  #afterReset = false;
  /** @type {Set<Watch>} */
  #readWatches = new Set();
  /** @type {Promise<void> | null} */
  #reading = null;

  /** @param {ClientOptions} options */
  constructor(options) {
    super();
    this.#options = options;
    this.#report = options.report ?? console.error;
    this.#cursor = options.place.cursor || options.cursor;
    this.#own = this.#stream({
      url: options.events,
      cursor: this.#cursor,
      onMessage: (message) => this.#receive(message),
      onStatus: (status) => this.#changeStatus(status),
    });
  }

  /**
   * Call `handler` with every event of a type; return the switch that ends it.
   * @param {string} type
   * @param {Handler} handler
   * @returns {() => void}
   */
  on(type, handler) {
    return add(this.#handlers, type, handler);
  }

  /**
   * Watch a run, known by our id or its engine's. What is handed in as `run` held at `cursor`; else it is read.
   * @param {string} id
   * @param {Run | null} [run]
   * @param {string} [cursor]
   */
  watch(id, run = null, cursor = this.#options.cursor) {
    const watch = new Watch(id, (closed) => this.#watches.delete(closed));
    this.#watches.add(watch);
    if (run !== null) watch.stood(run, cursor);
    if (run === null || this.isBehind(cursor)) {
      this.#readWatches.add(watch);
      this.#read();
    }
    return watch;
  }

  /**
   * Read a channel. By default from where the page is true, so that nothing falls between page and stream.
   * @param {string} name
   * @param {{ after?: string }} [where] a cursor; "" for from now on
   * @returns {Channel}
   */
  channel(name, { after = this.#options.cursor } = {}) {
    let channel = this.#channels.get(name);
    if (channel === undefined) {
      const url = `${this.#options.events}?channel=${encodeURIComponent(name)}`;
      const opened = new Channel((receive) => {
        return this.#stream({ url, cursor: after, onMessage: receive, onStatus: () => {} });
      }, this.#report);
      this.#channels.set(name, (channel = opened));
      if (this.#running) opened.start();
    }
    return channel;
  }

  /** Whether the stream has gone on since `cursor`, as far as can be known. @param {string} cursor */
  isBehind(cursor) {
    return this.#cursor !== cursor && isAfter(cursor, this.#cursor) !== true;
  }

  /** Read the list of runs, and those under watch, anew. */
  refresh() {
    this.#readList = true;
    this.#read();
  }

  start() {
    this.#running = true;
    this.#own.start();
    for (const channel of this.#channels.values()) channel.start();
  }

  /** Close all streams; `start` goes on where they stopped. */
  stop() {
    this.#running = false;
    this.#own.stop();
    for (const channel of this.#channels.values()) channel.stop();
  }

  /** Someone looks at the page again, or the network is back. */
  wake() {
    this.#own.wake();
    for (const channel of this.#channels.values()) channel.wake();
  }

  /** @param {Pick<StreamOptions, "url" | "cursor" | "onMessage" | "onStatus">} own */
  #stream(own) {
    const { ping, open, clock, random, stream = (options) => new Stream(options) } = this.#options;
    return stream({ ping, open, clock, random, ...own });
  }

  /** @param {Message} message */
  #receive(message) {
    if (message.type === "reset") this.#missed();
    if (isNew(message, this.#handled)) this.#tell(message);
    if (message.id) this.#options.place.cursor = this.#cursor = message.id;
  }

  /** @param {Message} message */
  #tell(message) {
    const data = parse(message, this.#report);
    if (data === undefined) return;
    if (message.type === "run") this.#happened(data, message.id);
    call(this.#handlers, data, message, this.#report);
  }

  /** @param {Run} run @param {string} cursor */
  #happened(run, cursor) {
    for (const watch of this.#watches) if (watch.means(run)) watch.happened(run, cursor);
    this.#ring(run);
  }

  /** @param {Run} run */
  #ring(run) {
    if (hasEnded(run) && this.#rung.add(endingOf(run))) this.dispatchEvent(new CustomEvent("ending", { detail: run }));
  }

  #missed() {
    this.#afterReset = true;
    this.refresh();
  }

  /** @param {Status} status */
  #changeStatus(status) {
    if (status === "signed-out") this.#options.place.clear();
    this.status = status;
    this.dispatchEvent(new Event("status"));
  }

  #read() {
    if (this.#options.api === null) return;
    this.#reading ??= this.#readAll(this.#options.api).finally(() => (this.#reading = null));
  }

  /** Read until nothing is wanted any more: one reader at a time, who takes along what is asked meanwhile. @param {Reading} api */
  async #readAll(api) {
    const backoff = new Backoff(this.#options.random);
    // The elements of a page ask one after the other.
    await null;
    while (this.#readList || this.#readWatches.size) {
      const [list, watches, ring] = [this.#readList, this.#readWatches, this.#afterReset];
      [this.#readList, this.#readWatches, this.#afterReset] = [false, new Set(), false];
      try {
        await this.#readOnce(api, list, list ? new Set(this.#watches) : watches, ring);
      } catch (error) {
        if (isRefusal(error)) return;
        this.#readList ||= list;
        this.#readWatches = new Set([...this.#readWatches, ...watches]);
        this.#afterReset ||= ring;
        await new Promise((resolve) => this.#options.clock.later(() => resolve(null), backoff.next()));
      }
    }
  }

  /**
   * @param {Reading} api
   * @param {boolean} list
   * @param {Set<Watch>} watches
   * @param {boolean} ring whether endings found now have been told by no event
   */
  async #readOnce(api, list, watches, ring) {
    const missing = new Set(watches);
    if (list || watches.size > FEW) {
      const snapshot = await api.list();
      for (const run of snapshot.runs) {
        for (const watch of this.#watches) {
          if (!watch.means(run)) continue;
          this.#stood(watch, run, snapshot.cursor, ring);
          missing.delete(watch);
        }
      }
      this.dispatchEvent(new CustomEvent("snapshot", { detail: snapshot }));
    }
    for (const watch of missing) {
      const { run, cursor } = await api.run(watch.id);
      if (run !== null) this.#stood(watch, run, cursor, ring);
    }
  }

  /** @param {Watch} watch @param {Run} run @param {string} cursor @param {boolean} ring */
  #stood(watch, run, cursor, ring) {
    const wasOpen = watch.run !== null && !hasEnded(watch.run);
    watch.stood(run, cursor);
    if (ring && wasOpen && watch.run !== null) this.#ring(watch.run);
  }
}

/** One channel; its stream is open as long as anyone listens. */
class Channel {
  /** @type {Map<string, Set<{ handler: Handler }>>} */
  #handlers = new Map();
  #handled = new Recent(REMEMBERED);
  #stream;
  #report;
  #mayRun = false;

  /**
   * @param {(receive: (message: Message) => void) => Streaming} open
   * @param {(error: unknown) => void} report
   */
  constructor(open, report) {
    this.#report = report;
    this.#stream = open((message) => this.#receive(message));
  }

  /**
   * As the client's own `on`.
   * @param {string} type
   * @param {Handler} handler
   * @returns {() => void}
   */
  on(type, handler) {
    const off = add(this.#handlers, type, handler);
    if (this.#mayRun) this.#stream.start();
    return () => {
      off();
      if (this.#handlers.size === 0) this.#stream.stop();
    };
  }

  /** @internal */
  start() {
    this.#mayRun = true;
    if (this.#handlers.size) this.#stream.start();
  }

  /** @internal */
  stop() {
    this.#mayRun = false;
    this.#stream.stop();
  }

  /** @internal */
  wake() {
    this.#stream.wake();
  }

  /** @param {Message} message */
  #receive(message) {
    if (!isNew(message, this.#handled)) return;
    const data = parse(message, this.#report);
    if (data !== undefined) call(this.#handlers, data, message, this.#report);
  }
}

/** The newest so many of anything. */
class Recent {
  /** @type {Set<string>} */
  #kept = new Set();
  #most;

  /** @param {number} most */
  constructor(most) {
    this.#most = most;
  }

  /** Return whether it was new. @param {string} text */
  add(text) {
    if (this.#kept.has(text)) return false;
    this.#kept.add(text);
    // A Set iterates in the order of adding, so the first is the oldest.
    for (const oldest of this.#kept) {
      if (this.#kept.size <= this.#most) break;
      this.#kept.delete(oldest);
    }
    return true;
  }
}

/**
 * Whether an event has not been here before. A ping and a reset stand at the id of an event without being it.
 * @param {Message} message
 * @param {Recent} handled
 */
function isNew({ type, id }, handled) {
  if (type === "ping") return false;
  return type === "reset" || id === "" || handled.add(id);
}

/**
 * @param {Message} message
 * @param {(error: unknown) => void} report
 * @returns {any} undefined where there is no JSON
 */
function parse(message, report) {
  try {
    return JSON.parse(message.data);
  } catch (error) {
    report(error);
    return undefined;
  }
}

/**
 * @param {Map<string, Set<{ handler: Handler }>>} handlers
 * @param {string} type
 * @param {Handler} handler
 */
function add(handlers, type, handler) {
  // An entry of its own, so that one function registered twice is called twice and switched off once.
  const entry = { handler };
  handlers.set(type, (handlers.get(type) ?? new Set()).add(entry));
  return () => {
    const entries = handlers.get(type);
    entries?.delete(entry);
    if (entries?.size === 0) handlers.delete(type);
  };
}

/**
 * Call the handlers of a message; one that throws keeps no other from its event.
 * @param {Map<string, Set<{ handler: Handler }>>} handlers
 * @param {any} data
 * @param {Message} message
 * @param {(error: unknown) => void} report
 */
function call(handlers, data, message, report) {
  for (const { handler } of [...(handlers.get(message.type) ?? [])]) {
    try {
      handler(data, message);
    } catch (error) {
      report(error);
    }
  }
}

/** Signed out, or not for us: asking again helps nobody. @param {unknown} error */
function isRefusal(error) {
  return error instanceof Error && "status" in error && (error.status === 401 || error.status === 403);
}
