/**
 * What a page talks to. It touches no DOM: streams, memory and the API are handed in.
 *
 * A snapshot (the page as the server rendered it, or the API's list) says how things stood at its cursor; the stream
 * tells everything after the last event that was handled, which may be earlier: on the page before.
 */

import { backoff } from "./backoff.js";
import { isAfter } from "./cursor.js";
import { Handlers, Recent } from "./handlers.js";
import { endingOf, hasEnded } from "./runs.js";
import { Stream } from "./stream.js";
import { Watch } from "./watch.js";

/**
 * @import { Handler } from "./handlers.js"
 * @import { Mark, NotificationPage } from "./inbox.js"
 * @import { Place, Unread } from "./place.js"
 * @import { Push } from "./push.js"
 * @import { Run } from "./runs.js"
 * @import { Message } from "./sse.js"
 * @import { Clock, Status, StreamOptions } from "./stream.js"
 * @import { Api, Open } from "./transport.js"
 *
 * @typedef {object} ClientOptions
 * @property {string} events the address of the own stream
 * @property {string} cursor where in the log the page is true
 * @property {number} ping seconds between two pings of the server
 * @property {string} [account] whose the page is
 * @property {Place} place
 * @property {Api | null} api null where the project serves none: then nothing is read anew, cancelled or marked
 * @property {Open} open
 * @property {Clock} clock
 * @property {() => number} [random]
 * @property {(error: unknown) => void} [report] told what a handler threw
 * @property {(options: StreamOptions) => Streaming} [stream]
 *
 * @typedef {{ start(): void, stop(): void, wake(): void }} Streaming
 *
 * @typedef {object} Channel its stream is open as long as anyone listens
 * @property {(type: string, handler: Handler) => () => void} on as the client's own
 */

/**
 * Dispatches `status`; `ending` (detail: the run) once for each run that ended, told by an event or, after a `reset`,
 * by the snapshot; `snapshot` (detail: runs and cursor) when the list of runs was read anew.
 */
export class Client extends EventTarget {
  /** @type {Status} */
  status = "connecting";

  /** @type {Push | null} Web Push in this browser; null where there is none, or the site sends none */
  push = null;

  #options;
  #cursor;
  #handlers;
  /** @type {Map<string, Channel>} */
  #channels = new Map();
  /** @type {Set<Streaming>} */
  #streams = new Set();
  #running = false;
  /** @type {Set<Watch>} */
  #watches = new Set();
  #rung = new Recent();

  // What is to be read from the API: the list, those of these runs that are not in it, and whether endings that are
  // found so have been told by no event.
  #stale = false;
  /** @type {Set<Watch>} */
  #wanted = new Set();
  #missed = false;
  /** @type {Promise<void> | null} */
  #reading = null;

  /** @param {ClientOptions} options */
  constructor(options) {
    super();
    this.#options = { report: console.error, ...options };
    this.#handlers = new Handlers(this.#options.report);
    this.#cursor = options.place.cursor || options.cursor;
    const own = this.#stream({
      url: options.events,
      cursor: this.#cursor,
      onMessage: (message) => this.#receive(message),
      onStatus: (status) => this.#changeStatus(status),
    });
    this.#streams.add(own);
  }

  /**
   * Call `handler` with every event of a type; return the switch that ends it.
   * @param {string} type
   * @param {Handler} handler
   */
  on(type, handler) {
    return this.#handlers.on(type, handler);
  }

  /**
   * Watch a run, known by our id or its engine's. What is handed in as `run` held at `cursor`; else it is read.
   * @param {string} id
   * @param {Run | null} [run]
   * @param {string} [cursor]
   */
  watch(id, run = null, cursor = this.#options.cursor) {
    const watch = new Watch(id, {
      close: () => this.#watches.delete(watch),
      cancel: (own) => this.cancel(own),
    });
    this.#watches.add(watch);
    if (run !== null) watch.take(run, cursor);
    if (run === null || this.isBehind(cursor)) this.#read([watch]);
    return watch;
  }

  /**
   * Ask for the end of a run, known by our id or its engine's. Resolves with the run as it is then: cancelling, or as it
   * had ended; that it really ends is told as any ending. Rejects with an Error that says why it was not asked for.
   * @param {string} id
   */
  async cancel(id) {
    const run = await this.#api.cancel(id);
    for (const watch of this.#watches) if (watch.means(run)) watch.answer(run);
    return run;
  }

  /**
   * Say that a person could see these notifications: they are not pushed to their devices any more.
   * @param {Mark} which ids, or "all"
   */
  async seen(which) {
    return this.#api.mark("seen", which);
  }

  /**
   * Say that a person has read these notifications. Resolves with how many are unread then; so are all tabs told.
   * @param {Mark} which ids, or "all"
   */
  async read(which) {
    return this.#api.mark("read", which);
  }

  /**
   * Read a page of the person's notifications, newest first.
   * @param {string} [before] the id of the oldest that is known
   * @returns {Promise<NotificationPage>}
   */
  async notifications(before) {
    return this.#api.notifications(before);
  }

  /** Whether the project serves the API, by which runs are read anew and cancelled. */
  get hasApi() {
    return this.#options.api !== null;
  }

  get #api() {
    const { api } = this.#options;
    if (api === null) throw new Error('This needs path("…", include("taskbell.urls.api")) in the URLconf.');
    return api;
  }

  /**
   * Read a channel. By default from where the page is true, so that nothing falls between page and stream.
   * @param {string} name
   * @param {{ after?: string }} [where] a cursor; "" for from now on. What was opened before goes on where it is
   * @returns {Channel}
   */
  channel(name, { after = this.#options.cursor } = {}) {
    const channel = this.#channels.get(name) ?? this.#openChannel(name, after);
    this.#channels.set(name, channel);
    return channel;
  }

  /** Whether the stream has gone on since `cursor`, as far as can be known. @param {string} cursor */
  isBehind(cursor) {
    return this.#cursor !== cursor && isAfter(cursor, this.#cursor) !== true;
  }

  /** Read the list of runs anew. */
  refresh() {
    this.#read([]);
  }

  start() {
    this.#running = true;
    for (const stream of this.#streams) stream.start();
  }

  /** Close all streams; `start` goes on where they stopped. */
  stop() {
    this.#running = false;
    for (const stream of this.#streams) stream.stop();
  }

  /** Someone looks at the page again, or the network is back. */
  wake() {
    for (const stream of this.#streams) stream.wake();
  }

  /** Keep what nobody had time to read for the person's next page. @param {Unread[]} unread */
  leaveUnread(unread) {
    if (this.status !== "signed-out") this.#options.place.leaveUnread(unread);
  }

  /** @returns {Unread[]} what the page before has left */
  takeUnread() {
    return this.#options.place.takeUnread();
  }

  /** @param {Pick<StreamOptions, "url" | "cursor" | "onMessage" | "onStatus">} own */
  #stream(own) {
    const { stream = (options) => new Stream(options) } = this.#options;
    return stream({ ...this.#options, ...own });
  }

  /** @param {string} name @param {string} cursor @returns {Channel} */
  #openChannel(name, cursor) {
    const url = `${this.#options.events}?channel=${encodeURIComponent(name)}`;
    const handlers = new Handlers(this.#options.report);
    const stream = this.#stream({ url, cursor, onMessage: (message) => handlers.receive(message), onStatus() {} });
    return {
      on: (type, handler) => {
        const off = handlers.on(type, handler);
        this.#streams.add(stream);
        if (this.#running) stream.start();
        return () => {
          off();
          if (handlers.empty && this.#streams.delete(stream)) stream.stop();
        };
      },
    };
  }

  /** @param {Message} message */
  #receive(message) {
    if (message.type === "reset") {
      this.#missed = true;
      this.#read(this.#watches);
    }
    this.#handlers.receive(message, (data) => {
      if (message.type === "run") this.#happened(data, message.id);
    });
    if (message.id) this.#options.place.cursor = this.#cursor = message.id;
  }

  /** @param {Run} run @param {string} cursor */
  #happened(run, cursor) {
    for (const watch of this.#watches) if (watch.means(run)) watch.take(run, cursor);
    this.#ring(run);
  }

  /** @param {Run} run */
  #ring(run) {
    if (hasEnded(run) && run.step == null && this.#rung.add(endingOf(run))) this.dispatchEvent(new CustomEvent("ending", { detail: run }));
  }

  /** @param {Status} status */
  #changeStatus(status) {
    if (status === "signed-out") this.#options.place.clear();
    this.status = status;
    this.dispatchEvent(new Event("status"));
  }

  /** @param {Iterable<Watch>} watches */
  #read(watches) {
    const { api } = this.#options;
    if (api === null) return;
    this.#stale = true;
    for (const watch of watches) this.#wanted.add(watch);
    // One reader at a time, who takes along what is wanted meanwhile.
    this.#reading ??= this.#readAll(api).finally(() => (this.#reading = null));
  }

  /** @param {Api} api */
  async #readAll(api) {
    const pause = backoff(this.#options.random);
    // The elements of a page ask one after the other.
    await null;
    while (this.#stale) {
      const [wanted, missed] = [this.#wanted, this.#missed];
      this.#stale = this.#missed = false;
      this.#wanted = new Set();
      try {
        await this.#readOnce(api, wanted, missed);
      } catch (error) {
        // Signed out, or not for us: asking again helps nobody.
        if (error instanceof Error && (error.cause === 401 || error.cause === 403)) return;
        await new Promise((resolve) => this.#options.clock.later(() => resolve(null), pause()));
        this.#stale = true;
        this.#missed ||= missed;
        for (const watch of wanted) this.#wanted.add(watch);
      }
    }
  }

  /** @param {Api} api @param {Set<Watch>} wanted @param {boolean} missed */
  async #readOnce(api, wanted, missed) {
    const missing = new Set(wanted);
    const snapshot = await api.list();
    for (const run of snapshot.runs) {
      for (const watch of this.#watches) {
        if (!watch.means(run)) continue;
        this.#stood(watch, run, snapshot.cursor, missed);
        missing.delete(watch);
      }
    }
    this.dispatchEvent(new CustomEvent("snapshot", { detail: snapshot }));
    for (const watch of missing) {
      const { run, cursor } = await api.run(watch.id);
      if (run !== null) this.#stood(watch, run, cursor, missed);
    }
  }

  /** @param {Watch} watch @param {Run} run @param {string} cursor @param {boolean} missed */
  #stood(watch, run, cursor, missed) {
    const wasOpen = watch.run !== null && !hasEnded(watch.run);
    watch.take(run, cursor);
    if (missed && wasOpen && watch.run !== null) this.#ring(watch.run);
  }
}
