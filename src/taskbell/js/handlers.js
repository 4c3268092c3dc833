/** From messages to the functions that asked for them: each event once, and no function keeps another from it. */

/**
 * @import { Message } from "./sse.js"
 *
 * @typedef {(data: any, message: Message) => void} Handler gets the payload, and the event as it was on the wire
 */

// As many as the server replays at most (REPLAY_LIMIT): older ones cannot come again.
const REMEMBERED = 1_000;

export class Handlers {
  /** @type {Set<{ type: string, handler: Handler }>} */
  #entries = new Set();
  #handled = new Recent();
  #report;

  /** @param {(error: unknown) => void} report */
  constructor(report) {
    this.#report = report;
  }

  get empty() {
    return this.#entries.size === 0;
  }

  /**
   * Call `handler` with every event of a type; return the switch that ends it.
   * @param {string} type
   * @param {Handler} handler
   * @returns {() => void}
   */
  on(type, handler) {
    // An entry of its own, so that one function registered twice is called twice and switched off once.
    const entry = { type, handler };
    this.#entries.add(entry);
    return () => void this.#entries.delete(entry);
  }

  /**
   * Call the handlers of a message, unless it has been here before.
   * @param {Message} message
   * @param {Handler} [first] called before them, whatever the type
   */
  receive(message, first = () => {}) {
    const { type, id } = message;
    // A ping and a reset stand at the id of an event without being it.
    if (type === "ping" || (type !== "reset" && id && !this.#handled.add(id))) return;
    this.#try(() => {
      const data = JSON.parse(message.data);
      for (const entry of [{ type, handler: first }, ...this.#entries]) {
        if (entry.type === type) this.#try(() => entry.handler(data, message));
      }
    });
  }

  /** @param {() => void} action */
  #try(action) {
    try {
      action();
    } catch (error) {
      this.#report(error);
    }
  }
}

/** The newest texts of any number. */
export class Recent {
  /** @type {Set<string>} */
  #kept = new Set();

  /** @param {string} text */
  has(text) {
    return this.#kept.has(text);
  }

  /** Return whether it was new. @param {string} text */
  add(text) {
    if (this.#kept.has(text)) return false;
    this.#kept.add(text);
    // A Set iterates in the order of adding, so the first is the oldest.
    if (this.#kept.size > REMEMBERED) this.#kept.delete(/** @type {string} */ (this.#kept.values().next().value));
    return true;
  }
}
