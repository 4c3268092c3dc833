import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Place } from "../../src/taskbell/js/place.js";
import { OPENING, cursor, frame, ping, run, settle } from "./fakes.js";
import { listen, live, page } from "./page.js";

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

  test("of steps do not ring, even of the first, and that of their tree does", async () => {
    const { client, server, rung } = await live();
    const heard = [];
    client.on("run", ({ id }) => heard.push(id));
    await server.send(
      frame(6, "run", run({ id: "s0", parent: "tree", step: 0, state: "succeeded" })),
      frame(7, "run", run({ id: "s6", parent: "tree", step: 6, state: "failed" })),
      frame(8, "run", run({ id: "tree", step: null, state: "failed" })),
    );
    assert.deepEqual(heard, ["s0", "s6", "tree"]);
    assert.deepEqual(rung, ["tree failed"]);
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
