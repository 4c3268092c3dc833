/**
 * The entry of the bundle: the script tag's data attributes become a client, the window's events move it.
 * `window.taskbell` and the export `taskbell` are that client; where nobody is signed in there is no tag, and none.
 */

import { Client } from "./client.js";
import { define } from "./define.js";
import { Place } from "./place.js";
import { api, open } from "./transport.js";

const TAG = "script[data-taskbell]";

/** @type {import("./stream.js").Clock} */
const clock = {
  // Not performance.now(), which stands still on some systems while they sleep.
  now: Date.now,
  later: (run, milliseconds) => setTimeout(run, milliseconds),
  cancel: (timer) => clearTimeout(timer),
};

/** @param {DOMStringMap} data what the tag `{% taskbell_script %}` wrote */
function connect({ events = "", runs, person, cursor = "", ping }) {
  const client = new Client({
    events,
    cursor,
    ping: Number(ping),
    place: new Place(memory(), String(person)),
    api: runs ? api(runs) : null,
    open,
    clock,
    report: (error) => reportError(error),
  });
  addEventListener("online", () => client.wake());
  document.addEventListener("visibilitychange", () => document.hidden || client.wake());
  // A page with an open stream is not kept for going back; one that closed it is.
  addEventListener("pagehide", () => client.stop());
  addEventListener("pageshow", (event) => event.persisted && client.start());
  return client;
}

/** Where storage is forbidden, asking for it throws. */
function memory() {
  try {
    return sessionStorage;
  } catch {
    return null;
  }
}

/** @returns {Client | undefined} */
function begin() {
  // A second copy of this file joins the first.
  if (window.taskbell) return window.taskbell;
  const tag = /** @type {HTMLScriptElement | null} */ (document.querySelector(TAG));
  if (tag === null) return undefined;
  const client = (window.taskbell = connect(tag.dataset));
  define(client);
  // The page's own modules come after this one, and their handlers must not miss what was waiting.
  if (document.readyState === "complete") client.start();
  else document.addEventListener("DOMContentLoaded", () => client.start(), { once: true });
  return client;
}

export const taskbell = begin();
