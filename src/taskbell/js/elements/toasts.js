import { TaskbellElement, make, sheet, write } from "./element.js";
import { draw, said } from "./toast.js";
import base from "./base.css";
import css from "./toasts.css";

/**
 * @import { Seen } from "../inbox.js"
 * @import { Unread } from "../place.js"
 */

// Long enough to read two lines twice.
const LIFE_MS = 8_000;
// Seen for less than this when the page goes, a message is shown again on the next one.
const SEEN_MS = 1_500;
const TICK_MS = 250;
// More would cover the page. What has been seen longest goes first; what stays waits until there is room.
const MOST = 5;
// From so many on, one button dismisses them all.
const MANY = 3;

const STYLE = sheet(base, css);

/**
 * @typedef {object} Toast
 * @property {Unread} message
 * @property {number} age milliseconds in sight and not under a hand
 * @property {boolean} stays
 * @property {boolean} seen whether the server knows that it was seen
 * @property {HTMLElement} shown
 * @property {HTMLElement} spoken
 */

/**
 * `<taskbell-toasts>`: says once that a run has ended, or what a notification says. Failures and errors stay until they
 * are dismissed (by their button, or Escape); the rest goes by itself, but not while it is pointed at, focused, or out of
 * sight. Notifications that a person could see are reported as seen.
 *
 * Dispatches `taskbell:toast` (bubbles, detail: the run) or `taskbell:notification` (detail: the notification) before;
 * prevented, nothing is shown.
 */
export class ToastsElement extends TaskbellElement {
  #list = make("ol", "list", { role: "list" });
  #more = make("span", "more");
  #all = make("button", "dismiss-all");
  #rest = make("div", "rest", {}, this.#more, this.#all);
  // Apart from what is seen: a live region must be there before its text, and the button is none of its words.
  #polite = make("div", "said", { role: "status" });
  #urgent = make("div", "said", { role: "alert" });
  /** @type {Set<Toast>} */
  #toasts = new Set();
  /** What stays and has no room yet. @type {Unread[]} */
  #waiting = [];
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;
  #connected = new AbortController();

  constructor() {
    super();
    this.#all.addEventListener("click", () => this.#dismissAll());
    this.#list.addEventListener("keydown", ({ key, target }) => {
      const shown = /** @type {Element} */ (target).closest("li");
      const toast = [...this.#toasts].find((each) => each.shown === shown);
      if (key === "Escape" && toast) this.#dismiss(toast);
    });
    this.shade(STYLE).append(this.#list, this.#rest, this.#polite, this.#urgent);
  }

  connectedCallback() {
    this.setAttribute("role", "region");
    this.setAttribute("aria-label", this.words.say("toasts"));
    const { client } = this;
    const { signal } = (this.#connected = new AbortController());
    client.addEventListener("ending", (event) => this.#ring({ run: /** @type {CustomEvent} */ (event).detail }), { signal });
    signal.addEventListener("abort", client.on("notification", (notification) => this.#ring({ notification })));
    signal.addEventListener("abort", client.on("seen", (seen) => this.#seenElsewhere(seen)));
    addEventListener("pagehide", () => client.leaveUnread(this.#unread()), { signal });
    client.takeUnread().forEach((message) => this.#ring(message));
    this.#paintRest();
  }

  disconnectedCallback() {
    this.#connected.abort();
    this.#dismissAll();
  }

  #unread() {
    const unread = [...this.#toasts].filter(({ age }) => age < SEEN_MS).map(({ message }) => message);
    return [...unread, ...this.#waiting];
  }

  /** @param {Unread} message */
  #ring(message) {
    if (this.#isTold(message)) return;
    const [type, detail] = message.run ? ["taskbell:toast", message.run] : ["taskbell:notification", message.notification];
    const event = new CustomEvent(type, { detail, bubbles: true, composed: true, cancelable: true });
    if (this.dispatchEvent(event)) this.#show(message);
  }

  /** A task that notifies of what it did has said it better than that it finished. @param {Unread} message */
  #isTold({ run, notification }) {
    for (const toast of this.#toasts) {
      const other = toast.message;
      if (run?.state === "succeeded" && other.notification?.run === run.id) return true;
      if (notification && other.run?.state === "succeeded" && other.run.id === notification.run) this.#dismiss(toast);
    }
    return false;
  }

  /** @param {Unread} message */
  #show(message) {
    const what = said(message, this.words);
    if (this.#toasts.size >= MOST) {
      const oldest = [...this.#toasts].find(({ stays }) => !stays);
      if (oldest) this.#dismiss(oldest);
      else if (what.stays) this.#waiting.push(message);
      if (!oldest) return this.#paintRest();
    }
    const button = make("button", "dismiss", { "aria-label": `${this.words.say("dismiss")}: ${what.title}` }, "✕");
    const shown = draw(what, button);
    const spoken = make("p", "", {}, [what.title, ...what.lines].join(". "));
    const toast = { message, stays: what.stays, age: 0, seen: false, shown, spoken };
    button.addEventListener("click", () => this.#dismiss(toast));
    for (const type of ["click", "auxclick"]) {
      shown.querySelector("a")?.addEventListener(type, () => this.#follow(toast));
    }
    this.#toasts.add(toast);
    (what.stays ? this.#urgent : this.#polite).append(spoken);
    this.#list.append(shown);
    if (this.#toasts.size === 1) this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.#paintRest();
  }

  #tick() {
    if (document.hidden || this.#list.matches(":hover, :focus-within")) return;
    for (const toast of this.#toasts) {
      toast.age += TICK_MS;
      if (!toast.stays && toast.age >= LIFE_MS) this.#dismiss(toast);
    }
    this.#report();
  }

  /** What was in sight for long enough was seen; if nobody hears it, no harm is done. */
  #report() {
    const ids = [];
    for (const toast of this.#toasts) {
      if (toast.age < SEEN_MS || toast.seen || !toast.message.notification) continue;
      toast.seen = true;
      ids.push(toast.message.notification.id);
    }
    if (ids.length) this.client.seen(ids).catch(() => {});
  }

  /** Nobody wants to be told again of what they have read, or have seen on the page that they looked at. @param {Seen} seen */
  #seenElsewhere({ ids, all, read }) {
    for (const toast of this.#toasts) {
      const id = toast.message.notification?.id;
      if (id === undefined || !(all || ids.includes(id))) continue;
      toast.seen = true;
      if (read || document.hidden) this.#dismiss(toast);
    }
  }

  /** @param {Toast} toast */
  #follow(toast) {
    const id = toast.message.notification?.id;
    if (id !== undefined) this.client.read([id]).catch(() => {});
    // Not before the browser has followed the link.
    setTimeout(() => this.#dismiss(toast));
  }

  /** @param {Toast} toast */
  #dismiss(toast) {
    const { shown, spoken } = toast;
    if (!this.#toasts.delete(toast)) return;
    // Who dismisses by keyboard goes on with the next one, not from the top of the page.
    const next = shown.matches(":focus-within") && (shown.nextElementSibling ?? shown.previousElementSibling);
    shown.remove();
    spoken.remove();
    if (next) /** @type {HTMLElement | null} */ (next.querySelector("[part=dismiss]"))?.focus();
    if (this.#toasts.size === 0) clearInterval(this.#timer);
    const waiting = this.#waiting.shift();
    if (waiting) this.#show(waiting);
    this.#paintRest();
  }

  #dismissAll() {
    this.#waiting = [];
    for (const toast of [...this.#toasts]) this.#dismiss(toast);
  }

  #paintRest() {
    const { words } = this;
    const [waiting, shown] = [this.#waiting.length, this.#toasts.size];
    write(this.#more, waiting ? words.say("more", waiting) : "");
    write(this.#all, shown >= MANY ? words.say("dismissAll") : "");
    this.#rest.hidden = shown < MANY;
  }
}
