/** The list in the inbox's panel. */

import { safeUrl } from "../links.js";
import { make, write } from "./element.js";
import { levelOf } from "./toast.js";

/**
 * @import { Notification } from "../inbox.js"
 * @import { Words } from "../strings.js"
 */

export class Notifications {
  element = make("ol", "list", { role: "list" });
  #read;
  /** @type {Map<string, Item>} */
  #items = new Map();

  /** @param {(id: string) => void} read called when one is opened */
  constructor(read) {
    this.#read = read;
  }

  /** @param {Notification[]} list @param {Words} words @param {number} now */
  paint(list, words, now) {
    this.element.hidden = list.length === 0;
    const kept = new Map(list.map((each) => [each.id, this.#items.get(each.id) ?? new Item(each, () => this.#read(each.id))]));
    for (const [id, { element }] of this.#items) if (!kept.has(id)) element.remove();
    this.#items = kept;
    list.forEach((notification, index) => {
      const item = /** @type {Item} */ (kept.get(notification.id));
      item.paint(notification, words, now);
      // What stands where it should is not touched, or it would lose the focus.
      const there = this.element.children[index];
      if (there !== item.element) this.element.insertBefore(item.element, there ?? null);
    });
  }
}

/** One of them: a link where it has an address, else a button. What it says never changes, whether it was read does. */
class Item {
  element = make("li", "notification");
  #time = make("time", "time");
  #unread = make("span", "said");

  /** @param {Notification} notification @param {() => void} read */
  constructor({ title, body, url, at }, read) {
    const href = safeUrl(url, document.baseURI);
    const open = href === null ? make("button", "open") : make("a", "open", { href });
    this.#time.dateTime = at;
    open.append(make("span", "headline", {}, make("span", "", {}, this.#unread, title)), this.#time);
    if (body) open.append(make("span", "body", {}, body));
    for (const type of ["click", "auxclick"]) open.addEventListener(type, read);
    this.element.append(open);
  }

  /** @param {Notification} notification @param {Words} words @param {number} now */
  paint(notification, words, now) {
    const at = new Date(notification.at);
    this.element.setAttribute("part", `notification ${levelOf(notification)}${notification.read ? "" : " unread"}`);
    write(this.#unread, notification.read ? "" : `${words.say("isUnread")}: `);
    write(this.#time, words.ago(at, now));
    this.#time.title = words.date(at);
  }
}
