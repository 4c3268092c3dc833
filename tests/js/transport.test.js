// The network, with a server that answers on loopback.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, beforeEach, describe, test } from "node:test";

import { api, isAnothers, open } from "../../src/taskbell/js/transport.js";
import { run } from "./fakes.js";

let server;
let asked;
let answer;
let site;

before(async () => {
  server = createServer((request, response) => {
    const body = [];
    request.on("data", (piece) => body.push(piece));
    request.on("end", () => asked.push({ request, body: Buffer.concat(body).toString() }));
    response.writeHead(answer.status, { "Content-Type": answer.type ?? "application/json", ...answer.headers });
    response.end(answer.body ?? JSON.stringify(answer.json) ?? "");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
});
after(() => server.close());
beforeEach(() => {
  asked = [];
  site = `http://127.0.0.1:${server.address().port}/taskbell`;
});

const here = (more) => api({ runs: `${site}/runs/`, notifications: `${site}/notifications/`, csrf: "t0ken", ...more });
const cancel = (id = "r1") => here().cancel(id);

const stream = () => open(`${site}/events/`, new AbortController().signal);

describe("how long a server asks to wait", () => {
  const CASES = { 5: 5_000, 0: 0, "-5": 0, "": 0, soon: 0, "Fri, 27 Nov 2026 12:00:00 GMT": 0, "0.5": 500 };
  for (const [value, expected] of Object.entries(CASES)) {
    test(JSON.stringify(value), async () => {
      answer = { status: 503, headers: { "Retry-After": value } };
      assert.equal((await stream()).retryAfter, expected);
    });
  }
});

describe("whose an answer is", () => {
  const of = (account) => ({ status: 200, json: { runs: [], cursor: "" }, headers: { "Taskbell-Account": account } });

  test("is read off a stream", async () => {
    answer = of("bob");
    assert.equal((await stream()).account, "bob");
  });

  test("counts only where both sides say it", () => {
    assert.equal(isAnothers("bob", "ann"), true);
    for (const [answers, pages] of [["ann", "ann"], [null, "ann"], ["bob", undefined], ["bob", ""]]) assert.equal(isAnothers(answers, pages), false);
  });

  test("makes of somebody else's list a refusal", async () => {
    answer = of("bob");
    await assert.rejects(here({ account: "ann" }).list(), { cause: 401 });
    answer = of("ann");
    assert.deepEqual(await here({ account: "ann" }).list(), { runs: [], cursor: "" });
  });
});

describe("cancelling", () => {
  test("posts the page's token, once", async () => {
    const cancelling = run({ cancelling: true });
    answer = { status: 202, json: { run: cancelling } };
    assert.deepEqual(await cancel("a b/../c"), cancelling);
    assert.equal(asked.length, 1);
    const [{ request }] = asked;
    assert.deepEqual([request.method, request.url], ["POST", "/taskbell/runs/a%20b%2F..%2Fc/cancel/"]);
    assert.equal(request.headers["x-csrftoken"], "t0ken");
  });

  test("takes the header that a project has chosen", async () => {
    answer = { status: 202, json: { run: run() } };
    await here({ csrfHeader: "X-XSRF-TOKEN" }).cancel("r1");
    assert.equal(asked[0].request.headers["x-xsrf-token"], "t0ken");
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
    site = "http://127.0.0.1:1/taskbell";
    await assert.rejects(cancel(), ({ message, cause }) => /does not answer/.test(message) && cause instanceof TypeError);
  });
});

describe("notifications", () => {
  test("are read by the page", async () => {
    answer = { status: 200, json: { notifications: [], unread: 0, cursor: "c" } };
    assert.deepEqual(await here().notifications(), answer.json);
    await here().notifications("a-b");
    assert.deepEqual(asked.map(({ request }) => request.url), ["/taskbell/notifications/?limit=20", "/taskbell/notifications/?limit=20&before=a-b"]);
  });

  test("are marked, some or all", async () => {
    answer = { status: 202, json: { unread: 3 } };
    assert.deepEqual(await here().mark("seen", ["a", "b"]), { unread: 3 });
    await here().mark("read", "all");
    assert.deepEqual(asked.map(({ request, body }) => [request.url, body]), [
      ["/taskbell/notifications/seen/", '{"ids":["a","b"]}'],
      ["/taskbell/notifications/read/", '{"all":true}'],
    ]);
    assert.equal(asked[0].request.headers["content-type"], "application/json");
  });

  test("that cannot be marked say why", async () => {
    answer = { status: 400, json: { error: "`ids` is a list." } };
    await assert.rejects(here().mark("read", []), { cause: 400, message: "`ids` is a list." });
    answer = { status: 202, body: "<p>no" };
    await assert.rejects(here().mark("read", []), { cause: 202 });
  });
});
