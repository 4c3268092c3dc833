import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Place } from "../../src/taskbell/js/place.js";
import { cursor, frame, reset, run, settle } from "./fakes.js";
import { FakeApi, listen, live, page } from "./page.js";

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

describe("cancelling", () => {
  test("resolves with the run as it is then, and every watch of it knows", async () => {
    const api = new FakeApi({ runs: [run()] });
    const { client } = page({ api });
    const [ours, theirs, other] = [client.watch("r1", run({ done: 7 })), client.watch("t1", run()), client.watch("r2", run({ id: "r2", task_id: "t2" }))];
    const changes = [];
    ours.addEventListener("change", ({ detail }) => changes.push(detail.cancelling));
    assert.equal((await ours.cancel()).cancelling, true);
    assert.deepEqual(api.asked, ["cancel r1"]);
    assert.deepEqual([ours, theirs, other].map(({ run: { cancelling } }) => cancelling), [true, true, false]);
    // The answer may be older than the newest event.
    assert.equal(ours.run.done, 7);
    assert.deepEqual(changes, [true]);
  });

  test("of a run known by its task's id means that run, also when the id is used again", async () => {
    const api = new FakeApi({ runs: [run()] });
    const { client, server } = await live({ api });
    const watch = client.watch("t1");
    await server.send(frame(6, "run", run()));
    await watch.cancel();
    assert.equal(api.asked.at(-1), "cancel r1");
  });

  test("of a run that had ended resolves with its ending, which the watch takes", async () => {
    const api = new FakeApi({ runs: [run({ state: "succeeded" })] });
    const { client, rung } = page({ api });
    const watch = client.watch("r1", run());
    const answered = await client.cancel("r1");
    assert.deepEqual([answered.state, answered.cancelling], ["succeeded", false]);
    assert.equal((await watch.finished).state, "succeeded");
    assert.deepEqual(rung, []);
  });

  test("that is answered after the ending changes nothing", async () => {
    const api = new FakeApi({ runs: [run()] });
    const { client, server } = await live({ api });
    const watch = client.watch("r1", run());
    api.cancel = ((cancel) => async (id) => {
      await server.send(frame(6, "run", run({ state: "cancelled" })));
      return cancel.call(api, id);
    })(api.cancel);
    await watch.cancel();
    assert.deepEqual([watch.state, watch.run.cancelling], ["cancelled", false]);
  });

  test("is told by its ending, whichever that is", async () => {
    const api = new FakeApi({ runs: [run()] });
    const { client, server, rung } = await live({ api });
    const watch = client.watch("r1", run());
    await watch.cancel();
    await server.send(frame(6, "run", run({ cancelling: true })), frame(7, "run", run({ state: "succeeded" })));
    assert.equal((await watch.finished).state, "succeeded");
    assert.deepEqual(rung, ["r1 succeeded"]);
  });

  test("that is refused rejects, once, and the run stays as it was", async () => {
    const api = new FakeApi({ runs: [run()], fail: [new Error("Load it again.", { cause: 403 })] });
    const { client, clock } = page({ api });
    const watch = client.watch("r1", run());
    await assert.rejects(watch.cancel(), { message: "Load it again.", cause: 403 });
    await clock.advance(60_000);
    assert.deepEqual([watch.run.cancelling, api.asked], [false, ["cancel r1"]]);
  });

  test("where the project serves no API says what to do", async () => {
    const { client } = page();
    assert.equal(client.hasApi, false);
    await assert.rejects(client.watch("r1", run()).cancel(), /taskbell\.urls\.api/);
  });
});
