// A browser with tabs: locks, lines between tabs, and tabs that freeze with everything they hold.

import { SharedStream } from "../../src/taskbell/js/tabs.js";
import { Body, FakeClock, FakeServer, FakeStorage, OPENING, frame, ping, settle } from "./fakes.js";
import { page } from "./page.js";

/** Let tabs, lines and locks settle, which hear of each other in later turns of the loop. */
export async function quiet() {
  for (let turn = 0; turn < 4; turn += 1) await settle();
}

/** Locks as the Web Locks API grants them: one holder a name, in order; whoever steals is served at once. */
class FakeLocks {
  #held = new Map();
  #queues = new Map();

  holder(name) {
    return this.#held.get(name)?.tab ?? null;
  }

  request(tab, name, { signal, steal = false }, work) {
    return new Promise((resolve, reject) => {
      const request = { tab, work, resolve, reject };
      const queue = this.#queue(name);
      signal?.addEventListener("abort", () => {
        const at = queue.indexOf(request);
        if (at < 0) return;
        queue.splice(at, 1);
        reject(new DOMException("called off", "AbortError"));
      });
      if (steal) {
        this.#held.get(name)?.reject(new DOMException("stolen", "AbortError"));
        this.#held.delete(name);
        queue.unshift(request);
      } else queue.push(request);
      this.#serveSoon(name);
    });
  }

  /** A tab is gone: what it held is free, what it asked for is forgotten. */
  forget(tab) {
    for (const [name, queue] of this.#queues) {
      this.#queues.set(name, queue.filter((request) => request.tab !== tab));
      if (this.holder(name) === tab) this.#held.delete(name);
      this.#serveSoon(name);
    }
  }

  /** Another process grants them: not in the next turn, but in the one after. */
  #serveSoon(name) {
    setImmediate(() => setImmediate(() => this.#serve(name)));
  }

  #queue(name) {
    if (!this.#queues.has(name)) this.#queues.set(name, []);
    return this.#queues.get(name);
  }

  #serve(name) {
    if (this.#held.has(name)) return;
    const request = this.#queue(name).shift();
    if (request === undefined) return;
    this.#held.set(name, request);
    Promise.resolve(request.work()).then((value) => {
      if (this.#held.get(name) === request) this.#held.delete(name);
      request.resolve(value);
      this.#serve(name);
    });
  }
}

/** A tab's share of the world, which stands still while the tab is frozen and catches up when it thaws. */
class World {
  #frozen = null;
  #thaw = () => {};

  freeze() {
    this.#frozen = new Promise((resolve) => (this.#thaw = resolve));
  }

  async thaw() {
    this.#frozen = null;
    this.#thaw();
    await quiet();
  }

  /** Run it now, or when the tab thaws. */
  run(action) {
    if (this.#frozen === null) action();
    else this.#frozen.then(action);
  }

  async *pieces(body) {
    for await (const piece of body) {
      await this.#frozen;
      yield piece;
    }
  }
}

export class Browser {
  clock = new FakeClock();
  locks = new FakeLocks();
  #lines = new Set();

  constructor(server = new FakeServer()) {
    this.server = server;
  }

  /** A tab with a page in it; what its handlers of `message` heard is in `heard`. */
  async open({ at = 5, person = "ann", account, storage = new FakeStorage() } = {}) {
    const world = new World();
    const tab = { world };
    const clock = { ...this.clock, now: this.clock.now, later: (run, wait) => this.clock.later(() => world.run(run), wait) };
    const open = async (url, signal) => {
      const answer = await this.server.open(url, signal);
      tab.body = answer.pieces;
      return { ...answer, pieces: world.pieces(answer.pieces) };
    };
    const tabs = {
      locks: {
        request: (name, options, work) =>
          // A promise of a frozen tab is told when it thaws.
          new Promise((resolve, reject) => {
            const told = this.locks.request(tab, name, options, () => new Promise((done) => world.run(() => done(work()))));
            told.then((value) => world.run(() => resolve(value)), (error) => world.run(() => reject(error)));
          }),
      },
      line: (name) => this.#line(name, world),
    };
    const stream = (options) => new SharedStream(options, tabs, `taskbell:${person}:${options.url}`);
    const made = page({ server: this.server, clock, storage, person, account, at, open, stream });
    const heard = [];
    made.client.on("message", ({ n }) => heard.push(n));
    Object.assign(tab, made, { heard });
    made.client.start();
    await quiet();
    return tab;
  }

  /** Close a tab as a crash does: nothing of it runs any more. */
  async kill(tab) {
    tab.world.freeze();
    this.locks.forget(tab);
    this.server.hangUp?.(tab.body);
    await quiet();
  }

  get reader() {
    return this.locks.holder("taskbell:ann:/events/");
  }

  #line(name, world) {
    const lines = this.#lines;
    const line = {
      name,
      onmessage: null,
      postMessage(data) {
        for (const other of lines) {
          if (other === line || other.name !== name) continue;
          const copy = structuredClone(data);
          setImmediate(() => other.world.run(() => lines.has(other) && other.onmessage?.({ data: copy })));
        }
      },
      close: () => lines.delete(line),
      world,
    };
    lines.add(line);
    return line;
  }
}

/** A server with a log: every stream is told what came after its cursor, and what comes. */
export class LogServer {
  newest = 5;
  requests = 0;
  #bodies = new Set();

  open = async (url, signal) => {
    this.requests += 1;
    const after = Number(new URL(url, "http://site").searchParams.get("after").split(".")[2]);
    const body = new Body(signal);
    signal.addEventListener("abort", () => this.#bodies.delete(body));
    this.#bodies.add(body);
    body.push(OPENING + ping(after));
    for (let seq = after + 1; seq <= this.newest; seq += 1) body.push(frame(seq, "message", { n: seq }));
    return { status: 200, type: "text/event-stream", retryAfter: 0, pieces: body };
  };

  get streams() {
    return this.#bodies.size;
  }

  publish() {
    this.newest += 1;
    for (const body of this.#bodies) body.push(frame(this.newest, "message", { n: this.newest }));
  }

  ping() {
    for (const body of this.#bodies) body.push(ping(this.newest));
  }

  hangUp(body) {
    this.#bodies.delete(body);
  }

  /** Cut every connection, as a restart does. */
  cut() {
    for (const body of this.#bodies) body.fail();
    this.#bodies.clear();
  }
}
