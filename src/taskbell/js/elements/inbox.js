import { Inbox } from "../inbox.js";
import { TaskbellElement, make, sheet, toastsSay, write } from "./element.js";
import { Notifications } from "./notifications.js";
import base from "./base.css";
import css from "./inbox.css";

const STYLE = sheet(base, css);
const MOST_ON_BADGE = 99;
// From the bell to its panel, and from there to the edge of the window.
const GAP = 8;
// How long ago something was is told anew so often.
const MINUTE_MS = 60_000;

const SVG = "http://www.w3.org/2000/svg";
const BELL = ["M18 9a6 6 0 0 0-12 0c0 5-2 6.5-2 7.5h16c0-1-2-2.5-2-7.5", "M10 19.5a2.2 2.2 0 0 0 4 0"];

/**
 * `<taskbell-inbox>`: a bell with the number of unread notifications, and a panel with the list of them. Attributes:
 * `data-unread` and `data-cursor` are what the server rendered, and where in the log it held; `data-waiting` are ids that it
 * counted and that have no place there yet. What is clicked is read;
 * what is shown while somebody looks was seen.
 */
export class InboxElement extends TaskbellElement {
  /** @type {Inbox | null} */
  #inbox = null;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #clock;
  #connected = new AbortController();
  #list = new Notifications((id) => this.#read([id]));
  #parts;

  constructor() {
    super();
    const parts = (this.#parts = {
      badge: make("span", "badge", { "aria-hidden": "true" }),
      bell: make("button", "bell", { "aria-haspopup": "dialog", "aria-expanded": "false" }),
      title: make("h2", "title"),
      readAll: make("button", "read-all"),
      trouble: make("p", "trouble", { role: "alert" }),
      none: make("p", "none"),
      loading: make("p", "loading", { role: "status" }),
      older: make("button", "older"),
      // Opened, it is where the focus is, so that it is read out and Tab goes on within.
      panel: make("div", "panel", { role: "dialog", tabindex: "-1", popover: "auto" }),
      said: make("div", "said", { role: "status" }),
    });
    const { badge, bell, title, readAll, trouble, none, loading, older, panel, said } = parts;
    bell.append(drawBell(), badge);
    bell.popoverTargetElement = panel;
    const scroll = make("div", "scroll", {}, trouble, loading, none, this.#list.element, older);
    panel.append(make("div", "header", {}, title, readAll), scroll);
    panel.addEventListener("beforetoggle", (event) => this.#toggle(event.newState === "open"));
    panel.addEventListener("toggle", (event) => event.newState === "open" && panel.focus());
    readAll.addEventListener("click", () => this.#read("all"));
    older.addEventListener("click", () => this.#load());
    this.shade(STYLE).append(bell, panel, said);
  }

  connectedCallback() {
    const { unread, cursor, waiting = "" } = this.dataset;
    this.hidden = !this.client.hasApi;
    if (this.hidden) return;
    const { signal } = (this.#connected = new AbortController());
    const known = cursor === undefined ? undefined : { unread: Number(unread), cursor, waiting: waiting.split(" ") };
    this.#inbox = new Inbox(this.client, known);
    this.#inbox.addEventListener("change", () => this.#change(), { signal });
    document.addEventListener("visibilitychange", () => this.#see(), { signal });
    for (const type of ["resize", "scroll"]) addEventListener(type, () => this.#place(), { signal, passive: true });
    signal.addEventListener("abort", this.client.on("notification", ({ title }) => this.#announce(title)));
    this.#paint();
  }

  disconnectedCallback() {
    this.#connected.abort();
    clearInterval(this.#clock);
    this.#inbox?.close();
    this.#inbox = null;
  }

  get #isOpen() {
    return this.#parts.panel.matches(":popover-open");
  }

  /** @param {string} title */
  #announce(title) {
    if (!toastsSay()) write(this.#parts.said, title);
  }

  /** @param {boolean} opens */
  #toggle(opens) {
    const { bell, panel } = this.#parts;
    bell.setAttribute("aria-expanded", String(opens));
    clearInterval(this.#clock);
    // Who was in it, and did not click elsewhere, is back where they came from.
    if (!opens && panel.matches(":focus-within")) bell.focus();
    if (!opens) return;
    this.#clock = setInterval(() => this.#paint(), MINUTE_MS);
    if (this.#inbox?.isLoaded) this.#paint();
    else this.#load();
    // It is in place before it is drawn, and seen when it is open.
    requestAnimationFrame(() => {
      this.#place();
      this.#see();
    });
  }

  /** Read the newest, or the next older ones. */
  async #load() {
    const inbox = this.#inbox;
    const { words } = this;
    const { trouble, loading, older } = this.#parts;
    if (inbox === null || older.disabled) return;
    write(trouble, "");
    write(loading, inbox.isLoaded ? "" : words.say("loading"));
    older.disabled = true;
    try {
      await (inbox.isLoaded ? inbox.older() : inbox.load());
    } catch (error) {
      const { cause } = /** @type {Error} */ (error);
      write(trouble, words.say(cause === 401 || cause === 403 ? "stale" : "notLoaded"));
    }
    older.disabled = false;
    write(loading, "");
    this.#paint();
  }

  /** @param {import("../inbox.js").Mark} which */
  async #read(which) {
    const { trouble } = this.#parts;
    write(trouble, "");
    try {
      await this.#inbox?.read(which);
    } catch (error) {
      const { cause } = /** @type {Error} */ (error);
      write(trouble, this.words.say(cause === 401 || cause === 403 ? "stale" : "notMarked"));
    }
  }

  #see() {
    if (this.#isOpen && !document.hidden) this.#inbox?.see();
  }

  #change() {
    this.#see();
    this.#paint();
  }

  #paint() {
    const inbox = this.#inbox;
    if (inbox === null) return;
    const { words } = this;
    const { badge, bell, title, readAll, none, older, panel, loading, trouble } = this.#parts;
    const { unread, list, isLoaded, hasOlder } = inbox;
    const name = words.say("inbox");
    write(badge, unread > MOST_ON_BADGE ? `${words.number(MOST_ON_BADGE)}+` : unread > 0 ? words.number(unread) : "");
    bell.setAttribute("aria-label", unread > 0 ? `${name}, ${words.say("unread", unread)}` : name);
    panel.setAttribute("aria-label", name);
    write(title, name);
    write(readAll, words.say("readAll"));
    if (unread === 0 && readAll.matches(":focus")) panel.focus();
    readAll.disabled = unread === 0;
    this.#list.paint(isLoaded ? list : [], words, Date.now());
    write(none, isLoaded && list.length === 0 ? words.say("noMessages") : "");
    const failed = !isLoaded && loading.hidden && !trouble.hidden;
    write(older, failed ? words.say("again") : isLoaded && hasOlder ? words.say("older") : "");
    this.#place();
  }

  /** Below the bell, its ends in line, and within the window. */
  #place() {
    if (!this.#isOpen) return;
    const { bell, panel } = this.#parts;
    const around = bell.getBoundingClientRect();
    const rightToLeft = getComputedStyle(this).direction === "rtl";
    const left = rightToLeft ? around.left : around.right - panel.offsetWidth;
    const most = document.documentElement.clientWidth - panel.offsetWidth - GAP;
    panel.style.left = `${Math.max(GAP, Math.min(left, most))}px`;
    panel.style.top = `${Math.max(GAP, Math.min(around.bottom + GAP, innerHeight - panel.offsetHeight - GAP))}px`;
  }
}

function drawBell() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  for (const line of BELL) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", line);
    svg.append(path);
  }
  return svg;
}
