/** One run under watch: its newest state, a promise for its end, and the wish that it ends. */

import { isAfter } from "./cursor.js";
import { hasEnded, isFinal } from "./runs.js";

/** @import { Run, State } from "./runs.js" */

/** `change` is dispatched with the run as `detail`, whenever something about it is new. */
export class Watch extends EventTarget {
  /** @type {Run | null} null until something is known */
  run = null;
  /** @type {Promise<Run>} resolves with the run at its first ending */
  finished;

  /** Where in the log `run` was read. */
  cursor = "";
  #finish = /** @type {(run: Run) => void} */ (() => {});
  #client;

  /**
   * @param {string} id our id of the run, or its engine's
   * @param {{ close: () => void, cancel: (id: string) => Promise<Run> }} client
   */
  constructor(id, client) {
    super();
    this.id = id;
    this.#client = client;
    this.finished = new Promise((resolve) => (this.#finish = resolve));
  }

  /** @returns {State | null} */
  get state() {
    return this.run?.state ?? null;
  }

  /** Stop watching; for pages that live long and watch many. */
  close() {
    this.#client.close();
  }

  /**
   * Ask for its end. Resolves with the run as it is then, cancelling or ended; `finished` tells how it ends. Rejects with
   * an Error that says why it was not asked for.
   * @returns {Promise<Run>}
   */
  cancel() {
    // Known by now, our own id means no other run that uses the task's id again.
    return this.#client.cancel(this.run?.id ?? this.id);
  }

  /** A tree and the last step of its chain share the engine's id, which means the tree. @param {Run} run */
  means(run) {
    return [this.id, this.run?.id].includes(run.id) || (run.task_id === this.id && run.step == null);
  }

  /**
   * Take what an event or the server says of the run, as it was at `cursor`. What is older than what is known must not
   * turn the bar back; it comes when a stream goes on from before the snapshot.
   * @param {Run} run
   * @param {string} cursor
   */
  take(run, cursor) {
    if (isAfter(this.cursor, cursor)) return;
    this.cursor = cursor;
    // A snapshot reads facts that have no number yet, so older events of an ended run may still come.
    if (this.run?.id === run.id && isFinal(this.run) && !hasEnded(run)) return;
    this.run = run;
    this.dispatchEvent(new CustomEvent("change", { detail: run }));
    if (hasEnded(run)) this.#finish(run);
  }

  /**
   * Take the answer to a wish. It has no place in the log and may be older than the newest event, so of an open run it
   * tells the wish alone.
   * @param {Run} run
   */
  answer(run) {
    if (this.run?.id !== run.id || hasEnded(run)) this.take(run, this.cursor);
    else if (!hasEnded(this.run)) this.take({ ...this.run, cancelling: true }, this.cursor);
  }
}
