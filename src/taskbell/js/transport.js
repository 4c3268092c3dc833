/**
 * The network, as the rest sees it: `open` for streams, `Api` for JSON.
 *
 * Streams are read with `fetch`, not EventSource. EventSource stops for good at any answer but 200, so one 502 while
 * a site is deployed ends it; and it hides the status and Retry-After by which signed-out, overloaded and broken differ.
 */

/** @import { Run, Snapshot } from "./runs.js" */

/**
 * @typedef {object} Answer
 * @property {number} status
 * @property {string} type the media type, without parameters
 * @property {number} retryAfter milliseconds that the server asks us to wait, 0 if it does not
 * @property {AsyncIterable<Uint8Array>} pieces
 */

/** @typedef {(url: string, signal: AbortSignal) => Promise<Answer>} Open */

// A maintenance page may name an hour; a person who waits for their work looks sooner.
const LONGEST_RETRY_AFTER_MS = 300_000;

/** @type {Open} */
export async function open(url, signal) {
  const response = await fetch(url, {
    signal,
    headers: { Accept: "text/event-stream" },
    credentials: "include",
    cache: "no-store",
  });
  return {
    status: response.status,
    type: mediaType(response.headers.get("Content-Type")),
    retryAfter: retryAfter(response.headers.get("Retry-After"), Date.now()),
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

/** @param {string | null} header */
export const mediaType = (header) => (header ?? "").split(";")[0].trim().toLowerCase();

/**
 * Read a Retry-After header: seconds, or a date.
 * @param {string | null} header
 * @param {number} now milliseconds since the epoch
 */
export function retryAfter(header, now) {
  if (!header) return 0;
  const wanted = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - now;
  return Math.min(LONGEST_RETRY_AFTER_MS, Math.max(0, wanted || 0));
}

/** An answer that has no JSON for us. */
export class Refused extends Error {
  /** @param {number} status */
  constructor(status) {
    super(`The server answered ${status}.`);
    this.status = status;
  }
}

export class Api {
  #runs;

  /** @param {string} runs the address of the list of runs; a run's own is below it */
  constructor(runs) {
    this.#runs = runs;
  }

  /** @returns {Promise<Snapshot>} */
  list() {
    return get(this.#runs);
  }

  /**
   * Return one run by its own or its engine's id; without a run where there is none for this person.
   * @param {string} id
   * @returns {Promise<{ run: Run | null, cursor: string }>}
   */
  async run(id) {
    try {
      return await get(`${this.#runs}${encodeURIComponent(id)}/`);
    } catch (error) {
      if (error instanceof Refused && error.status === 404) return { run: null, cursor: "" };
      throw error;
    }
  }
}

/** @param {string} url */
async function get(url) {
  const response = await fetch(url, { headers: { Accept: "application/json" }, credentials: "include", cache: "no-store" });
  // A proxy's error page may come with 200.
  if (!response.ok || mediaType(response.headers.get("Content-Type")) !== "application/json") {
    throw new Refused(response.status);
  }
  return response.json();
}
