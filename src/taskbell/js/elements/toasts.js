import { isTrouble } from "../runs.js";
import { TaskbellElement, make, sheet } from "./element.js";
import colours from "./colours.css";
import css from "./toasts.css";

/** @import { Run } from "../runs.js" */

// Long enough to read two lines twice.
const LIFE_MS = 8_000;
// Seen for less than this when the page goes, a message is shown again on the next one.
const SEEN_MS = 1_500;
const TICK_MS = 250;
// More would cover the page. What has been seen longest goes first.
const MOST = 5;

const STYLE = sheet(colours, css);

/**
 * @typedef {object} Toast
 * @property {Run} run
 * @property {number} age milliseconds in sight and not under a hand
 * @property {boolean} stays
 * @property {() => void} dismiss
 */

/**
 * `<taskbell-toasts>`: says once that a run has ended. Failures stay until they are dismissed (its button, or Escape);
 * the rest goes by itself, but not while it is pointed at, focused, or out of sight.
 *
 * Dispatches `taskbell:toast` (bubbles, detail: the run) before; prevented, nothing is shown.
 */
export class ToastsElement extends TaskbellElement {
  #list = make("ol", "list", { role: "list" });
  // Apart from what is seen: a live region must be there before its text, and the button is none of its words.
  #polite = make("div", "said", { role: "status" });
  #urgent = make("div", "said", { role: "alert" });
  /** @type {Set<Toast>} */
  #toasts = new Set();
  #connected = new AbortController();

  constructor() {
    super();
    this.shade(STYLE).append(this.#list, this.#polite, this.#urgent);
  }

  connectedCallback() {
    this.setAttribute("role", "region");
    this.setAttribute("aria-label", this.words.say("toasts"));
    const { signal } = (this.#connected = new AbortController());
    this.client.addEventListener("ending", (event) => this.#ring(/** @type {CustomEvent} */ (event).detail), { signal });
    addEventListener("pagehide", () => this.client.leaveUnread(this.#unread()), { signal });
    this.client.takeUnread().forEach((run) => this.#ring(run));
  }

  disconnectedCallback() {
    this.#connected.abort();
    this.#toasts.forEach((toast) => toast.dismiss());
  }

  #unread() {
    return [...this.#toasts].filter(({ age }) => age < SEEN_MS).map(({ run }) => run);
  }

  /** @param {Run} run */
  #ring(run) {
    const event = new CustomEvent("taskbell:toast", { detail: run, bubbles: true, composed: true, cancelable: true });
    if (this.dispatchEvent(event)) this.#show(run);
  }

  /** @param {Run} run */
  #show(run) {
    const { words } = this;
    const lines = [words.ending(run), ...words.trouble(run)];
    const text = make("div", "", {}, ...lines.map((line, index) => make("p", index ? "detail" : "title", {}, line)));
    const button = make("button", "dismiss", { "aria-label": words.say("dismiss") }, "✕");
    const shown = make("li", `toast ${run.state}`, {}, text, button);
    const said = make("p", "", {}, lines.join(". "));
    const stays = isTrouble(run);
    (stays ? this.#urgent : this.#polite).append(said);
    this.#list.append(shown);

    const timer = setInterval(() => {
      if (document.hidden || this.#list.matches(":hover, :focus-within")) return;
      toast.age += TICK_MS;
      if (!stays && toast.age >= LIFE_MS) toast.dismiss();
    }, TICK_MS);
    const toast = {
      run,
      stays,
      age: 0,
      dismiss: () => {
        clearInterval(timer);
        this.#toasts.delete(toast);
        // Who dismisses by keyboard goes on with the next one, not from the top of the page.
        const next = shown.matches(":focus-within") && (shown.nextElementSibling ?? shown.previousElementSibling);
        shown.remove();
        said.remove();
        if (next) next.querySelector("button")?.focus();
      },
    };
    button.addEventListener("click", toast.dismiss);
    shown.addEventListener("keydown", ({ key }) => key === "Escape" && toast.dismiss());
    this.#toasts.add(toast);
    if (this.#toasts.size > MOST) [...this.#toasts].find((old) => !old.stays)?.dismiss();
  }
}
