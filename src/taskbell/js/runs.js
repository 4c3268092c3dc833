/** A run as the server tells it, and what may be read off it. Pure. */

import { safeUrl } from "./links.js";

/**
 * @typedef {"queued" | "running" | "retrying" | "succeeded" | "failed" | "cancelled" | "expired" | "skipped" | "lost"} State
 *
 * @typedef {object} Run the data of the event `run`; times are ISO 8601
 * @property {string} id
 * @property {string} task_id
 * @property {string} name
 * @property {string} label
 * @property {State} state
 * @property {State | null} was
 * @property {boolean} late
 * @property {boolean} cancelling
 * @property {number} attempt
 * @property {number | null} done
 * @property {number | null} total
 * @property {string | null} message
 * @property {unknown} result
 * @property {{ message: string | null, reference: string | null } | null} error
 * @property {string | null} parent
 * @property {number | null} step its place in the tree that is its parent; a step is not told of by itself
 * @property {Steps | null} steps of a tree
 * @property {string | null} queued_at
 * @property {string | null} started_at
 * @property {string | null} finished_at
 * @property {string | null} next_attempt_at
 * @property {string | null} at
 *
 * @typedef {{ total: number, list: { id: string, label: string, state: State }[] } & Record<State, number>} Steps
 *
 * @typedef {object} Snapshot
 * @property {Run[]} runs
 * @property {string} cursor where in the log this is true; "" where there is no log yet
 */

/** @type {ReadonlySet<State>} */
const OPEN = new Set(["queued", "running", "retrying"]);

/** @param {Run} run */
export const hasEnded = (run) => !OPEN.has(run.state);

/** Whether nothing can follow: what was lost may yet turn out to live. @param {Run} run */
export const isFinal = (run) => hasEnded(run) && run.state !== "lost";

/** Whether a person should be alarmed rather than informed. @param {Run} run */
export const isTrouble = (run) => run.state === "failed" || run.state === "lost";

/** One name for one ending, however often it is told. @param {Run} run */
export const endingOf = (run) => `${run.id} ${run.attempt} ${run.state} ${run.finished_at}`;

/**
 * How far a run is, from 0 to 1; null where nobody can tell.
 * @param {Run} run
 */
export function fraction({ done, total }) {
  if (done === null || total === null || !(total > 0)) return null;
  return Math.min(1, Math.max(0, done / total));
}

/**
 * What a run's result offers to read: some text, perhaps with an address behind it.
 * @param {unknown} result text, or an object with `url` and perhaps `label`
 * @param {string} base what a relative address is relative to
 * @returns {{ text: string, url: string | null } | null}
 */
export function readResult(result, base) {
  if (typeof result === "string") return { text: result, url: null };
  const { url, label } = /** @type {Record<string, unknown>} */ (result ?? {});
  if (typeof url !== "string") return null;
  return { text: typeof label === "string" ? label : url, url: safeUrl(url, base) };
}
