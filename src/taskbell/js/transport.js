/**
 * The network, as the rest sees it: `open` for streams, `api` for JSON.
 *
 * Streams are read with `fetch`, not EventSource. EventSource stops for good at any answer but 200, so one 502 while
 * a site is deployed ends it; and it hides the status and Retry-After by which signed-out, overloaded and broken differ.
 */

/** @import { Run, Snapshot } from "./runs.js" */

/**
 * @typedef {object} Answer
 * @property {number} status
 * @property {string} type the header Content-Type
 * @property {number} retryAfter milliseconds that the server asks us to wait, 0 if it does not
 * @property {AsyncIterable<Uint8Array>} pieces
 */

/** @typedef {(url: string, signal: AbortSignal) => Promise<Answer>} Open */

/** @type {Open} */
export async function open(url, signal) {
  const response = await fetch(url, { signal, credentials: "include", cache: "no-store" });
  return {
    status: response.status,
    type: response.headers.get("Content-Type") ?? "",
    // A date is left to the back-off: the clock of this machine may be anywhere.
    retryAfter: Number(response.headers.get("Retry-After")) * 1000 || 0,
    pieces: pieces(response),
  };
}

/** Response bodies cannot be iterated in every browser yet. @param {Response} response */
async function* pieces(response) {
  const reader = response.body?.getReader();
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true };
    if (done || value === undefined) return;
    yield value;
  }
}

/**
 * What a client reads: the list of runs, and one run by its own or its engine's id; null where the person has no such.
 * @typedef {object} Reading
 * @property {() => Promise<Snapshot>} list
 * @property {(id: string) => Promise<{ run: Run | null, cursor: string }>} run
 */

/**
 * @param {string} runs the address of the list; a run's own is below it
 * @returns {Reading}
 */
export const api = (runs) => ({
  list: () => get(runs),
  run: (id) =>
    get(`${runs}${encodeURIComponent(id)}/`).catch((error) => {
      if (error.cause === 404) return { run: null, cursor: "" };
      throw error;
    }),
});

/**
 * Read JSON; what a proxy says instead, even with 200, is none and throws. The `cause` of a refusal is its status.
 * @param {string} url
 */
async function get(url) {
  const response = await fetch(url, { credentials: "include", cache: "no-store" });
  if (!response.ok) throw new Error(url, { cause: response.status });
  return response.json();
}
