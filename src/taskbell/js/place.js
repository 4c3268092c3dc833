/**
 * What one tab remembers from page to page: the last cursor that was handled, and messages nobody had time to read.
 * It goes with the person: another person's is thrown away at once, one's own at sign-out.
 */

const PREFIX = "taskbell:";

/**
 * @import { Notification } from "./inbox.js"
 * @import { Run } from "./runs.js"
 *
 * @typedef {{ run: Run, notification?: undefined } | { notification: Notification, run?: undefined }} Unread
 */

export class Place {
  #storage;
  #key;

  /**
   * @param {Storage | null} storage null, or one that throws, remembers nothing
   * @param {string} person a key that the page gives, different for every person and sign-in
   */
  constructor(storage, person) {
    this.#storage = storage;
    this.#key = `${PREFIX}${person}:`;
    this.#forget((key) => !key.startsWith(this.#key));
  }

  /** @returns {string} the cursor, "" if there is none */
  get cursor() {
    return this.#try((storage) => storage.getItem(`${this.#key}cursor`)) ?? "";
  }

  set cursor(cursor) {
    this.#try((storage) => storage.setItem(`${this.#key}cursor`, cursor));
  }

  /**
   * Leave messages for the next page.
   * @param {Unread[]} unread
   */
  leaveUnread(unread) {
    this.#try((storage) => storage.setItem(`${this.#key}unread`, JSON.stringify(unread)));
  }

  /** @returns {Unread[]} what the page before has left; it is left once */
  takeUnread() {
    return (
      this.#try((storage) => {
        const text = storage.getItem(`${this.#key}unread`);
        storage.removeItem(`${this.#key}unread`);
        return JSON.parse(text ?? "[]");
      }) ?? []
    );
  }

  clear() {
    this.#forget(() => true);
  }

  /** @param {(key: string) => boolean} which */
  #forget(which) {
    this.#try((storage) => {
      for (const key of Object.keys(storage)) if (key.startsWith(PREFIX) && which(key)) storage.removeItem(key);
    });
  }

  /**
   * Storage may be full, forbidden or absent; a page without memory still works.
   * @template T
   * @param {(storage: Storage) => T} use
   * @returns {T | undefined}
   */
  #try(use) {
    try {
      return this.#storage === null ? undefined : use(this.#storage);
    } catch {
      return undefined;
    }
  }
}
