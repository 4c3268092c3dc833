import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";

import { api, isAnothers, open } from "../../src/taskbell/js/transport.js";

const fetched = globalThis.fetch;
afterEach(() => (globalThis.fetch = fetched));

/** The network answers this. */
function answer(body, options) {
  globalThis.fetch = async () => new Response(body, options);
}

describe("how long a server asks to wait", () => {
  const CASES = { 5: 5_000, 0: 0, "-5": 0, "": 0, soon: 0, "Fri, 27 Nov 2026 12:00:00 GMT": 0, "0.5": 500 };
  for (const [value, expected] of Object.entries(CASES)) {
    test(JSON.stringify(value), async () => {
      answer("", { status: 503, headers: { "Retry-After": value } });
      assert.equal((await open("/events/", new AbortController().signal)).retryAfter, expected);
    });
  }
});

describe("whose an answer is", () => {
  test("is read off a stream", async () => {
    answer("", { headers: { "Taskbell-Account": "bob" } });
    assert.equal((await open("/events/", new AbortController().signal)).account, "bob");
  });

  test("counts only where both sides say it", () => {
    assert.equal(isAnothers("bob", "ann"), true);
    for (const [answers, pages] of [["ann", "ann"], [null, "ann"], ["bob", undefined], ["bob", ""]]) assert.equal(isAnothers(answers, pages), false);
  });

  test("makes of somebody else's list a refusal", async () => {
    const runs = JSON.stringify({ runs: [], cursor: "" });
    answer(runs, { headers: { "Taskbell-Account": "bob" } });
    await assert.rejects(api("/runs/", {}, "ann").list(), { cause: 401 });
    answer(runs, { headers: { "Taskbell-Account": "ann" } });
    assert.deepEqual(await api("/runs/", {}, "ann").list(), { runs: [], cursor: "" });
  });
});
