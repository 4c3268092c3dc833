/** What our elements have in common: a client that `define` gives them, a shadow with styles, a language. */

import { wordsFor } from "../strings.js";

/** @import { Client } from "../client.js" */

export class TaskbellElement extends HTMLElement {
  /** @type {Client} */
  static client;

  /** @returns {Client} */
  get client() {
    return /** @type {typeof TaskbellElement} */ (this.constructor).client;
  }

  /** Words in the language of the nearest `lang`. */
  get words() {
    const nearest = /** @type {HTMLElement} */ (this.closest("[lang]") ?? document.documentElement);
    return wordsFor(nearest.lang || navigator.language);
  }

  /**
   * A policy that forbids inline styles allows a style sheet that a script constructs.
   * @param {CSSStyleSheet} sheet
   */
  shade(sheet) {
    const shadow = this.attachShadow({ mode: "open" });
    shadow.adoptedStyleSheets = [sheet];
    return shadow;
  }
}

/** @param {string[]} css */
export function sheet(...css) {
  const made = new CSSStyleSheet();
  made.replaceSync(css.join(""));
  return made;
}

/**
 * Make an element; its name is its part too, for styles inside and out. Text is text, never markup.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string} [part]
 * @param {Record<string, string>} [attributes]
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, part = "", attributes = {}, ...children) {
  const made = document.createElement(tag);
  if (part) made.setAttribute("part", part);
  if (tag === "button") made.setAttribute("type", "button");
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/**
 * Write text only where it changes, or screen readers would read it again.
 * @param {HTMLElement} element
 * @param {string} text hides the element where it is empty
 */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
  element.hidden = text === "";
}

/** Whether somebody else on this page says what happens, so that nothing is said twice. */
export const toastsSay = () => document.querySelector("taskbell-toasts") !== null;
