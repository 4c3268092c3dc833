import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Client } from "../../src/taskbell/js/client.js";
import { Place } from "../../src/taskbell/js/place.js";
import { FakeClock, FakeServer, FakeStorage, OPENING, bye, cursor, frame, ping, reset, run, settle } from "./fakes.js";

const PING = 20;
const HTML = { status: 200, type: "text/html; charset=utf-8" };

/** A page: a client on a server, a clock and storage that the next page of a test may share. */
function page({ server = new FakeServer(), clock = new FakeClock(), storage = new FakeStorage(), person = "ann", at = 5, ...rest } = {}) {
  const reported = [];
  const statuses = [];
  const rung = [];
  const client = new Client({
    events: "/events/",
    cursor: at === null ? "" : cursor(at),
    ping: PING,
    place: new Place(storage, person),
    api: null,
    open: server.open,
    clock,
    // The longest wait of each draw, so that a test knows it.
    random: () => 1,
    report: (error) => reported.push(error),
    ...rest,
  });
  client.addEventListener("status", () => statuses.push(client.status));
  client.addEventListener("ending", ({ detail }) => rung.push(`${detail.id} ${detail.state}`));
  return { client, server, clock, storage, reported, statuses, rung };
}

/** A page whose stream is live. */
async function live(options) {
  const made = page(options);
  made.client.start();
  await settle();
  await made.server.send(OPENING, ping(options?.at ?? 5));
  return made;
}

/** Collects what a handler is called with. */
function listen(client, type) {
  const heard = [];
  const off = client.on(type, (data) => heard.push(data.n ?? data));
  return { heard, off };
}

class FakeApi {
  asked = [];
  /** @param {object} options `runs` is the list, `others` are found by id only */
  constructor({ runs = [], others = [], at = 5, fail = [] } = {}) {
    Object.assign(this, { runs, others, at, fail });
  }
  async list() {
    return this.#answer("list", () => ({ runs: this.runs, cursor: cursor(this.at) }));
  }
  async run(id) {
    const find = () => [...this.runs, ...this.others].find((each) => each.id === id || each.task_id === id) ?? null;
    return this.#answer(id, () => ({ run: find(), cursor: cursor(this.at) }));
  }
  async #answer(what, make) {
    this.asked.push(what);
    const error = this.fail.shift();
    if (error) throw error;
    return make();
  }
}

describe("events", () => {
  test("reach the handlers of their type, with the payload and the event", async () => {
    const { client, server } = await live();
    const heard = [];
    client.on("message", (...given) => heard.push(given));
    client.on("other", () => assert.fail("not asked for"));
    await server.send(frame(6, "message", { n: 1 }));
    assert.deepEqual(heard, [[{ n: 1 }, { type: "message", id: cursor(6), data: '{"n":1}' }]]);
  });

  test("come until they are switched off", async () => {
    const { client, server } = await live();
    const { heard, off } = listen(client, "message");
    await server.send(frame(6, "message", { n: 1 }));
    off();
    off();
    await server.send(frame(7, "message", { n: 2 }));
    assert.deepEqual(heard, [1]);
  });

  test("come twice to one function that was registered twice, and once when it was switched off once", async () => {
    const { client, server } = await live();
    const heard = [];
    const handler = ({ n }) => heard.push(n);
    client.on("message", handler);
    client.on("message", handler)();
    await server.send(frame(6, "message", { n: 1 }));
    assert.deepEqual(heard, [1]);
  });

  test("reach the other handlers when one throws", async () => {
    const { client, server, reported, storage } = await live();
    const trouble = new Error("mine");
    client.on("message", () => { throw trouble; });
    const { heard } = listen(client, "message");
    await server.send(frame(6, "message", { n: 1 }), frame(7, "message", { n: 2 }));
    assert.deepEqual(heard, [1, 2]);
    assert.deepEqual(reported, [trouble, trouble]);
    assert.equal(new Place(storage, "ann").cursor, cursor(7));
  });

  test("may switch handlers off and on while they are told", async () => {
    const { client, server } = await live();
    const heard = [];
    const off = client.on("message", ({ n }) => {
      off();
      client.on("message", ({ n }) => heard.push(`later ${n}`));
      heard.push(n);
    });
    await server.send(frame(6, "message", { n: 1 }));
    await server.send(frame(7, "message", { n: 2 }));
    assert.deepEqual(heard, [1, "later 2"]);
  });

  test("without JSON are reported and passed by", async () => {
    const { client, server, reported } = await live();
    const { heard } = listen(client, "message");
    await server.send(`id: ${cursor(6)}\nevent: message\ndata: {"n":\n\n`, frame(7, "message", { n: 2 }));
    assert.deepEqual(heard, [2]);
    assert.equal(reported.length, 1);
  });

  test("are handled once, however often they are sent", async () => {
    const { client, server, rung } = await live();
    const { heard } = listen(client, "run");
    const done = frame(6, "run", run({ state: "succeeded" }));
    await server.send(done, done, ping(6), done);
    assert.equal(heard.length, 1);
    assert.deepEqual(rung, ["r1 succeeded"]);
  });

  test("of a type that is no word of ours are as good as any", async () => {
    const { client, server } = await live();
    const heard = ["status", "ending", "snapshot", "__proto__", "constructor"].map((type) => [type, listen(client, type).heard]);
    for (const [index, [type]] of heard.entries()) await server.send(frame(6 + index, type, { n: type }));
    for (const [type, got] of heard) assert.deepEqual(got, [type]);
  });
});

describe("the cursor", () => {
  test("of the page is where its first stream starts", async () => {
    const { server } = await live();
    assert.deepEqual(server.cursors, [cursor(5)]);
  });

  test("is left out where there is no log yet", async () => {
    const { server } = await live({ at: null });
    assert.equal(server.last.url, "/events/");
  });

  test("that was handled last is where the next page starts, though the page knows more", async () => {
    const first = await live();
    await first.server.send(frame(6, "message"));
    first.client.stop();
    const second = await live({ ...first, at: 9 });
    assert.deepEqual(second.server.cursors, [cursor(5), cursor(6)]);
  });

  test("of a ping counts too", async () => {
    const { server, storage } = await live();
    await server.send(ping(8));
    assert.equal(new Place(storage, "ann").cursor, cursor(8));
  });

  test("of an event is kept after its handlers, or the next page would not be told of one that was cut short", async () => {
    const { client, server, storage } = await live();
    let during;
    client.on("message", () => (during = new Place(storage, "ann").cursor));
    await server.send(frame(6, "message"));
    assert.equal(during, cursor(5));
  });

  test("is not known to another person in the same tab", async () => {
    const first = await live();
    await first.server.send(frame(6, "message"));
    const second = await live({ ...first, person: "bob", at: 9 });
    assert.equal(second.server.cursors.at(-1), cursor(9));
  });

  test("is the page's own where storage throws", async () => {
    const storage = { getItem() { throw new Error(); }, setItem() { throw new Error(); } };
    const { client, server } = await live({ storage });
    const { heard } = listen(client, "message");
    await server.send(frame(6, "message", { n: 1 }));
    server.last.body.end();
    await settle();
    assert.deepEqual(heard, [1]);
  });
});

describe("an ending between two pages", () => {
  test("rings on the second, though its snapshot knows it", async () => {
    const first = await live();
    first.client.stop();
    const second = page({ ...first, at: 7 });
    const ended = run({ state: "succeeded" });
    const watch = second.client.watch("r1", ended);
    second.client.start();
    await settle();
    await second.server.send(OPENING, ping(5), frame(6, "run", run({ done: 1, total: 2 })), frame(7, "run", ended));
    assert.deepEqual(second.rung, ["r1 succeeded"]);
    assert.equal(watch.state, "succeeded");
  });

  test("does not turn the painted bar back", async () => {
    const first = await live();
    first.client.stop();
    const second = page({ ...first, at: 8 });
    const watch = second.client.watch("r1", run({ done: 80, total: 100 }));
    const seen = [];
    watch.addEventListener("change", ({ detail }) => seen.push(detail.done));
    second.client.start();
    await settle();
    await second.server.send(frame(6, "run", run({ done: 10, total: 100 })), frame(9, "run", run({ done: 90, total: 100 })));
    assert.deepEqual(seen, [90]);
  });

  test("is left for the next page when nobody could read it", () => {
    const first = page();
    first.client.leaveUnread([run({ state: "failed" })]);
    assert.deepEqual(page(first).client.takeUnread(), [run({ state: "failed" })]);
  });
});

describe("reconnecting", () => {
  const drops = {
    "the end of the body": (server) => server.last.body.end(),
    "a broken connection": (server) => server.last.body.fail(),
  };
  for (const [name, drop] of Object.entries(drops)) {
    test(`after ${name} goes on after the last event`, async () => {
      const { client, server, clock, statuses } = await live();
      const { heard } = listen(client, "message");
      await server.send(frame(6, "message", { n: 1 }));
      drop(server);
      await settle();
      assert.equal(clock.nextIn, 500);
      await clock.advance(500);
      await server.send(OPENING, ping(6), frame(6, "message", { n: 1 }), frame(7, "message", { n: 2 }));
      assert.deepEqual(server.cursors, [cursor(5), cursor(6)]);
      assert.deepEqual(heard, [1, 2]);
      assert.deepEqual(statuses, ["live", "offline", "live"]);
    });
  }

  const refusals = {
    "a page of a proxy with 200": HTML,
    "502": { status: 502, type: "text/html" },
    "404": { status: 404, type: "text/plain" },
    "204": { status: 204, type: "" },
    "200 without a type": { status: 200, type: "" },
    "a type that begins like ours": { status: 200, type: "text/event-stream2" },
    "nobody there": new TypeError("Failed to fetch"),
  };
  for (const [name, answer] of Object.entries(refusals)) {
    test(`after ${name} waits longer each time, and never gives up`, async () => {
      const made = page();
      const { client, server, clock, statuses } = made;
      const waits = [];
      for (let round = 0; round < 9; round++) server.answerOnce(answer);
      client.start();
      for (let round = 0; round < 9; round++) {
        await settle();
        waits.push(clock.nextIn);
        await clock.advance(clock.nextIn);
      }
      assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
      await server.send(OPENING, ping(5));
      assert.deepEqual(statuses, ["offline", "live"]);
      assert.equal(server.requests.length, 10);
      assert.ok(server.requests.slice(0, -1).every(({ signal }) => signal.aborted), "no answer is left open");
    });
  }

  test("starts over from half a second only after a stable connection", async () => {
    const { server, clock } = await live();
    const drop = async (lived) => {
      await clock.advance(lived);
      server.last.body.end();
      await settle();
      const wait = clock.nextIn;
      await clock.advance(wait);
      await server.send(OPENING, ping(5));
      return wait;
    };
    assert.deepEqual([await drop(1000), await drop(1000), await drop(12_000), await drop(1000)], [500, 1000, 500, 1000]);
  });

  test("after 503 waits as long as it was told, and some more", async () => {
    const { client, server, clock } = page();
    server.answerOnce({ status: 503, type: "text/plain", retryAfter: 5_000 });
    client.start();
    await settle();
    assert.equal(clock.nextIn, 5_500);
    await clock.advance(5_500);
    assert.equal(server.requests.length, 2);
  });

  test("never waits for ever", async () => {
    const { client, server, clock } = page();
    server.answerOnce({ status: 503, type: "text/plain", retryAfter: 1e30 });
    client.start();
    await settle();
    assert.equal(clock.nextIn, 300_000);
  });

  test("after 401 stays signed out, and forgets", async () => {
    const { client, server, clock, storage, statuses } = await live();
    await server.send(frame(6, "message"));
    server.answerOnce({ status: 401, type: "text/plain" });
    server.last.body.end();
    await clock.advance(500);
    assert.deepEqual(statuses, ["live", "offline", "signed-out"]);
    assert.deepEqual(Object.keys(storage), []);
    assert.equal(clock.nextIn, null);
    client.leaveUnread([run()]);
    assert.deepEqual(Object.keys(storage), []);
  });

  test("after 401 asks once more when someone looks again", async () => {
    const { client, server, clock, statuses } = page();
    server.answerOnce({ status: 401, type: "text/plain" });
    client.start();
    await settle();
    client.wake();
    await settle();
    await server.send(OPENING, ping(5));
    assert.deepEqual(statuses, ["signed-out", "live"]);
    assert.ok(clock.nextIn > 0);
  });
});

describe("bye", () => {
  test("is followed by the wait that it names, and alarms nobody", async () => {
    const { server, clock, statuses } = await live();
    await server.send(bye("drain", 1234));
    assert.equal(clock.nextIn, 1234);
    assert.ok(server.last.signal.aborted);
    await clock.advance(1234);
    await server.send(OPENING, ping(5));
    assert.deepEqual(statuses, ["live", "connecting", "live"]);
    assert.deepEqual(server.cursors, [cursor(5), cursor(5)]);
  });

  test("is heeded where its frame is cut", async () => {
    const { server, clock } = await live();
    const [left, right] = [bye("age", 700).slice(0, 20), bye("age", 700).slice(20)];
    await server.send(left);
    await server.send(right);
    assert.equal(clock.nextIn, 700);
  });

  test("because there are too many tabs does not throw out another at once", async () => {
    const { server, clock } = await live();
    await server.send(bye("limit", 2000));
    assert.equal(clock.nextIn, 30_000);
  });

  test("is the last that is read", async () => {
    const { client, server } = await live();
    const { heard } = listen(client, "message");
    await server.send(bye("age", 700), frame(6, "message", { n: 1 }));
    assert.deepEqual(heard, []);
  });
});

describe("silence", () => {
  test("of two and a half pings ends a connection", async () => {
    const { server, clock, statuses } = await live();
    await clock.advance(PING * 2_500 - 1);
    assert.equal(server.last.signal.aborted, false);
    await clock.advance(1);
    assert.equal(server.last.signal.aborted, true);
    await clock.advance(500);
    assert.deepEqual(server.cursors, [cursor(5), cursor(5)]);
    assert.deepEqual(statuses, ["live", "offline"]);
  });

  test("is counted from the last byte", async () => {
    const { server, clock } = await live();
    for (let second = 0; second < 10; second++) {
      await clock.advance(40_000);
      await server.send(": a comment\n\n");
    }
    assert.equal(server.requests.length, 1);
    await clock.advance(PING * 2_500 + 500);
    assert.equal(server.requests.length, 2);
  });

  test("instead of an answer ends a request", async () => {
    const { client, server, clock } = page();
    server.answerOnce("hang");
    client.start();
    await clock.advance(PING * 2_500);
    assert.equal(server.last.signal.aborted, true);
    await clock.advance(500);
    assert.equal(server.requests.length, 2);
  });
});

describe("waking up", () => {
  test("does not wait any longer", async () => {
    const { client, server, clock } = page();
    for (let round = 0; round < 5; round++) server.answerOnce(HTML);
    client.start();
    await clock.advance(8_000);
    const before = server.requests.length;
    client.wake();
    await settle();
    assert.equal(server.requests.length, before + 1);
  });

  test("trusts a connection that spoke just now", async () => {
    const { client, server, clock } = await live();
    await clock.advance(PING * 1_000);
    client.wake();
    await settle();
    assert.equal(server.requests.length, 1);
  });

  test("after a sleep trusts no connection", async () => {
    const { client, server, clock } = await live();
    clock.sleep(600_000);
    client.wake();
    await settle();
    assert.deepEqual(server.cursors, [cursor(5), cursor(5)]);
    assert.equal(server.requests[0].signal.aborted, true);
    await server.send(OPENING, ping(5));
    assert.equal(client.status, "live");
  });

  test("does nothing to a client that was stopped", async () => {
    const { client, server } = await live();
    client.stop();
    client.wake();
    await settle();
    assert.equal(server.requests.length, 1);
  });
});

describe("stop and start", () => {
  test("go on where they stopped, as a page that is gone back to", async () => {
    const { client, server, clock } = await live();
    const { heard } = listen(client, "message");
    await server.send(frame(6, "message", { n: 1 }));
    client.stop();
    await settle();
    assert.equal(clock.nextIn, null);
    client.start();
    client.start();
    await settle();
    assert.deepEqual(server.cursors, [cursor(5), cursor(6)]);
    await server.send(OPENING, ping(6), frame(7, "message", { n: 2 }));
    assert.deepEqual(heard, [1, 2]);
  });

  test("leave what arrives after the stop for later", async () => {
    const { client, server } = await live();
    const { heard } = listen(client, "message");
    client.on("message", () => client.stop());
    server.last.body.push(frame(6, "message", { n: 1 }) + frame(7, "message", { n: 2 }));
    await settle();
    assert.deepEqual(heard, [1]);
    client.start();
    await settle();
    assert.equal(server.cursors.at(-1), cursor(6));
  });
});

describe("reset", () => {
  test("reads one new snapshot, tells the page, and the stream goes on from its id", async () => {
    const api = new FakeApi({ runs: [run({ state: "succeeded" })], at: 20 });
    const { client, server, storage, rung } = await live({ api });
    const watch = client.watch("r1", run());
    const lists = [];
    client.addEventListener("snapshot", ({ detail }) => lists.push(detail.runs.length));
    const { heard } = listen(client, "reset");
    await server.send(reset(20));
    await settle();
    assert.deepEqual(api.asked, ["list"]);
    assert.deepEqual(lists, [1]);
    assert.deepEqual(heard, [{ reason: "expired" }]);
    assert.equal(watch.state, "succeeded");
    assert.deepEqual(rung, ["r1 succeeded"]);
    assert.equal(new Place(storage, "ann").cursor, cursor(20));
    assert.equal(server.requests.length, 1);
  });

  test("at the id of an event that was handled is not taken for it", async () => {
    const api = new FakeApi();
    const { client, server } = await live({ api });
    const { heard } = listen(client, "reset");
    await server.send(frame(6, "message"), reset(6, "rewritten"));
    assert.deepEqual(heard, [{ reason: "rewritten" }]);
  });

  test("twice while one is being read is read once more, not twice", async () => {
    const api = new FakeApi();
    const { server } = await live({ api });
    await server.send(reset(20), reset(21), reset(22));
    await settle();
    assert.deepEqual(api.asked, ["list"]);
    api.list = ((list) => async () => {
      if (api.asked.length === 1) await server.send(reset(24), reset(25));
      return list.call(api);
    })(api.list);
    await server.send(reset(23));
    await settle();
    assert.deepEqual(api.asked, ["list", "list", "list"]);
  });

  test("reads by id what the list does not reach", async () => {
    const api = new FakeApi({ others: [run({ state: "failed" })], at: 20 });
    const { client, server, rung } = await live({ api });
    const watch = client.watch("r1", run());
    await server.send(reset(20));
    await settle();
    assert.deepEqual(api.asked, ["list", "r1"]);
    assert.equal(watch.state, "failed");
    assert.deepEqual(rung, ["r1 failed"]);
  });

  test("is not given up when the server cannot answer", async () => {
    const api = new FakeApi({ runs: [run({ state: "succeeded" })], at: 20, fail: [new TypeError("down"), new Error("502", { cause: 502 })] });
    const { client, server, clock, rung } = await live({ api });
    client.watch("r1", run());
    await server.send(reset(20));
    await clock.advance(499);
    assert.deepEqual(api.asked, ["list"]);
    await clock.advance(2_000);
    assert.deepEqual(api.asked, ["list", "list", "list"]);
    assert.deepEqual(rung, ["r1 succeeded"]);
  });

  test("is left when we may not ask", async () => {
    const api = new FakeApi({ fail: [new Error("401", { cause: 401 })] });
    const { server, clock } = await live({ api });
    await server.send(reset(20));
    await clock.advance(10_000);
    assert.deepEqual(api.asked, ["list"]);
  });

  test("without an API only tells the page", async () => {
    const { client, server } = await live();
    const { heard } = listen(client, "reset");
    await server.send(reset(20));
    assert.deepEqual(heard, [{ reason: "expired" }]);
  });

  test("after which the event comes too rings once", async () => {
    const ended = run({ state: "succeeded", finished_at: "2026-01-01T00:01:00.000Z" });
    const api = new FakeApi({ runs: [ended], at: 21 });
    const { client, server, rung } = await live({ api });
    client.watch("r1", run());
    await server.send(reset(20));
    await settle();
    await server.send(frame(21, "run", ended));
    assert.deepEqual(rung, ["r1 succeeded"]);
  });
});

describe("watch", () => {
  test("knows nothing, then what the events say, by either id", async () => {
    const { client, server } = await live();
    const [ours, theirs, other] = [client.watch("r1"), client.watch("t1"), client.watch("r2")];
    assert.equal(ours.state, null);
    await server.send(frame(6, "run", run()));
    assert.deepEqual([ours.state, theirs.state, other.state], ["running", "running", null]);
    assert.equal(theirs.run.label, "Resizing photo");
  });

  test("reads what it was not given; many at once cost one list", async () => {
    const api = new FakeApi({ runs: [run(), run({ id: "r2", task_id: "t2" })] });
    const { client } = page({ api });
    const watches = ["r1", "t2", "r1"].map((id) => client.watch(id));
    await settle();
    assert.deepEqual(api.asked, ["list"]);
    assert.deepEqual(watches.map(({ state }) => state), ["running", "running", "running"]);
  });

  test("reads nothing where the page knows", async () => {
    const api = new FakeApi();
    const { client } = page({ api });
    client.watch("r1", run());
    await settle();
    assert.deepEqual(api.asked, []);
  });

  test("of another's run stays unknown", async () => {
    const { client } = page({ api: new FakeApi() });
    const watch = client.watch("r9");
    await settle();
    assert.equal(watch.state, null);
  });

  test("reads anew what was rendered before the stream went on, as a fragment or a page from a cache", async () => {
    const api = new FakeApi({ runs: [run({ state: "succeeded" })], at: 9 });
    const { client, server, rung } = await live({ api });
    await server.send(frame(9, "run", run({ state: "succeeded" })));
    const watch = client.watch("r1", run(), cursor(7));
    await settle();
    assert.deepEqual(api.asked, ["list"]);
    assert.equal(watch.state, "succeeded");
    assert.deepEqual(rung, ["r1 succeeded"]);
  });

  test("does not ring what a page from a cache did not know", async () => {
    const first = await live();
    await first.server.send(frame(9, "run", run({ state: "succeeded" })));
    first.client.stop();
    const api = new FakeApi({ runs: [run({ state: "succeeded" })], at: 9 });
    const second = page({ ...first, api });
    const watch = second.client.watch("r1", run());
    await settle();
    assert.equal(watch.state, "succeeded");
    assert.deepEqual(second.rung, []);
  });

  test("finishes at the first ending", async () => {
    const { client, server } = await live();
    const watch = client.watch("r1");
    let finished = null;
    watch.finished.then((ended) => (finished = ended.state));
    await server.send(frame(6, "run", run()));
    assert.equal(finished, null);
    await server.send(frame(7, "run", run({ state: "lost" })));
    assert.equal(finished, "lost");
    await server.send(frame(8, "run", run({ state: "running" })), frame(9, "run", run({ state: "succeeded" })));
    assert.equal(watch.state, "succeeded");
  });

  test("of an ended run is finished", async () => {
    const { client } = page();
    assert.equal((await client.watch("r1", run({ state: "failed" })).finished).state, "failed");
  });

  test("does not open again what is over", async () => {
    const { client, server } = await live();
    const watch = client.watch("r1", run({ state: "succeeded" }));
    await server.send(frame(6, "run", run({ state: "running" })));
    assert.equal(watch.state, "succeeded");
  });

  test("follows a task id to the run that uses it next", async () => {
    const { client, server } = await live();
    const watch = client.watch("t1", run({ state: "succeeded" }));
    await server.send(frame(6, "run", run({ id: "r2", state: "queued" })));
    assert.equal(watch.state, "queued");
  });

  test("that was closed hears no more", async () => {
    const { client, server } = await live();
    const watch = client.watch("r1", run());
    watch.close();
    await server.send(frame(6, "run", run({ state: "succeeded" })));
    assert.equal(watch.state, "running");
  });
});

describe("endings", () => {
  test("ring once each: lost, alive after all, done", async () => {
    const { server, rung } = await live();
    await server.send(frame(6, "run", run({ state: "lost" })), frame(7, "run", run()), frame(8, "run", run({ state: "succeeded" })));
    assert.deepEqual(rung, ["r1 lost", "r1 succeeded"]);
  });

  test("of every kind ring, and nothing else does", async () => {
    const { server, rung } = await live();
    const states = ["queued", "running", "retrying", "succeeded", "failed", "cancelled", "expired", "skipped", "lost"];
    for (const [index, state] of states.entries()) await server.send(frame(6 + index, "run", run({ id: state, state })));
    assert.deepEqual(rung, states.slice(3).map((state) => `${state} ${state}`));
  });
});

describe("a channel", () => {
  test("has a stream of its own while anyone listens, from where the page is true", async () => {
    const { client, server } = await live();
    const channel = client.channel("public:news");
    assert.equal(client.channel("public:news"), channel);
    assert.equal(server.requests.length, 1);
    const first = listen(channel, "story");
    const second = listen(channel, "story");
    await settle();
    assert.equal(server.last.url, `/events/?channel=public%3Anews&after=${cursor(5)}`);
    await server.send(OPENING, ping(5), frame(6, "story", { n: 1 }), frame(6, "story", { n: 1 }));
    first.off();
    await server.send(frame(7, "story", { n: 2 }));
    assert.deepEqual([first.heard, second.heard], [[1], [1, 2]]);
    second.off();
    assert.equal(server.last.signal.aborted, true);
    listen(channel, "story");
    await settle();
    assert.equal(server.cursors.at(-1), cursor(7));
  });

  test("that is opened before the client starts waits for it", async () => {
    const { client, server } = page();
    listen(client.channel("public:news"), "story");
    await settle();
    assert.equal(server.requests.length, 0);
    client.start();
    await settle();
    assert.equal(server.requests.length, 2);
  });

  test("may begin now, and its cursor is none of the page's", async () => {
    const { client, server, storage } = await live();
    listen(client.channel("public:news", { after: "" }), "story");
    await settle();
    assert.equal(server.last.url, "/events/?channel=public%3Anews");
    await server.send(OPENING, ping(30));
    assert.equal(new Place(storage, "ann").cursor, cursor(5));
  });

  test("that is refused does not sign the page out", async () => {
    const { client, server } = await live();
    server.answerOnce({ status: 401, type: "text/plain" });
    listen(client.channel("room:1"), "story");
    await settle();
    assert.equal(client.status, "live");
  });

  test("stops and wakes with the client", async () => {
    const { client, server } = await live();
    listen(client.channel("public:news"), "story");
    await settle();
    client.stop();
    assert.ok(server.requests.every(({ signal }) => signal.aborted));
    client.start();
    await settle();
    assert.equal(server.requests.length, 4);
  });
});
