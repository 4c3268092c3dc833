/**
 * The network, as the rest sees it: `open` for streams, `api` for JSON.
 *
 * Streams are read with `fetch`, not EventSource. EventSource stops for good at any answer but 200, so one 502 while
 * a site is deployed ends it; and it hides the status and Retry-After by which signed-out, overloaded and broken differ.
 */

import { PAGE } from "./inbox.js";

/** @import { Mark, NotificationPage } from "./inbox.js" */
/** @import { Run, Snapshot } from "./runs.js" */

const ACCOUNT = "Taskbell-Account";

/**
 * Whether an answer is for another account than the page, because somebody else has signed in in another tab.
 * @param {string | null} answers whose the answer is, null if nobody's or not said
 * @param {string} [pages] whose the page is
 */
export const isAnothers = (answers, pages) => Boolean(answers && pages && answers !== pages);

/**
 * @typedef {object} Answer
 * @property {number} status
 * @property {string} type the header Content-Type
 * @property {number} retryAfter milliseconds that the server asks us to wait, 0 if it does not
 * @property {string | null} account whose it is, null if nobody's or not said
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
    retryAfter: Math.max(0, Number(response.headers.get("Retry-After")) * 1000 || 0),
    account: response.headers.get(ACCOUNT),
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
 * What a client asks the server. `list` and `run` read: the runs, and one by its own or its engine's id, null where the
 * person has no such. `cancel` asks for the end of one and gets it as it is then: cancelling, or how it had ended.
 * `notifications` reads a page of them, `mark` says which were seen or read. What sends something rejects with an error
 * whose `cause` is the status, if there was one.
 * @typedef {object} Api
 * @property {() => Promise<Snapshot>} list
 * @property {(id: string) => Promise<{ run: Run | null, cursor: string }>} run
 * @property {(id: string) => Promise<Run>} cancel
 * @property {(before?: string) => Promise<NotificationPage>} notifications
 * @property {(how: "seen" | "read", which: Mark) => Promise<{ unread: number }>} mark
 *
 * @typedef {object} Addresses
 * @property {string} runs the list of runs; one of them is below it
 * @property {string} [notifications] the list of notifications, and below it what marks them
 * @property {string} [csrf] the token by which Django knows that a page of its own asks
 * @property {string} [csrfHeader] and what carries it
 * @property {string} [account] whose the page is
 */

// Whoever pressed a button should not wait longer for a word about it.
const POST_MS = 20_000;

/**
 * @param {Addresses} addresses
 * @returns {Api}
 */
export const api = ({ runs, notifications = "", csrf = "", csrfHeader = "X-CSRFToken", account }) => {
  /**
   * Send something. It is never sent again by itself: a token that is refused once is refused always.
   * @param {string} url
   * @param {object} [said]
   */
  const post = async (url, said) => {
    const response = await fetch(url, {
      method: "POST",
      headers: { [csrfHeader]: csrf, "Content-Type": "application/json" },
      body: JSON.stringify(said),
      credentials: "include",
      // What was clicked may lead to another page before this is on its way.
      keepalive: true,
      signal: AbortSignal.timeout(POST_MS),
    }).catch((error) => {
      throw new Error("The server does not answer. Ask again: twice does no harm.", { cause: error });
    });
    // Where a form to sign in or a proxy's page came instead, there is no answer.
    return { status: response.status, answer: await response.json().catch(() => ({})) };
  };

  return {
    list: () => get(runs, account),
    run: (id) =>
      get(`${runs}${encodeURIComponent(id)}/`, account).catch((error) => {
        if (error.cause === 404) return { run: null, cursor: "" };
        throw error;
      }),
    async cancel(id) {
      const { status, answer } = await post(`${runs}${encodeURIComponent(id)}/cancel/`);
      // What has ended cannot be cancelled any more, and how it ended is the answer.
      if ([202, 409].includes(status) && answer.run) return answer.run;
      throw refusal(status, answer);
    },
    notifications: (before) => get(`${notifications}?limit=${PAGE}${before ? `&before=${before}` : ""}`, account),
    async mark(how, which) {
      const { status, answer } = await post(`${notifications}${how}/`, which === "all" ? { all: true } : { ids: which });
      if (status === 202 && "unread" in answer) return answer;
      throw refusal(status, answer);
    },
  };
};

/**
 * Read JSON; what a proxy says instead, even with 200, is none and throws. The `cause` of a refusal is its status.
 * Whoever is signed in as somebody else is, on this page, signed out.
 * @param {string} url
 * @param {string} [account]
 */
async function get(url, account) {
  const response = await fetch(url, { credentials: "include", cache: "no-store" });
  const status = isAnothers(response.headers.get(ACCOUNT), account) ? 401 : response.status;
  if (status !== 200) throw new Error(url, { cause: status });
  return response.json();
}

/**
 * The server's own words, which are JSON; Django's about CSRF are not.
 * @param {number} cause the status
 * @param {{ error?: string }} answer
 */
function refusal(cause, { error }) {
  const stale = "This page is older than the sign-in, or its cookies are gone. Load it again.";
  return new Error(error ?? (cause === 403 ? stale : `The server answered ${cause}.`), { cause });
}
