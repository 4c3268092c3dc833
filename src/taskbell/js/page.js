/**
 * The entry of the bundle: the script tag becomes a client, and the elements are made known.
 * `window.taskbell` and the export `taskbell` are that client; where nobody is signed in there is no tag, and none.
 */

import { connect } from "./connect.js";
import { define } from "./define.js";

/** @import { Client } from "./client.js" */

const TAG = "script[data-taskbell]";

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
