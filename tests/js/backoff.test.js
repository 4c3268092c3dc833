import assert from "node:assert/strict";
import { test } from "node:test";

import { backoff } from "../../src/taskbell/js/backoff.js";

const ceilings = (next, count) => Array.from({ length: count }, () => next());

test("the ceiling doubles from half a second to half a minute", () => {
  assert.deepEqual(ceilings(backoff(() => 1), 9), [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
});

test("any wait up to the ceiling may be drawn", () => {
  const draws = [0, 0.25, 0.999];
  assert.deepEqual(ceilings(backoff(() => draws.shift()), 3), [0, 250, 1998]);
});

test("a connection that fell soon changes nothing", () => {
  const next = backoff(() => 1);
  assert.deepEqual([next(), next(9_999), next(9_999)], [500, 1000, 2000]);
});

test("a stable connection starts it over", () => {
  const next = backoff(() => 1);
  assert.deepEqual([next(), next(), next(10_000), next()], [500, 1000, 500, 1000]);
});

test("a thousand failures are as many as ten", () => {
  const next = backoff(() => 1);
  assert.equal(ceilings(next, 5_000).at(-1), 30_000);
});
