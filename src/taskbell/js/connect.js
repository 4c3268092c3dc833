/** What a browser brings to a client: its network, clock, memory and other tabs. */

import { Client } from "./client.js";
import { Place } from "./place.js";
import { Push } from "./push.js";
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

// Whoever signs out does not wait for a server that is away.
const SIGN_OUT_MS = 3_000;

/**
 * Make the client of a page; the window's events move it.
 * @param {DOMStringMap} data what the tag `{% taskbell_script %}` wrote
 */
export function connect(data) {
  const { events = "", runs, notifications, person, account, cursor = "", ping, push, pushKey } = data;
  const { csrf = "", csrfHeader = "X-CSRFToken" } = data;
  const client = new Client({
    events,
    cursor,
    ping: Number(ping),
    account,
    place: new Place(memory("sessionStorage"), String(person)),
    api: runs ? api({ runs, notifications, csrf, csrfHeader, account }) : null,
    open,
    clock,
    report: (error) => reportError(error),
    // Another person's tabs, and those from before a sign-in, are none of ours.
    stream: tabs && ((options) => new SharedStream(options, tabs, `taskbell:${person}:${options.url}`)),
  });
  client.push = push && pushKey && account ? connectPush(client, { push, pushKey, account, csrf, csrfHeader }) : null;
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

/**
 * @param {Client} client
 * @param {{ push: string, pushKey: string, account: string, csrf: string, csrfHeader: string }} data
 * @returns {Push | null} null where the browser, or a page that is not secure, has none
 */
function connectPush(client, { push: address, pushKey: key, account, csrf, csrfHeader }) {
  if (!("serviceWorker" in navigator && "PushManager" in window && "Notification" in window)) return null;
  const push = new Push({
    address,
    key,
    account,
    csrf: { header: csrfHeader, token: csrf },
    workers: navigator.serviceWorker,
    permissions: Notification,
    storage: memory("localStorage"),
    fetch: (url, options) => fetch(url, options),
    now: Date.now,
    trusted,
  });
  push.start().catch((error) => reportError(error));
  client.on("notification", ({ id }) => push.handled(id));
  push.answer(() => !document.hidden && document.querySelector("taskbell-toasts, taskbell-inbox") !== null);
  client.addEventListener("status", () => client.status === "signed-out" && push.signedOut());
  document.addEventListener("submit", (event) => signOut(push, event));
  return push;
}

/**
 * A form that signs out waits for the subscription to end, because nobody may end it afterwards.
 * @param {Push} push
 * @param {SubmitEvent} event
 */
async function signOut(push, event) {
  const form = /** @type {HTMLFormElement} */ (event.target);
  if (event.defaultPrevented || push.state !== "on" || !form.matches("[data-taskbell-sign-out]")) return;
  event.preventDefault();
  const late = new Promise((resolve) => setTimeout(resolve, SIGN_OUT_MS));
  await Promise.race([push.unsubscribe(), late]).catch(() => {});
  form.submit();
}

/** Where a policy wants Trusted Types, it must allow the name `taskbell`. @param {string} address */
function trusted(address) {
  const types = /** @type {any} */ (window).trustedTypes;
  if (!types) return address;
  policy ??= types.createPolicy("taskbell", { createScriptURL: (/** @type {string} */ url) => url });
  return policy.createScriptURL(address);
}

/** @type {any} a name is given once a page */
let policy;

/** Where storage is forbidden, asking for it throws. @param {"sessionStorage" | "localStorage"} name */
function memory(name) {
  try {
    return window[name];
  } catch {
    return null;
  }
}
