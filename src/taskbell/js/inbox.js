/**
 * A person's notifications as a page knows them: the newest, how many are unread, and older ones as they are asked for.
 * It touches no DOM. What the server rendered or answered holds at its cursor; events after that change it.
 */

import { isAfter } from "./cursor.js";

/**
 * @import { Client } from "./client.js"
 * @import { Message } from "./sse.js"
 *
 * @typedef {object} Notification the data of the event `notification`; in a list it says whether it was seen and read
 * @property {string} id
 * @property {string} title
 * @property {string} body
 * @property {string} url "" where there is none
 * @property {string} level info, success, warning or error
 * @property {string} kind
 * @property {string | null} run
 * @property {string} at ISO 8601
 * @property {boolean} [seen]
 * @property {boolean} [read]
 *
 * @typedef {object} NotificationPage
 * @property {Notification[]} notifications newest first
 * @property {number} unread of all, not of this page
 * @property {string} cursor where in the log this is true
 *
 * @typedef {string[] | "all"} Mark which notifications
 *
 * @typedef {object} Seen the data of the event `seen`
 * @property {string[]} ids
 * @property {boolean} [all]
 * @property {boolean} read whether they were read, not only seen
 * @property {number} unread
 */

/** How many are read at once. */
export const PAGE = 20;
// What the API takes at once.
const MOST_IDS = 100;

/** Dispatches `change`. */
export class Inbox extends EventTarget {
  /** @type {Notification[]} newest first; empty until `load` */
  list = [];
  unread = 0;
  /** Whether there are older ones than those in the list, as far as is known. */
  hasOlder = false;
  isLoaded = false;

  #client;
  #cursor;
  /** What was told since the page that is being read was asked for. @type {(() => void)[]} */
  #told = [];
  /** @type {Promise<void> | null} */
  #loading = null;
  #loads = 0;
  /** @type {Set<string>} */
  #counted;
  /** @type {(() => void)[]} */
  #offs;

  /**
   * @param {Client} client
   * @param {{ unread: number, cursor: string, waiting?: string[] }} [known] what the server rendered; `waiting` are counted
   * already, and had no number yet, so the stream tells of them after the cursor
   */
  constructor(client, known) {
    super();
    this.#client = client;
    this.#cursor = known?.cursor ?? "";
    this.unread = known?.unread ?? 0;
    this.#counted = new Set(known?.waiting);
    this.#offs = [
      client.on("notification", (data, message) => this.#hear(message, () => this.#arrive(data))),
      client.on("seen", (data, message) => this.#hear(message, () => this.#mark(data))),
      // A page that cannot be read now is read when someone opens the list.
      client.on("reset", () => this.load().catch(() => {})),
    ];
    if (known === undefined || client.isBehind(known.cursor)) this.load().catch(() => {});
  }

  close() {
    for (const off of this.#offs) off();
  }

  /** Read the newest page; whoever asks meanwhile waits for the same one. */
  load() {
    this.#loading ??= this.#load().finally(() => (this.#loading = null));
    return this.#loading;
  }

  async #load() {
    this.#told = [];
    const { notifications, unread, cursor } = await this.#client.notifications();
    Object.assign(this, { list: notifications, unread, isLoaded: true, hasOlder: notifications.length === PAGE });
    this.#cursor = cursor;
    this.#loads += 1;
    for (const tell of this.#told) tell();
    this.#change();
  }

  /** Read the next older page. */
  async older() {
    const loads = this.#loads;
    const { notifications } = await this.#client.notifications(this.list.at(-1)?.id);
    // Behind a list that was read anew they would leave a gap.
    if (loads !== this.#loads) return;
    this.list = [...this.list, ...notifications.filter(({ id }) => !this.#find(id))];
    this.hasOlder = notifications.length === PAGE;
    this.#change();
  }

  /** What of this list nobody could see yet. */
  get unseen() {
    return this.list.filter(({ seen }) => !seen).map(({ id }) => id);
  }

  /** Say that a person sees what is in the list. It is no harm if nobody hears it: then they are told once more. */
  see() {
    const ids = this.unseen.slice(0, MOST_IDS);
    if (ids.length === 0) return;
    for (const id of ids) this.#put(id, { seen: true });
    this.#client.seen(ids).catch(() => {});
  }

  /**
   * Say that a person has read these, and show it at once; if it cannot be said, they are unread again.
   * @param {Mark} which
   */
  async read(which) {
    const known = which === "all" ? this.list.map(({ id }) => id) : which;
    const ids = known.filter((id) => !this.#find(id)?.read);
    const fewer = which === "all" ? this.unread : Math.min(ids.length, this.unread);
    this.#mark({ ids, read: true, unread: this.unread - fewer });
    try {
      this.unread = (await this.#client.read(which)).unread;
    } catch (error) {
      for (const id of ids) this.#put(id, { read: false });
      this.unread += fewer;
      throw error;
    } finally {
      this.#change();
    }
  }

  /** @param {Message} message @param {() => void} tell */
  #hear({ id }, tell) {
    const apply = () => {
      // A stream goes on from before the page, so what it tells may be in the list already.
      if (isAfter(id, this.#cursor) !== false) tell();
    };
    if (this.#loading) this.#told.push(apply);
    apply();
  }

  /** @param {Notification} notification */
  #arrive(notification) {
    if (this.#find(notification.id) || this.#counted.has(notification.id) || this.#isOlder(notification)) return;
    this.list = [notification, ...this.list];
    this.unread += 1;
    this.#change();
  }

  /** @param {Seen} seen */
  #mark({ ids, all, read, unread }) {
    const marks = read ? { seen: true, read: true } : { seen: true };
    for (const id of all ? this.list.map((each) => each.id) : ids) this.#put(id, marks);
    this.unread = unread;
    this.#change();
  }

  /** Behind the end of a list that was read: it waited for its number then, and was counted. @param {Notification} notification */
  #isOlder({ at }) {
    return this.hasOlder && at < /** @type {Notification} */ (this.list.at(-1)).at;
  }

  /** @param {string} id */
  #find(id) {
    return this.list.find((each) => each.id === id);
  }

  /** @param {string} id @param {Partial<Notification>} marks */
  #put(id, marks) {
    this.list = this.list.map((each) => (each.id === id ? { ...each, ...marks } : each));
  }

  #change() {
    this.dispatchEvent(new Event("change"));
  }
}
