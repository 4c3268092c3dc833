/**
 * Words for people, in the language of the place where they stand. The templates read the same file.
 */

import strings from "./strings.json" with { type: "json" };
import { isTrouble } from "./runs.js";

/** @import { Run } from "./runs.js" */
/** @typedef {keyof typeof strings.en} Key */

/** @param {string} lang a language tag, as the attribute `lang` has it; English where we have no words */
export function wordsFor(lang) {
  const language = lang.toLowerCase().split(/[-_]/)[0];
  const table = Object.hasOwn(strings, language) ? strings[/** @type {keyof typeof strings} */ (language)] : strings.en;

  /** @param {Key} key @param {(string | number)[]} values what stands in for each {} */
  const say = (key, ...values) => table[key].replace(/{}/g, () => String(values.shift() ?? ""));

  /** @param {Run} run */
  const label = (run) => run.label || run.name || say("task");

  return {
    say,
    label,
    /** @param {Run} run the state in a word: what a person would want to know first */
    state: (run) => say(run.cancelling ? "cancelling" : run.late ? "late" : run.state),
    /** @param {Run} run in a headline: "Task finished" */
    ending: (run) => `${label(run)} ${say(run.state).toLowerCase()}`,
    /** @param {Run} run why it ended badly, in lines; none where it did not */
    trouble: (run) =>
      [
        run.error?.message || (isTrouble(run) ? say(run.state === "lost" ? "whyLost" : "whyFailed") : ""),
        run.error?.reference ? say("reference", run.error.reference) : "",
      ].filter(Boolean),
  };
}

/** @typedef {ReturnType<typeof wordsFor>} Words */

// Numbers and times as the browser writes them: that is what the person chose.
export const percent = new Intl.NumberFormat(undefined, { style: "percent" });
export const time = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
