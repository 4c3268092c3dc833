import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { OPENING, bye, cursor, frame, ping, run, settle } from "./fakes.js";
import { PING, listen, live, page } from "./page.js";

const HTML = { status: 200, type: "text/html; charset=utf-8" };

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
    "a type that ours is a part of": { status: 200, type: "text/event-stream-like" },
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

describe("somebody else signs in in another tab", () => {
  test("and their stream is not read: the page is signed out, and nothing of theirs is heard", async () => {
    const { client, server, clock, storage, statuses } = await live({ account: "ann" });
    const { heard } = listen(client, "message");
    server.answerOnce({ account: "bob" });
    await server.send(bye("signed_out", 2000));
    await clock.advance(2000);
    await server.send(OPENING, ping(8), frame(9, "message", { n: 9 }));
    assert.deepEqual(statuses, ["live", "connecting", "signed-out"]);
    assert.deepEqual(heard, []);
    assert.ok(server.last.signal.aborted);
    assert.equal(clock.nextIn, null);
    assert.deepEqual(Object.keys(storage), []);
  });

  test("and the page goes on when its own person is back and someone looks", async () => {
    const { client, server, clock, statuses } = await live({ account: "ann" });
    const { heard } = listen(client, "message");
    server.answerOnce({ account: "bob" });
    server.last.body.end();
    await clock.advance(500);
    server.answerOnce({ account: "ann" });
    client.wake();
    await settle();
    await server.send(OPENING, ping(5), frame(6, "message", { n: 6 }));
    assert.deepEqual(statuses, ["live", "offline", "signed-out", "live"]);
    assert.deepEqual(heard, [6]);
  });

  test("and a server that does not say whose a stream is is believed", async () => {
    const { client } = await live({ account: "ann" });
    assert.equal(client.status, "live");
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
