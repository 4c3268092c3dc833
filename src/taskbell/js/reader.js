/** The tab that reads for all: a stream, and what it told lately. */

import { isAfter } from "./cursor.js";
import { Stream } from "./stream.js";

/**
 * @import { Message } from "./sse.js"
 * @import { Status, StreamOptions } from "./stream.js"
 *
 * @typedef {{ kind: "status", status: Status } | { kind: "message", after: string, message: Message }
 *   | { kind: "stand", cursor: string } | { kind: "wake" }} Told what tabs say to each other: the reader how reading
 *   goes, and a message with the cursor that it follows; the others where they stand, and that someone looks
 */

// As many as the server replays at most (REPLAY_LIMIT). A tab further behind has the stream read again.
const REMEMBERED = 1_000;

export class Reader {
  #options;
  #say;
  /** @type {Stream} */
  #stream;
  /** @type {Status} */
  #status = "connecting";
  /** What was told since `#from`. @type {Message[]} */
  #told = [];
  #from;

  /**
   * @param {StreamOptions} options
   * @param {string} cursor where to begin
   * @param {(told: Told) => void} say tells all tabs, the reader's own among them
   */
  constructor(options, cursor, say) {
    this.#options = options;
    this.#say = say;
    this.#from = cursor;
    this.#stream = this.#open();
    this.#stream.start();
  }

  stop() {
    this.#stream.stop();
  }

  wake() {
    this.#stream.wake();
    this.#sayStatus();
  }

  /** A tab stands at `cursor`: tell it again what came after, or read again from there. @param {string} cursor */
  tellFrom(cursor) {
    this.#sayStatus();
    if (cursor === "" || cursor === this.#stream.cursor) return;
    if (cursor === this.#from || isAfter(cursor, this.#from)) this.#tellAgain(cursor);
    else this.#readFrom(cursor);
  }

  #open() {
    return new Stream({
      ...this.#options,
      cursor: this.#from,
      onMessage: (message) => this.#tell(message),
      onStatus: (status) => {
        this.#status = status;
        this.#sayStatus();
      },
    });
  }

  #sayStatus() {
    this.#say({ kind: "status", status: this.#status });
  }

  /** @param {Message} message */
  #tell(message) {
    const after = this.#stream.cursor;
    if (message.type === "reset") {
      this.#told = [];
      this.#from = message.id;
    } else this.#remember(message);
    this.#say({ kind: "message", after, message });
  }

  /** @param {Message} message */
  #remember(message) {
    this.#told.push(message);
    if (this.#told.length > REMEMBERED) this.#from = /** @type {Message} */ (this.#told.shift()).id;
  }

  /** @param {string} cursor */
  #tellAgain(cursor) {
    for (const message of this.#told) {
      if (isAfter(message.id, cursor)) this.#say({ kind: "message", after: cursor, message });
    }
  }

  /** @param {string} cursor */
  #readFrom(cursor) {
    this.#stream.stop();
    this.#told = [];
    this.#from = cursor;
    this.#stream = this.#open();
    this.#stream.start();
  }
}
