import { fraction, hasEnded, isTrouble, readResult } from "../runs.js";
import { TaskbellElement, make, sheet, toastsSay, write } from "./element.js";
import { Steps } from "./steps.js";
import base from "./base.css";
import css from "./run.css";

/**
 * @import { Run } from "../runs.js"
 * @import { Watch } from "../watch.js"
 */

const STYLE = sheet(base, css);

/**
 * `<taskbell-run run="ID">`: one run, live, with a button that cancels it. Attributes: `run` is our id or the engine's;
 * `data-run` and `data-cursor` are the state that the server rendered, and where in the log it held. A slot `result`
 * replaces how results are shown.
 *
 * Dispatches `taskbell:run` (bubbles, detail: the run) at every change; prevented, the element leaves itself as it is.
 * And `taskbell:ended` when a run ends that was under way, by which a page can fetch what has come of it.
 */
export class RunElement extends TaskbellElement {
  static observedAttributes = ["run"];

  /** @type {Watch | null} */
  #watch = null;
  /** Whether a cancel was asked for, here or elsewhere: an event on its way may not know it yet. */
  #asked = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #clock;
  #steps = new Steps();
  /** Whether it was under way when it was last heard of: what is shown as ended from the start does not end. */
  #open = false;
  #parts;

  constructor() {
    super();
    const parts = (this.#parts = {
      label: make("span", "label"),
      word: make("bdi"),
      state: make("span", "state"),
      cancel: make("button", "cancel"),
      fill: make("div", "fill"),
      bar: make("div", "bar", { role: "progressbar" }),
      percent: make("span", "percent", { "aria-hidden": "true" }),
      progress: make("div", "progress"),
      detail: make("p", "detail"),
      error: make("p", "error"),
      note: make("p", "note"),
      refused: make("p", "refused", { role: "alert" }),
      result: make("p", "result"),
      said: make("div", "said", { role: "status" }),
      // Who presses the button stays here when it goes.
      run: make("div", "run", { tabindex: "-1" }),
    });
    parts.cancel.addEventListener("click", () => this.#cancel());
    parts.state.append(parts.word);
    parts.bar.append(parts.fill);
    parts.progress.append(parts.bar, parts.percent);
    const result = make("slot", "", { name: "result" }, parts.result);
    const head = make("div", "head", {}, parts.label, parts.state, parts.cancel);
    const { progress, detail, error, note, refused, said } = parts;
    parts.run.append(head, progress, detail, this.#steps.element, error, note, refused, result, said);
    parts.run.hidden = parts.refused.hidden = true;
    this.shade(STYLE).append(parts.run);
  }

  connectedCallback() {
    const known = this.dataset.run ? JSON.parse(this.dataset.run) : null;
    this.#watch = this.client.watch(this.getAttribute("run") ?? "", known, this.dataset.cursor);
    this.#watch.addEventListener("change", () => this.#change());
    this.#open = known !== null && !hasEnded(known);
    this.#asked = false;
    write(this.#parts.said, "");
    if (known !== null) this.#paint(known);
  }

  disconnectedCallback() {
    clearTimeout(this.#clock);
    const { run, cursor } = this.#watch ?? {};
    // It may only be moved, and then goes on from here.
    if (run && cursor) Object.assign(this.dataset, { run: JSON.stringify(run), cursor });
    this.#watch?.close();
    this.#watch = null;
  }

  /**
   * Another run is to be shown, and what the server rendered is not of it.
   * @param {string} _
   * @param {string | null} before
   * @param {string | null} id
   */
  attributeChangedCallback(_, before, id) {
    if (this.#watch === null || before === id) return;
    this.disconnectedCallback();
    delete this.dataset.run;
    delete this.dataset.cursor;
    this.#parts.run.hidden = true;
    this.connectedCallback();
  }

  /** @returns {Run | null} the run as it is known now */
  get run() {
    return this.#watch?.run ?? null;
  }

  /** Frameworks set a property where there is one of an attribute's name. @param {any} id */
  set run(id) {
    this.setAttribute("run", id);
  }

  #change() {
    const run = this.run;
    if (run === null) return;
    const ends = this.#open && hasEnded(run);
    this.#open = !hasEnded(run);
    if (this.#say("taskbell:run", run, true)) this.#show(run);
    if (ends) this.#say("taskbell:ended", run);
  }

  /** @param {string} type @param {Run} run @param {boolean} [cancelable] */
  #say(type, run, cancelable) {
    return this.dispatchEvent(new CustomEvent(type, { detail: run, bubbles: true, composed: true, cancelable }));
  }

  /** @param {Run} run */
  #show(run) {
    const { state } = this.#parts;
    const before = state.textContent;
    this.#paint(run);
    if (before && before !== state.textContent) this.#announce(run);
  }

  /** In a list many would speak at once, and where there are toasts they tell of endings. @param {Run} run */
  #announce(run) {
    const quiet = this.closest("taskbell-runs") || (hasEnded(run) && toastsSay());
    write(this.#parts.said, quiet ? "" : `${this.words.label(run)}: ${this.#parts.state.textContent}`);
  }

  async #cancel() {
    const { words } = this;
    const { refused } = this.#parts;
    this.#asked = true;
    write(refused, "");
    this.#repaint();
    write(this.#parts.said, words.say("cancelling"));
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
    write(parts.word, words.state({ ...run, cancelling: this.#asked }));
    this.#paintCancel(ended || this.#asked || !this.client.hasApi);
    this.#paintBar(run);
    this.#paintDetail(run);
    this.#steps.paint(run, words);
    this.#paintError(run);
    this.#paintResult(run);
  }

  /** @param {boolean} hidden */
  #paintCancel(hidden) {
    const { cancel, label, run: card, refused } = this.#parts;
    write(cancel, this.words.say("cancel"));
    cancel.setAttribute("aria-label", `${this.words.say("cancel")}: ${label.textContent}`);
    if (hidden && cancel.matches(":focus")) card.focus();
    cancel.hidden = hidden;
    if (hidden) write(refused, "");
  }

  /** @param {Run} run */
  #paintBar(run) {
    const { bar, fill, percent, progress, label } = this.#parts;
    const share = fraction(run);
    progress.hidden = hasEnded(run);
    bar.setAttribute("aria-label", label.textContent ?? "");
    fill.toggleAttribute("data-wanders", share === null && run.state === "running");
    // Rounded down: 100 % is said when there is nothing left to do.
    const hundredths = Math.floor((share ?? 0) * 100);
    if (share === null) bar.removeAttribute("aria-valuenow");
    else bar.setAttribute("aria-valuenow", String(hundredths));
    fill.style.inlineSize = share === null ? "" : `${share * 100}%`;
    const { words } = this;
    write(percent, share !== null ? words.percent(hundredths / 100) : run.done === null ? "" : words.number(run.done));
  }

  /** What may be said of a run that is open; the time until its next attempt runs down before one's eyes. @param {Run} run */
  #paintDetail(run) {
    clearTimeout(this.#clock);
    const { words } = this;
    const now = Date.now();
    const due = run.next_attempt_at && run.state === "retrying" ? new Date(run.next_attempt_at) : null;
    const lines = [
      run.message ?? "",
      run.late ? words.say("whyLate") : "",
      run.attempt > 1 ? words.say("attempt", run.attempt) : "",
      due ? words.due(due, now) : "",
      run.state === "retrying" ? words.why(run) : "",
    ];
    write(this.#parts.detail, hasEnded(run) ? "" : lines.filter(Boolean).join(" · "));
    if (due && now < due.getTime()) {
      // Seconds run in the last minute alone; before that the text is the same for longer.
      const pause = due.getTime() - now > 90_000 ? 15_000 : 1_000;
      this.#clock = setTimeout(() => this.run && this.#paintDetail(this.run), pause);
    }
  }

  /** @param {Run} run */
  #paintError(run) {
    const { error } = this.#parts;
    const { words } = this;
    const [why, reference] = isTrouble(run) ? [words.why(run), words.reference(run)] : ["", ""];
    if (error.textContent !== [why, reference].filter(Boolean).join(" ")) {
      error.replaceChildren(why, ...(why && reference ? [" "] : []), reference && make("span", "reference", {}, reference));
    }
    error.hidden = !why && !reference;
  }

  /** @param {Run} run */
  #paintResult(run) {
    const { result } = this.#parts;
    const found = run.state === "succeeded" ? readResult(run.result, document.baseURI) : null;
    result.hidden = found === null;
    if (found === null) result.replaceChildren();
    else result.replaceChildren(found.url === null ? found.text : make("a", "link", { href: found.url }, found.text));
  }
}
