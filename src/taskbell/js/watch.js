/** One run under watch: its newest state, and a promise for its end. */

import { isAfter } from "./cursor.js";
import { hasEnded, isFinal } from "./runs.js";

/** @import { Run, State } from "./runs.js" */

/** `change` is dispatched with the run as `detail`, whenever something about it is new. */
export class Watch extends EventTarget {
  /** @type {Run | null} null until something is known */
  run = null;
  /** @type {Promise<Run>} resolves with the run at its first ending */
  finished;

  #asOf = "";
  #finish = /** @type {(run: Run) => void} */ (() => {});
  #close;

  /**
   * @param {string} id our id of the run, or its engine's
   * @param {(watch: Watch) => void} close
   */
  constructor(id, close) {
    super();
    this.id = id;
    this.#close = () => close(this);
    this.finished = new Promise((resolve) => (this.#finish = resolve));
  }

  /** @returns {State | null} */
  get state() {
    return this.run?.state ?? null;
  }

  /** Stop watching; for pages that live long and watch many. */
  close() {
    this.#close();
  }

  /** @param {Run} run */
  means(run) {
    return run.id === this.id || run.task_id === this.id;
  }

  /**
   * Take what an event says; one that the snapshot knew already must not turn the bar back.
   * @param {Run} run
   * @param {string} cursor the event's own
   */
  happened(run, cursor) {
    if (isAfter(cursor, this.#asOf) !== false) this.#take(run, cursor);
  }

  /**
   * Take what the server says of the run at `cursor`, unless later events are here.
   * @param {Run} run
   * @param {string} cursor
   */
  stood(run, cursor) {
    if (isAfter(this.#asOf, cursor) !== true) this.#take(run, cursor);
  }

  /** @param {Run} run @param {string} cursor */
  #take(run, cursor) {
    this.#asOf = cursor;
    // A snapshot reads facts that have no number yet, so older events of an ended run may still come.
    if (this.run !== null && this.run.id === run.id && isFinal(this.run) && !hasEnded(run)) return;
    this.run = run;
    this.dispatchEvent(new CustomEvent("change", { detail: run }));
    if (hasEnded(run)) this.#finish(run);
  }
}
