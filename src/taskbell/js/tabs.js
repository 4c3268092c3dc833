/**
 * One stream for all tabs of a browser that would open the same: the tab that holds a lock reads it and tells the
 * others. Over HTTP/1.1 a browser has six connections to a server, and a stream takes one for as long as it lives.
 *
 * Every tab keeps its own cursor. Each message is told with the cursor that it follows, so a tab that missed one knows
 * it, and says where it stands. The reader tells again what it remembers, or reads again from there.
 */

import { isAfter } from "./cursor.js";
import { Reader } from "./reader.js";

/**
 * @import { Told } from "./reader.js"
 * @import { Message } from "./sse.js"
 * @import { Status, StreamOptions } from "./stream.js"
 *
 * @typedef {Pick<BroadcastChannel, "postMessage" | "onmessage" | "close">} Line what tabs hear each other by
 *
 * @typedef {object} Tabs
 * @property {Pick<LockManager, "request">} locks
 * @property {(name: string) => Line} line
 */

// The server pings every `ping` seconds give or take a fifth. A reader whose own connection broke notices after two
// and a half, and says so; one that says nothing for longer is frozen with the lock in its hand.
const PATIENCE = 3;
// When someone looks, the reader has this long to say that it is there.
const ANSWER_MS = 1_000;
// The heirs of a reader do not all come at once.
const JITTER = 0.25;
// A timer that is this late was asleep with its machine, and so was the reader.
const ASLEEP_MS = 5_000;

export class SharedStream {
  /** The id of the last message that was handed on. */
  cursor;

  #options;
  #tabs;
  #name;
  /** @type {Line | null} */
  #line = null;
  /** Our place in the queue for the lock; aborted, we leave it or give the lock back. @type {AbortController | null} */
  #turn = null;
  /** @type {Reader | null} */
  #reader = null;
  /** @type {Status} */
  #status = "connecting";
  #heardAt = 0;
  #silent = false;
  /** @type {unknown} */
  #watchdog = null;

  /**
   * @param {StreamOptions} options
   * @param {Tabs} tabs
   * @param {string} name the same in every tab that may hear this stream, and in no other
   */
  constructor(options, tabs, name) {
    this.#options = options;
    this.#tabs = tabs;
    this.#name = name;
    this.cursor = options.cursor;
  }

  /** Listen, and read when it is our turn. */
  start() {
    if (this.#line !== null) return;
    this.#line = this.#tabs.line(this.#name);
    this.#line.onmessage = ({ data }) => this.#hear(/** @type {Told} */ (data));
    this.#queue();
  }

  /** Leave; another tab reads on, and `start` goes on where this one stopped. */
  stop() {
    this.#leaveQueue();
    this.#line?.close();
    this.#line = null;
  }

  /** Someone looks again, or the network is back. */
  wake() {
    if (this.#line === null) return;
    if (this.#reader !== null) {
      this.#reader.wake();
      return;
    }
    this.#say({ kind: "wake" });
    this.#watch(this.#jittered(ANSWER_MS));
  }

  // The lock

  #queue() {
    this.#watch(this.#patience);
    this.#request((turn) => ({ signal: turn.signal }));
    this.#stand();
  }

  #takeOver() {
    this.#leaveQueue();
    // What steals is granted at once, and takes no signal.
    this.#request(() => ({ steal: true }));
  }

  /** @param {(turn: AbortController) => LockOptions} how */
  #request(how) {
    const turn = (this.#turn = new AbortController());
    this.#tabs.locks
      .request(this.#name, how(turn), () => this.#read(turn.signal))
      .catch(() => {
        // We left, or a tab that did not hear us took the lock.
        if (this.#turn !== turn) return;
        this.#leaveQueue();
        this.#queue();
      });
  }

  #leaveQueue() {
    this.#options.clock.cancel(this.#watchdog);
    this.#reader?.stop();
    this.#reader = null;
    const turn = this.#turn;
    this.#turn = null;
    turn?.abort();
  }

  /** Read for as long as the promise lasts. @param {AbortSignal} signal */
  #read(signal) {
    if (signal.aborted) return undefined;
    this.#options.clock.cancel(this.#watchdog);
    this.#reader = new Reader(this.#options, this.cursor, (told) => {
      this.#say(told);
      this.#take(told);
    });
    return new Promise((resolve) => signal.addEventListener("abort", resolve));
  }

  // The other tabs

  /** @param {Told} told */
  #say(told) {
    this.#line?.postMessage(told);
  }

  #stand() {
    this.#say({ kind: "stand", cursor: this.cursor });
  }

  /** @param {Told} told */
  #hear(told) {
    if (told.kind === "stand") this.#reader?.tellFrom(told.cursor);
    else if (told.kind === "wake") this.#reader?.wake();
    else if (this.#reader === null) {
      // If we read too, the other was frozen while we took the lock, and learns of it now.
      this.#heard();
      this.#take(told);
    }
  }

  /** @param {Told} told */
  #take(told) {
    if (told.kind === "status") this.#changeStatus(told.status);
    if (told.kind !== "message") return;
    const { message, after } = told;
    // A reader cannot miss what it reads.
    if (this.#reader === null && this.#missed(after)) this.#stand();
    else this.#receive(message);
  }

  /** Whether something came between what this tab has and `after`. @param {string} after */
  #missed(after) {
    return this.cursor !== "" && after !== this.cursor && isAfter(this.cursor, after) !== true;
  }

  /** @param {Message} message */
  #receive(message) {
    if (this.#hasPassed(message)) return;
    this.#options.onMessage(message);
    if (message.id) this.cursor = message.id;
  }

  /** Whether it was told again for another tab's sake. @param {Message} message */
  #hasPassed({ type, id }) {
    // A ping stands at the id of the event before it.
    if (type === "ping") return isAfter(this.cursor, id) === true;
    return type !== "reset" && isAfter(id, this.cursor) === false;
  }

  /** @param {Status} status */
  #changeStatus(status) {
    if (status === this.#status) return;
    this.#status = status;
    this.#options.onStatus(status);
  }

  // The watch over the reader

  #heard() {
    this.#heardAt = this.#options.clock.now();
    this.#silent = false;
  }

  get #patience() {
    return this.#jittered(this.#options.ping * 1000 * PATIENCE);
  }

  /** @param {number} wait */
  #jittered(wait) {
    const { random = Math.random } = this.#options;
    return wait * (1 + JITTER * random());
  }

  /** Take over if the reader says nothing for so long. @param {number} wait */
  #watch(wait) {
    const { clock } = this.#options;
    const due = clock.now() + wait;
    this.#silent = true;
    clock.cancel(this.#watchdog);
    this.#watchdog = clock.later(() => {
      if (clock.now() - due > ASLEEP_MS) this.#heard();
      if (this.#silent) this.#takeOver();
      else this.#watch(this.#heardAt + this.#patience - clock.now());
    }, wait);
  }
}
