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
    for (const key of Object.keys(strings.en)) assert.equal(strings.ko[key].includes("{}"), strings.en[key].includes("{}"), key);
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
  });

  test("dollar signs in a value are only text", () => assert.equal(wordsFor("en").say("reference", "$& $1"), "Reference $& $1"));

  test("trouble is told with what there is", () => {
    const { trouble } = wordsFor("en");
    assert.deepEqual(trouble(run({ state: "failed", error: { message: "Too dark.", reference: null } })), ["Too dark."]);
    assert.deepEqual(trouble(run({ state: "failed", error: { message: null, reference: "a1" } })), ["Something went wrong.", "Reference a1"]);
    assert.deepEqual(trouble(run({ state: "lost" })), ["The worker stopped."]);
    assert.deepEqual(trouble(run({ state: "succeeded" })), []);
  });
});
