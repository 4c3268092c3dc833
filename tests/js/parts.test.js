import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { isAfter } from "../../src/taskbell/js/cursor.js";
import { Place } from "../../src/taskbell/js/place.js";
import { fraction, readResult } from "../../src/taskbell/js/runs.js";
import strings from "../../src/taskbell/js/strings.json" with { type: "json" };
import { wordsFor } from "../../src/taskbell/js/strings.js";
import { FakeStorage, cursor, run } from "./fakes.js";

describe("cursors", () => {
  const CASES = [
    [cursor(2), cursor(1), true],
    [cursor(1), cursor(2), false],
    [cursor(1), cursor(1), false],
    [cursor(10), cursor(9), true],
    [cursor(2, "other"), cursor(1), null],
    ["2.log.2.n", cursor(1), null],
    ["", cursor(1), null],
    [cursor(1), "", null],
  ];
  for (const [a, b, expected] of CASES) test(`${a || "none"} after ${b || "none"}`, () => assert.equal(isAfter(a, b), expected));
});

describe("place", () => {
  test("another page of the same person reads it", () => {
    const storage = new FakeStorage();
    new Place(storage, "ann").cursor = "c1";
    assert.equal(new Place(storage, "ann").cursor, "c1");
  });

  test("another person finds nothing, and the first one's is gone", () => {
    const storage = new FakeStorage({ mine: "stays" });
    new Place(storage, "ann").cursor = "c1";
    assert.equal(new Place(storage, "bob").cursor, "");
    assert.equal(new Place(storage, "ann").cursor, "");
    assert.equal(storage.mine, "stays");
  });

  test("one key that begins like another is another", () => {
    const storage = new FakeStorage();
    new Place(storage, "annabel").cursor = "c1";
    new Place(storage, "ann");
    assert.equal(new Place(storage, "annabel").cursor, "");
  });

  test("what is left unread is taken once", () => {
    const place = new Place(new FakeStorage(), "ann");
    place.leaveUnread([run()]);
    assert.deepEqual(place.takeUnread(), [run()]);
    assert.deepEqual(place.takeUnread(), []);
  });

  test("text that is no JSON is nothing", () => {
    assert.deepEqual(new Place(new FakeStorage({ "taskbell:ann:unread": "{" }), "ann").takeUnread(), []);
  });

  test("clear forgets all", () => {
    const storage = new FakeStorage();
    const place = new Place(storage, "ann");
    place.cursor = "c1";
    place.leaveUnread([run()]);
    place.clear();
    assert.deepEqual(Object.keys(storage), []);
  });

  const throwing = new Proxy({}, { get: () => { throw new DOMException("denied", "SecurityError"); }, ownKeys: () => { throw new Error(); } });
  for (const [name, storage] of [["no storage", null], ["storage that throws", throwing]]) {
    test(`${name} remembers nothing and breaks nothing`, () => {
      const place = new Place(storage, "ann");
      place.cursor = "c1";
      place.leaveUnread([run()]);
      assert.equal(place.cursor, "");
      assert.deepEqual(place.takeUnread(), []);
      place.clear();
    });
  }
});

describe("progress", () => {
  const CASES = [[0, 4, 0], [1, 4, 0.25], [5, 4, 1], [-1, 4, 0], [1, 0, null], [1, null, null], [null, 4, null], [1, -1, null]];
  for (const [done, total, expected] of CASES) test(`${done} of ${total}`, () => assert.equal(fraction({ done, total }), expected));
});

describe("results", () => {
  const base = "https://site/page/";
  const CASES = [
    ["some text", { text: "some text", url: null }],
    ["https://site/x", { text: "https://site/x", url: null }],
    [{ url: "https://other/x" }, { text: "https://other/x", url: "https://other/x" }],
    [{ url: "/x", label: "Open" }, { text: "Open", url: "https://site/x" }],
    [{ url: "x" }, { text: "x", url: "https://site/page/x" }],
    [{ url: "javascript:alert(1)", label: "Open" }, { text: "Open", url: null }],
    [{ url: " java\nscript:alert(1)" }, { text: " java\nscript:alert(1)", url: null }],
    [{ url: "data:text/html,x" }, { text: "data:text/html,x", url: null }],
    [{ url: "https://" }, { text: "https://", url: null }],
    [{ url: "/x", label: 5 }, { text: "/x", url: "https://site/x" }],
    [{ url: 5 }, null],
    [{ other: "x" }, null],
    [null, null],
    [undefined, null],
    [7, null],
    [true, null],
    [["x"], null],
  ];
  for (const [result, expected] of CASES) test(JSON.stringify(result) ?? "undefined", () => assert.deepEqual(readResult(result, base), expected));
});

describe("words", () => {
  test("both languages say the same things", () => assert.deepEqual(Object.keys(strings.ko), Object.keys(strings.en)));

  test("both languages leave the same gaps", () => {
    const gaps = (entry) => new Set((typeof entry === "string" ? [entry] : Object.values(entry)).map((text) => text.split("{}").length - 1));
    for (const key of Object.keys(strings.en)) assert.deepEqual(gaps(strings.ko[key]), gaps(strings.en[key]), key);
  });

  for (const [lang, expected] of [["en", "Failed"], ["ko", "실패"], ["ko-KR", "실패"], ["KO", "실패"], ["de", "Failed"], ["", "Failed"], ["__proto__", "Failed"], ["constructor", "Failed"]]) {
    test(`the language ${JSON.stringify(lang)}`, () => assert.equal(wordsFor(lang).say("failed"), expected));
  }

  test("an ending is a headline", () => {
    const words = wordsFor("en");
    assert.equal(words.ending(run({ state: "succeeded" })), "Resizing photo finished");
    assert.equal(words.ending(run({ state: "succeeded", label: "", name: "" })), "Task finished");
    assert.equal(wordsFor("ko").ending(run({ state: "succeeded", label: "사진 변환" })), "사진 변환 완료");
  });

  test("steps are counted", () => {
    assert.equal(wordsFor("en").say("steps", 3, 7), "3 of 7 steps");
    assert.equal(wordsFor("ko").say("steps", 0, 7), "단계 0/7");
    assert.equal(wordsFor("en").say("steps", 0, 1), "0 of 1 step");
    assert.equal(wordsFor("en").say("unread", 1), "1 unread message");
    assert.equal(wordsFor("en").say("unread", 1_200), "1,200 unread messages");
  });

  test("numbers are those of the page's language, also where its words are not ours", () => {
    assert.equal(wordsFor("de").percent(0.375), "38\u00a0%");
    assert.equal(wordsFor("de").say("unread", 12_345), "12.345 unread messages");
    assert.equal(wordsFor("ko").number(12_345), "12,345");
    for (const lang of ["", "no tag at all", "ko_KR", "x"]) assert.equal(typeof wordsFor(lang).percent(0.5), "string");
  });

  test("the next attempt runs down when it is near", () => {
    const now = new Date(2026, 0, 1, 14, 0, 0).getTime();
    const due = (seconds, lang = "en-GB") => wordsFor(lang).due(new Date(now + seconds * 1000), now);
    assert.equal(due(42), "Tries again at 14:00 (in 42 seconds)");
    assert.equal(due(1), "Tries again at 14:00 (in 1 second)");
    assert.equal(due(300), "Tries again at 14:05 (in 5 minutes)");
    assert.equal(due(7_200), "Tries again at 16:00");
    assert.equal(due(86_400), "Tries again at 2 Jan 2026, 14:00");
    assert.equal(due(0), "Tries again any moment");
    // A clock that is wrong must not count for ever.
    assert.equal(due(-5_000), "Tries again any moment");
    assert.match(due(42, "ko"), /2:00에 다시 시도 \(42초 후\)$/);
  });

  test("how long ago it was", () => {
    const now = new Date(2026, 0, 9, 14, 0, 0).getTime();
    const ago = (seconds, lang = "en-GB") => wordsFor(lang).ago(new Date(now - seconds * 1000), now);
    assert.deepEqual([ago(5), ago(-3_600), ago(90), ago(7_300), ago(86_400)], ["now", "now", "1 minute ago", "2 hours ago", "yesterday"]);
    assert.equal(ago(8 * 86_400), "1 Jan 2026, 14:00");
    assert.deepEqual([ago(5, "ko"), ago(90, "ko"), ago(86_400, "ko")], ["지금", "1분 전", "어제"]);
  });

  test("dollar signs in a value are only text", () => assert.equal(wordsFor("en").say("reference", "$& $1"), "Reference $& $1"));

  test("trouble is told with what there is", () => {
    const { why, reference } = wordsFor("en");
    const trouble = (fields) => [why(run(fields)), reference(run(fields))];
    assert.deepEqual(trouble({ state: "failed", error: { message: "Too dark.", reference: null } }), ["Too dark.", ""]);
    assert.deepEqual(trouble({ state: "failed", error: { message: null, reference: "a1" } }), ["Something went wrong.", "Reference a1"]);
    assert.deepEqual(trouble({ state: "lost" }), ["The worker stopped.", ""]);
    assert.deepEqual(trouble({ state: "succeeded" }), ["", ""]);
  });
});
