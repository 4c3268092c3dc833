/**
 * For Django's admin: an open page of ours looks anew when something happened. The stream brings no content: what is
 * shown is always what the page itself answers to this person.
 */

import { Stream } from "./stream.js";
import { open } from "./transport.js";

const TAG = "script[data-activity]";
// What changes, on a list and on the page of one row; filters and search keep what a person is typing.
const SHOWN = "#changelist-form, #content-main form[id$='_form']";
// Half a second of the gateway comes on top.
const PAUSE_MS = 1500;
const PING_SECONDS = 20;

/** @type {import("./stream.js").Clock} */
const clock = {
  now: Date.now,
  later: (run, milliseconds) => setTimeout(run, milliseconds),
  cancel: (timer) => clearTimeout(timer),
};

/** Take from a newly read page what is shown here. @param {Document} page */
function show(page) {
  const [before, after] = [document.querySelector(SHOWN), page.querySelector(SHOWN)];
  if (before === null || after === null) return;
  const focused = document.activeElement;
  const address = focused instanceof HTMLAnchorElement && before.contains(focused) ? focused.getAttribute("href") : null;
  before.replaceWith(document.adoptNode(after));
  if (address === null) return;
  const links = [...document.querySelectorAll(`${SHOWN} a`)];
  const same = links.find((link) => link.getAttribute("href") === address);
  if (same instanceof HTMLElement) same.focus({ preventScroll: true });
}

/** Read this page anew. A page as an answer needs no markup from text, which a strict policy forbids. */
function read() {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("GET", location.href);
    request.responseType = "document";
    request.onloadend = () => {
      // Signed out: the answer is the page of signing in, at another address.
      const same = request.responseURL.split("#")[0] === location.href.split("#")[0];
      if (request.status === 200 && same && request.response) show(request.response);
      resolve(null);
    };
    request.send();
  });
}

/** @param {HTMLScriptElement} tag */
function begin(tag) {
  let due = false;
  let busy = false;
  const look = async () => {
    due = true;
    if (busy || document.hidden) return;
    busy = true;
    while (due && !document.hidden) {
      due = false;
      await read();
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    busy = false;
  };
  const stream = new Stream({
    url: String(tag.dataset.activity),
    cursor: "",
    ping: PING_SECONDS,
    open,
    clock,
    onMessage: (message) => message.type === "ping" || look(),
    onStatus() {},
  });
  const every = Number(tag.dataset.every) * 1000;
  if (every > 0) setInterval(look, every);
  // A page that nobody sees costs nothing.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return stream.stop();
    stream.start();
    look();
  });
  addEventListener("pagehide", () => stream.stop());
  addEventListener("pageshow", (event) => event.persisted && stream.start());
  if (!document.hidden) stream.start();
}

const tag = document.querySelector(TAG);
if (tag instanceof HTMLScriptElement) begin(tag);
