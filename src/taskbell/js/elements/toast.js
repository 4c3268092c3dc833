/** What is said in one toast, be it of a run or of a notification. */

import { safeUrl } from "../links.js";
import { isTrouble, readResult } from "../runs.js";
import { make } from "./element.js";

/**
 * @import { Notification } from "../inbox.js"
 * @import { Unread } from "../place.js"
 * @import { Run } from "../runs.js"
 * @import { Words } from "../strings.js"
 *
 * @typedef {object} Said
 * @property {string} tone a state or a level: also a part's name
 * @property {boolean} stays until it is dismissed
 * @property {string} title
 * @property {string[]} lines
 * @property {{ text: string, url: string | null } | null} link of its own
 * @property {string | null} url where the title leads
 */

const LEVELS = new Set(["info", "success", "warning", "error"]);

/** A level as we know it: what a newer server says more is only information. @param {Notification} notification */
export const levelOf = ({ level }) => (LEVELS.has(level) ? level : "info");

/** @param {Unread} message @param {Words} words @returns {Said} */
export const said = ({ run, notification }, words) => (run ? ofRun(run, words) : ofNotification(notification));

/** @param {Run} run @param {Words} words @returns {Said} */
function ofRun(run, words) {
  const trouble = isTrouble(run);
  const found = run.state === "succeeded" ? readResult(run.result, document.baseURI) : null;
  return {
    tone: run.state,
    stays: trouble,
    title: words.ending(run),
    lines: trouble ? [words.why(run), words.reference(run)].filter(Boolean) : [],
    link: found?.url ? found : null,
    url: null,
  };
}

/** @param {Notification} notification @returns {Said} */
function ofNotification(notification) {
  const tone = levelOf(notification);
  return {
    tone,
    stays: tone === "error",
    title: notification.title,
    lines: notification.body ? [notification.body] : [],
    link: null,
    url: safeUrl(notification.url, document.baseURI),
  };
}

/** @param {Said} said @param {HTMLElement} dismiss */
export function draw({ tone, title, lines, link, url }, dismiss) {
  const text = make("div", "text", {}, make("p", "title", {}, url ? make("a", "link", { href: url }, title) : title));
  text.append(...lines.map((line) => make("p", "detail", {}, line)));
  if (link?.url) text.append(make("p", "result", {}, make("a", "link", { href: link.url }, link.text)));
  return make("li", `toast ${tone}`, {}, text, dismiss);
}
