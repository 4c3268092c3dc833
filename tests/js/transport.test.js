// The network, with a server that answers on loopback.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, beforeEach, describe, test } from "node:test";

import { api } from "../../src/taskbell/js/transport.js";
import { run } from "./fakes.js";

const CSRF = { header: "X-CSRFToken", token: "t0ken" };

let server;
let asked;
let answer;
let runs;

before(async () => {
  server = createServer((request, response) => {
    asked.push(request);
    response.writeHead(answer.status, { "Content-Type": answer.type ?? "application/json" });
    response.end(answer.body ?? JSON.stringify(answer.json));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
});
after(() => server.close());
beforeEach(() => {
  asked = [];
  runs = `http://127.0.0.1:${server.address().port}/taskbell/runs/`;
});

const cancel = (id = "r1") => api(runs, CSRF).cancel(id);

describe("cancelling", () => {
  test("posts the page's token, once", async () => {
    const cancelling = run({ cancelling: true });
    answer = { status: 202, json: { run: cancelling } };
    assert.deepEqual(await cancel("a b/../c"), cancelling);
    assert.equal(asked.length, 1);
    assert.equal(asked[0].method, "POST");
    assert.equal(asked[0].url, "/taskbell/runs/a%20b%2F..%2Fc/cancel/");
    assert.equal(asked[0].headers["x-csrftoken"], "t0ken");
  });

  test("of what has ended answers how", async () => {
    const ended = run({ state: "succeeded" });
    answer = { status: 409, json: { error: "This run has ended.", run: ended } };
    assert.deepEqual(await cancel(), ended);
  });

  const PAGE = { type: "text/html", body: "<!doctype html><h1>Some page</h1>" };
  const REFUSALS = [
    ["of a token from before another sign-in", { status: 403, ...PAGE }, 403, /older than the sign-in.*Load it again/],
    ["of nobody", { status: 401, json: { error: "Sign in first." } }, 401, /^Sign in first\.$/],
    ["of another's run", { status: 404, json: { error: "No such run." } }, 404, /^No such run\.$/],
    ["by a proxy", { status: 502, ...PAGE }, 502, /answered 502/],
    ["by a form to sign in, with 200", { status: 200, ...PAGE }, 200, /answered 200/],
    ["by JSON that is none of ours, with 202", { status: 202, json: [] }, 202, /answered 202/],
    ["without a word", { status: 409, body: "" }, 409, /answered 409/],
  ];
  for (const [name, given, cause, message] of REFUSALS) {
    test(`refused ${name} is one clear failure`, async () => {
      answer = given;
      await assert.rejects(cancel(), { cause, message });
      assert.equal(asked.length, 1);
    });
  }

  test("of a server that is away says so", async () => {
    runs = "http://127.0.0.1:1/taskbell/runs/";
    await assert.rejects(cancel(), ({ message, cause }) => /does not answer/.test(message) && cause instanceof TypeError);
  });
});
