/** What a browser brings to a client: its network, clock, memory and other tabs. */

import { Client } from "./client.js";
import { Place } from "./place.js";
import { SharedStream } from "./tabs.js";
import { api, open } from "./transport.js";

/** @type {import("./stream.js").Clock} */
const clock = {
  // Not performance.now(), which stands still on some systems while they sleep.
  now: Date.now,
  later: (run, milliseconds) => setTimeout(run, milliseconds),
  cancel: (timer) => clearTimeout(timer),
};

// Only a secure page has locks; on another, each tab has streams of its own.
const tabs =
  "locks" in navigator && "BroadcastChannel" in window
    ? { locks: navigator.locks, line: (/** @type {string} */ name) => new BroadcastChannel(name) }
    : undefined;

/**
 * Make the client of a page; the window's events move it.
 * @param {DOMStringMap} data what the tag `{% taskbell_script %}` wrote
 */
export function connect({ events = "", runs, person, account, cursor = "", ping, csrf = "", csrfHeader = "X-CSRFToken" }) {
  const client = new Client({
    events,
    cursor,
    ping: Number(ping),
    account,
    place: new Place(memory(), String(person)),
    api: runs ? api(runs, { header: csrfHeader, token: csrf }, account) : null,
    open,
    clock,
    report: (error) => reportError(error),
    // Another person's tabs, and those from before a sign-in, are none of ours.
    stream: tabs && ((options) => new SharedStream(options, tabs, `taskbell:${person}:${options.url}`)),
  });
  addEventListener("online", () => client.wake());
  document.addEventListener("visibilitychange", () => document.hidden || client.wake());
  // A page with an open stream is not kept for going back; one that closed it is.
  addEventListener("pagehide", () => client.stop());
  addEventListener("pageshow", (event) => event.persisted && client.start());
  // A frozen page still hears other tabs, but reads nothing for them.
  document.addEventListener("freeze", () => client.stop());
  document.addEventListener("resume", () => client.start());
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
