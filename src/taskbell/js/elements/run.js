import { fraction, hasEnded, isTrouble, readResult } from "../runs.js";
import { percent, time } from "../strings.js";
import { TaskbellElement, make, sheet, write } from "./element.js";
import colours from "./colours.css";
import css from "./run.css";

/**
 * @import { Run } from "../runs.js"
 * @import { Watch } from "../watch.js"
 */

const STYLE = sheet(colours, css);

/**
 * `<taskbell-run run="ID">`: one run, live. Attributes: `run` is our id or the engine's; `data-run` and `data-cursor`
 * are the state that the server rendered, and where in the log it held. A slot `result` replaces how results are shown.
 *
 * Dispatches `taskbell:run` (bubbles, detail: the run) at every change; prevented, the element leaves itself as it is.
 */
export class RunElement extends TaskbellElement {
  /** @type {Watch | null} */
  #watch = null;
  /** Whether a cancel was asked for, here or elsewhere: an event on its way may not know it yet. */
  #asked = false;
  #parts;

  constructor() {
    super();
    const parts = (this.#parts = {
      label: make("span", "label"),
      state: make("span", "state"),
      cancel: make("button", "cancel", { type: "button" }),
      fill: make("div", "fill"),
      bar: make("div", "bar", { role: "progressbar" }),
      percent: make("span", "percent", { "aria-hidden": "true" }),
      progress: make("div", "progress"),
      detail: make("p", "detail"),
      error: make("p", "error"),
      note: make("p", "note"),
      refused: make("p", "refused", { role: "alert" }),
      result: make("p", "result"),
      run: make("div", "run", { tabindex: "-1" }),
    });
    parts.cancel.addEventListener("click", () => this.#cancel());
    parts.bar.append(parts.fill);
    parts.progress.append(parts.bar, parts.percent);
    const result = make("slot", "", { name: "result" }, parts.result);
    const head = make("div", "head", {}, parts.label, parts.state, parts.cancel);
    parts.run.append(head, parts.progress, parts.detail, parts.error, parts.note, parts.refused, result);
    parts.run.hidden = true;
    this.shade(STYLE).append(parts.run);
  }

  connectedCallback() {
    // In a list many speak at once; there the toasts tell what ended.
    if (!this.closest("taskbell-runs")) this.#parts.state.setAttribute("role", "status");
    const known = this.dataset.run ? JSON.parse(this.dataset.run) : null;
    this.#watch = this.client.watch(this.getAttribute("run") ?? "", known, this.dataset.cursor);
    this.#watch.addEventListener("change", () => this.#change());
    if (known !== null) this.#paint(known);
  }

  disconnectedCallback() {
    const { run, cursor } = this.#watch ?? {};
    // It may only be moved, and then goes on from here.
    if (run && cursor) Object.assign(this.dataset, { run: JSON.stringify(run), cursor });
    this.#watch?.close();
    this.#watch = null;
  }

  /** @returns {Run | null} the run as it is known now */
  get run() {
    return this.#watch?.run ?? null;
  }

  #change() {
    const run = this.run;
    if (run === null) return;
    const event = new CustomEvent("taskbell:run", { detail: run, bubbles: true, composed: true, cancelable: true });
    if (this.dispatchEvent(event)) this.#paint(run);
  }

  async #cancel() {
    const { words } = this;
    const { refused } = this.#parts;
    this.#asked = true;
    write(refused, "");
    this.#repaint();
    try {
      await this.#watch?.cancel();
    } catch (error) {
      this.#asked = false;
      this.#repaint();
      const { cause } = /** @type {Error} */ (error);
      write(refused, words.say(cause === 401 || cause === 403 ? "stale" : "notCancelled"));
    }
  }

  #repaint() {
    if (this.run) this.#paint(this.run);
  }

  /** @param {Run} run */
  #paint(run) {
    const { words } = this;
    const parts = this.#parts;
    const ended = hasEnded(run);
    // It ended by itself, and nobody should believe that the button did it.
    write(parts.note, this.#asked && (run.state === "succeeded" || run.state === "failed") ? words.say("tooLate") : "");
    this.#asked = !ended && (this.#asked || run.cancelling);
    parts.run.hidden = false;
    parts.run.setAttribute("part", `run ${run.late ? "late" : run.state}`);
    write(parts.label, words.label(run));
    write(parts.state, words.state({ ...run, cancelling: this.#asked }));
    this.#paintCancel(run, ended || this.#asked || !this.client.hasApi);
    this.#paintBar(run);
    write(parts.detail, ended ? "" : details(run, words).join(" · "));
    write(parts.error, isTrouble(run) ? words.trouble(run).join(" ") : "");
    this.#paintResult(run);
  }

  /** @param {Run} run @param {boolean} hidden */
  #paintCancel(run, hidden) {
    const { cancel, run: card, refused } = this.#parts;
    write(cancel, this.words.say("cancel"));
    cancel.setAttribute("aria-label", `${this.words.say("cancel")}: ${this.words.label(run)}`);
    // Who pressed it by keyboard stays at this run, and does not fall back to the top of the page.
    if (hidden && cancel.matches(":focus")) card.focus();
    cancel.hidden = hidden;
    if (hidden) write(refused, "");
  }

  /** @param {Run} run */
  #paintBar(run) {
    const { bar, fill, percent: said, progress } = this.#parts;
    const share = fraction(run);
    progress.hidden = hasEnded(run);
    bar.setAttribute("aria-label", this.words.label(run));
    fill.toggleAttribute("data-wanders", share === null && run.state === "running");
    // Rounded down: 100 % is said when there is nothing left to do.
    const hundredths = Math.floor((share ?? 0) * 100);
    if (share === null) bar.removeAttribute("aria-valuenow");
    else bar.setAttribute("aria-valuenow", String(hundredths));
    fill.style.inlineSize = share === null ? "" : `${share * 100}%`;
    write(said, share === null ? String(run.done ?? "") : percent.format(hundredths / 100));
  }

  /** @param {Run} run */
  #paintResult(run) {
    const { result } = this.#parts;
    const found = run.state === "succeeded" ? readResult(run.result, document.baseURI) : null;
    result.hidden = found === null;
    if (found === null) result.replaceChildren();
    else result.replaceChildren(found.url === null ? found.text : make("a", "", { href: found.url }, found.text));
  }
}

/**
 * @param {Run} run
 * @param {import("../strings.js").Words} words
 */
function details(run, words) {
  return [
    run.message ?? "",
    run.steps ? words.say("steps", run.done ?? 0, run.steps.total) : "",
    run.attempt > 1 ? words.say("attempt", run.attempt) : "",
    run.next_attempt_at ? words.say("next", time.format(new Date(run.next_attempt_at))) : "",
    ...(run.state === "retrying" ? words.trouble(run) : []),
  ].filter(Boolean);
}
