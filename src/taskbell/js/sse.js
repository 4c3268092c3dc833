/**
 * Server-Sent Events: from pieces of a response to events (WHATWG HTML, section 9.2.6).
 * Pure: no clock and no network; what was found is told to callbacks.
 */

/**
 * @typedef {object} Message one event as it was on the wire
 * @property {string} type `message` where the stream named none
 * @property {string} data
 * @property {string} id the last id the stream has named, "" if none
 */

const LINE_END = /\r\n?|\n/g;
const DIGITS = /^[0-9]+$/;
const BOM = "\uFEFF";

export class Parser {
  /** The id of the newest finished block, even of one without data. */
  lastEventId = "";

  #onMessage;
  #onRetry;
  // The parser strips the one byte order mark itself: a decoder that does so too would strip a second one.
  #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #started = false;
  #afterCr = false;
  #line = "";
  #id = "";
  #type = "";
  #data = "";

  /**
   * @param {object} callbacks
   * @param {(message: Message) => void} callbacks.onMessage
   * @param {(milliseconds: number) => void} [callbacks.onRetry]
   */
  constructor({ onMessage, onRetry = () => {} }) {
    this.#onMessage = onMessage;
    this.#onRetry = onRetry;
  }

  /**
   * Take the next piece, cut anywhere: between the bytes of one character, or between CR and LF.
   * @param {Uint8Array | string} piece
   */
  feed(piece) {
    let text = typeof piece === "string" ? piece : this.#decoder.decode(piece, { stream: true });
    if (text === "") return;
    if (!this.#started) {
      this.#started = true;
      if (text.startsWith(BOM)) text = text.slice(1);
    }
    // The LF of a CRLF whose CR ended the piece before.
    if (this.#afterCr && text.startsWith("\n")) text = text.slice(1);
    this.#afterCr = text.endsWith("\r");
    this.#split(text);
  }

  /** @param {string} text */
  #split(text) {
    let start = 0;
    for (const end of text.matchAll(LINE_END)) {
      const line = this.#line + text.slice(start, end.index);
      this.#line = "";
      start = end.index + end[0].length;
      if (line === "") this.#dispatch();
      else this.#field(line);
    }
    this.#line += text.slice(start);
  }

  /** @param {string} line */
  #field(line) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const rest = colon < 0 ? "" : line.slice(colon + 1);
    const value = rest.startsWith(" ") ? rest.slice(1) : rest;
    if (name === "data") this.#data += value + "\n";
    else if (name === "event") this.#type = value;
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    else if (name === "retry" && DIGITS.test(value)) this.#onRetry(Number(value));
    // Everything else, comments too (their name is ""), is to be ignored.
  }

  #dispatch() {
    this.lastEventId = this.#id;
    const message = { type: this.#type || "message", data: this.#data.slice(0, -1), id: this.#id };
    const isEvent = this.#data !== "";
    this.#type = this.#data = "";
    if (isEvent) this.#onMessage(message);
  }
}
