/**
 * Words for people, in the language of the place where they stand. The templates read the same file.
 */

import strings from "./strings.json" with { type: "json" };
import { isTrouble } from "./runs.js";

/** @import { Run } from "./runs.js" */
/** @typedef {keyof typeof strings.en} Key */

/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [["day", 86_400], ["hour", 3_600], ["minute", 60], ["second", 1]]; // prettier-ignore
const A_WEEK = 7 * 86_400;

/** @type {Map<string, Words>} what was made, because formats are dear to make and every event asks for them */
const made = new Map();

/**
 * @param {string} lang a language tag, as the attribute `lang` has it; English where we have no words
 * @returns {Words}
 */
export function wordsFor(lang) {
  const words = made.get(lang) ?? makeWords(lang);
  made.set(lang, words);
  return words;
}

/** @typedef {ReturnType<typeof makeWords>} Words */

/** @param {string} lang */
function makeWords(lang) {
  const language = lang.toLowerCase().split(/[-_]/)[0];
  const known = Object.hasOwn(strings, language) ? /** @type {keyof typeof strings} */ (language) : "en";
  const locale = localeOf(lang);
  const plural = new Intl.PluralRules(known);
  const number = new Intl.NumberFormat(locale);
  const percent = new Intl.NumberFormat(locale, { style: "percent" });
  const clock = new Intl.DateTimeFormat(locale, { timeStyle: "short" });
  const date = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });
  const distance = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });

  /** What stands in for each {}; the last number chooses singular or plural. @param {Key} key @param {(string | number)[]} values */
  const say = (key, ...values) => {
    /** @type {string | { one: string, other: string }} */
    const entry = strings[known][key];
    const count = Number(values.at(-1));
    const text = typeof entry === "string" ? entry : entry[plural.select(count) === "one" ? "one" : "other"];
    return text.replace(/{}/g, () => {
      const value = values.shift() ?? "";
      return typeof value === "number" ? number.format(value) : value;
    });
  };

  /** @param {Run} run */
  const label = (run) => run.label || run.name || say("task");

  /** A distance in the largest unit that it fills: "in 2 minutes", "yesterday". @param {number} seconds negative in the past */
  const far = (seconds) => {
    const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? UNITS[3];
    return distance.format(Math.trunc(seconds / size), unit);
  };

  return {
    say,
    label,
    number: number.format,
    percent: percent.format,
    /** Date and time in full. @param {Date} when */
    date: (when) => date.format(when),
    /** How long ago, and after a week when. @param {Date} when @param {number} now */
    ago: (when, now) => {
      const seconds = Math.min(0, (when.getTime() - now) / 1000);
      return seconds > -60 ? distance.format(0, "second") : seconds > -A_WEEK ? far(seconds) : date.format(when);
    },
    /** When something is due, and in how long if that is soon. @param {Date} when @param {number} now */
    due: (when, now) => {
      const seconds = Math.ceil((when.getTime() - now) / 1000);
      const at = (when.toDateString() === new Date(now).toDateString() ? clock : date).format(when);
      return seconds <= 0 ? say("soon") : seconds < 3_600 ? say("nextIn", at, far(seconds)) : say("next", at);
    },
    /** @param {Run} run the state in a word: what a person would want to know first */
    state: (run) => say(run.cancelling ? "cancelling" : run.late ? "late" : run.state),
    /** @param {Run} run in a headline: "Task finished" */
    ending: (run) => `${label(run)} ${say(run.state).toLowerCase()}`,
    /** @param {Run} run why it ended badly; "" where it did not */
    why: (run) => run.error?.message || (isTrouble(run) ? say(run.state === "lost" ? "whyLost" : "whyFailed") : ""),
    /** @param {Run} run by what its failure is found in the log; "" where it is not */
    reference: (run) => (run.error?.reference ? say("reference", run.error.reference) : ""),
  };
}

/** What is no tag, as pages have it too, is left to the browser. @param {string} lang */
function localeOf(lang) {
  try {
    return Intl.getCanonicalLocales(lang.replaceAll("_", "-"))[0];
  } catch {
    return undefined;
  }
}
