import { isAfter } from "../cursor.js";
import { TaskbellElement, make, sheet, write } from "./element.js";
import base from "./base.css";
import css from "./runs.css";

/**
 * @import { Run, Snapshot } from "../runs.js"
 */

const STYLE = sheet(base, css);

const MOST = 20;

/**
 * `<taskbell-runs>`: the person's newest runs, newest first, each a `<taskbell-run>`. What the server rendered inside
 * stays; new runs are put before it. Attributes: `limit`; `data-cursor`, where in the log the server's list held.
 */
export class RunsElement extends TaskbellElement {
  #none = make("p", "none");
  #connected = new AbortController();

  constructor() {
    super();
    this.shade(STYLE).append(make("slot"), this.#none);
  }

  connectedCallback() {
    const { signal } = (this.#connected = new AbortController());
    this.client.addEventListener("snapshot", (event) => this.#list(/** @type {CustomEvent} */ (event).detail), { signal });
    signal.addEventListener("abort", this.client.on("run", (run, { id }) => this.#happened(run, id)));
    const { cursor } = this.dataset;
    if (cursor === undefined || this.client.isBehind(cursor)) this.client.refresh();
    this.#count();
  }

  disconnectedCallback() {
    this.#connected.abort();
  }

  get #runs() {
    return /** @type {HTMLElement[]} */ ([...this.querySelectorAll(":scope > taskbell-run")]);
  }

  /** @param {Run} run @param {string} cursor */
  #happened(run, cursor) {
    if (run.step == null && !this.#runs.some((element) => shows(element, run))) this.prepend(show(run, cursor));
    this.#count();
  }

  /** @param {Snapshot} snapshot */
  #list({ runs, cursor }) {
    const shown = this.#runs;
    const listed = runs
      .slice(0, this.#most)
      .map((run) => shown.find((element) => shows(element, run)) ?? show(run, cursor));
    const others = shown.filter((element) => !listed.includes(element));
    // An event may have overtaken a list that was read before it.
    const newer = others.filter((element) => isAfter(element.dataset.cursor ?? "", cursor));
    for (const element of others) if (!newer.includes(element)) element.remove();
    // What stands where it should is not touched: an element that is moved asks anew how its run stands.
    [...newer, ...listed].forEach((element, index) => {
      const there = this.#runs[index];
      if (there !== element) this.insertBefore(element, there ?? null);
    });
    this.#count();
  }

  get #most() {
    return Number(this.getAttribute("limit")) || MOST;
  }

  #count() {
    for (const old of this.#runs.slice(this.#most)) old.remove();
    const { length } = this.#runs;
    // A list without items is none.
    if (length) this.setAttribute("role", "list");
    else this.removeAttribute("role");
    write(this.#none, length ? "" : this.words.say("none"));
  }
}

/** @param {HTMLElement} element @param {Run} run */
const shows = (element, run) => [run.id, run.task_id].includes(element.getAttribute("run") ?? "");

/** @param {Run} run @param {string} cursor */
function show(run, cursor) {
  const element = document.createElement("taskbell-run");
  element.setAttribute("role", "listitem");
  element.setAttribute("run", run.id);
  element.dataset.run = JSON.stringify(run);
  element.dataset.cursor = cursor;
  return element;
}
