/**
 * One stream that stays: it reconnects, backs off, notices silence, and always goes on where it stopped.
 * What the messages mean is for its client.
 */

import { backoff } from "./backoff.js";
import { Parser } from "./sse.js";
import { isAnothers } from "./transport.js";

/**
 * @import { Message } from "./sse.js"
 * @import { Open } from "./transport.js"
 *
 * @typedef {"connecting" | "live" | "offline" | "signed-out"} Status
 *
 * @typedef {object} Clock
 * @property {() => number} now milliseconds; it must go on while the machine sleeps
 * @property {(run: () => void, milliseconds: number) => unknown} later returns what `cancel` takes
 * @property {(timer: any) => void} cancel
 *
 * @typedef {object} StreamOptions
 * @property {string} url
 * @property {string} cursor where to start, "" for now
 * @property {number} ping seconds between two signs of life of the server
 * @property {string} [account] whose the page is: a stream of anybody else's is not read
 * @property {Open} open
 * @property {Clock} clock
 * @property {() => number} [random]
 * @property {(message: Message) => void} onMessage must not throw
 * @property {(status: Status) => void} onStatus
 *
 * @typedef {{ wait: number } | "failed" | "refused"} End how a connection ended: a planned wait, or trouble
 */

const STREAM = /^text\/event-stream\s*(;|$)/i;
// The server pings every `ping` seconds give or take a fifth. Two may be missed, and half of one may be late.
const PATIENCE = 2.5;
// Whoever comes back to a page should not wait so long: beyond a ping and its jitter, silence is suspect.
const SUSPECT = 1.25;
// A maintenance page may name an hour; a person who waits for their work looks sooner.
const LONGEST_MS = 300_000;
// Where a stream says goodbye without naming a time.
const RETRY_MS = 2_000;
// More tabs than one person may have streams: if the closed ones came back at once, they would close each other.
const LIMIT_MS = 30_000;

export class Stream {
  /** The id of the last message that was handed on. */
  cursor;

  #options;
  #backoff;
  #patience;
  /** @type {Status} */
  #status = "connecting";
  /** @type {AbortController | null} */
  #connection = null;
  /** @type {unknown} */
  #waiting = null;
  /** @type {unknown} */
  #watchdog = null;
  #heardAt = 0;
  #liveAt = 0;
  #running = false;

  /** @param {StreamOptions} options */
  constructor(options) {
    this.#options = options;
    this.#backoff = backoff(options.random);
    this.#patience = options.ping * 1000 * PATIENCE;
    this.cursor = options.cursor;
  }

  /** Connect, if that is not under way. */
  start() {
    if (this.#running) return;
    this.#running = true;
    this.#tell("connecting");
    this.#connect();
  }

  /** Close; `start` goes on where it stopped. */
  stop() {
    this.#running = false;
    this.#drop();
  }

  /** Someone looks again, or the network is back: do not wait any longer, and do not trust a silent connection. */
  wake() {
    if (!this.#running) return;
    const silence = this.#options.clock.now() - this.#heardAt;
    if (this.#connection === null || silence > this.#options.ping * 1000 * SUSPECT) this.#connect();
  }

  async #connect() {
    this.#drop();
    const connection = (this.#connection = new AbortController());
    this.#liveAt = 0;
    this.#heard();
    this.#watch(this.#patience);
    /** @type {End} */
    let end;
    try {
      end = await this.#read(connection.signal);
    } catch {
      // The network, or what stands in it, has many ways to say no. All of them mean: later.
      end = "failed";
    }
    // Stopped, or replaced by a newer one.
    if (this.#connection !== connection) return;
    const lived = this.#liveAt ? this.#options.clock.now() - this.#liveAt : 0;
    this.#drop();
    this.#plan(end, lived);
  }

  /** @param {AbortSignal} signal @returns {Promise<End>} */
  async #read(signal) {
    const answer = await this.#options.open(this.#address(), signal);
    if (answer.status === 401 || isAnothers(answer.account, this.#options.account)) return "refused";
    // A proxy's page in our place, be it with 200: not a stream.
    if (answer.status !== 200 || !STREAM.test(answer.type)) {
      return answer.retryAfter ? { wait: answer.retryAfter + this.#backoff() } : "failed";
    }
    let retry = RETRY_MS;
    /** @type {End[]} */
    const byes = [];
    const parser = new Parser({
      onRetry: (milliseconds) => (retry = milliseconds),
      onMessage: (message) => {
        if (signal.aborted || byes.length) return;
        if (message.type === "bye") byes.push({ wait: message.data.includes('"limit"') ? Math.max(retry, LIMIT_MS) : retry });
        else this.#hand(message);
      },
    });
    for await (const piece of answer.pieces) {
      if (signal.aborted) break;
      this.#heard();
      parser.feed(piece);
      if (byes.length) return byes[0];
    }
    return "failed";
  }

  /** @param {Message} message */
  #hand(message) {
    if (!this.#liveAt) this.#liveAt = this.#options.clock.now();
    this.#tell("live");
    this.#options.onMessage(message);
    if (message.id) this.cursor = message.id;
  }

  /** @param {End} end @param {number} lived */
  #plan(end, lived) {
    if (end === "refused") {
      this.#tell("signed-out");
      return;
    }
    // A goodbye was planned, and nobody needs to worry.
    this.#tell(end !== "failed" && this.#status === "live" ? "connecting" : "offline");
    const wait = end === "failed" ? this.#backoff(lived) : end.wait;
    this.#waiting = this.#options.clock.later(() => this.#connect(), Math.min(wait, LONGEST_MS));
  }

  #address() {
    if (!this.cursor) return this.#options.url;
    const joint = this.#options.url.includes("?") ? "&" : "?";
    return `${this.#options.url}${joint}after=${encodeURIComponent(this.cursor)}`;
  }

  #heard() {
    this.#heardAt = this.#options.clock.now();
  }

  /** A timer that looks now and then is cheaper than one that is set anew with every byte. @param {number} wait */
  #watch(wait) {
    this.#watchdog = this.#options.clock.later(() => {
      const left = this.#heardAt + this.#patience - this.#options.clock.now();
      if (left > 0) this.#watch(left);
      else this.#connection?.abort();
    }, wait);
  }

  #drop() {
    this.#options.clock.cancel(this.#waiting);
    this.#options.clock.cancel(this.#watchdog);
    this.#waiting = this.#watchdog = null;
    const connection = this.#connection;
    this.#connection = null;
    connection?.abort();
  }

  /** @param {Status} status */
  #tell(status) {
    if (status === this.#status) return;
    this.#status = status;
    this.#options.onStatus(status);
  }
}
