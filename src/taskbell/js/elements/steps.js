/** The steps of a run: how many have ended, and unfolded the first of them. */

import { make, write } from "./element.js";

/**
 * @import { Run } from "../runs.js"
 * @import { Words } from "../strings.js"
 */

export class Steps {
  element = make("details", "steps");
  #said = make("bdi");
  #summary = make("summary", "summary", {}, this.#said);
  #list = make("ol", "list", { role: "list" });
  #more = make("p", "more");

  constructor() {
    this.element.append(this.#summary, this.#list, this.#more);
    this.element.hidden = true;
  }

  /** @param {Run} run @param {Words} words */
  paint({ steps, done }, words) {
    this.element.hidden = steps == null;
    if (steps == null) return;
    const failed = steps.failed ? words.say("stepsFailed", steps.failed) : "";
    write(this.#said, [words.say("steps", done ?? 0, steps.total), failed].filter(Boolean).join(" · "));
    while (this.#list.children.length > steps.list.length) this.#list.lastElementChild?.remove();
    steps.list.forEach((step, index) => {
      const item = this.#list.children[index] ?? this.#add();
      const [label, state] = /** @type {HTMLElement[]} */ ([...item.children]);
      item.setAttribute("part", `step ${step.state}`);
      write(label, step.label || words.say("task"));
      write(state, words.say(step.state));
    });
    const more = steps.total - steps.list.length;
    write(this.#more, more > 0 ? words.say("moreSteps", more) : "");
  }

  #add() {
    const item = make("li", "step", {}, make("span", "step-label"), make("span", "step-state"));
    this.#list.append(item);
    return item;
  }
}
