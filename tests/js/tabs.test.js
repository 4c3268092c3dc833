import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Browser, quiet } from "./browser.js";
import { FakeStorage, OPENING, bye, cursor, frame, ping, reset } from "./fakes.js";
import { PING } from "./page.js";

const message = (seq) => frame(seq, "message", { n: seq });
const MINUTE = 60_000;

/** A browser with so many tabs, whose stream is live. */
async function browser(count, options = {}) {
  const made = new Browser();
  const tabs = [];
  for (let tab = 0; tab < count; tab += 1) tabs.push(await made.open(options));
  await made.server.send(OPENING, ping(options.at ?? 5));
  await quiet();
  return { browser: made, server: made.server, clock: made.clock, tabs };
}

const heard = (tabs) => tabs.map((tab) => tab.heard);
const each = (tabs, ...numbers) => tabs.map(() => numbers);

/** Answer the newest request as a server does whose log goes up to `newest`. */
async function resume(server, newest) {
  const after = Number(server.cursors.at(-1).split(".")[2]);
  const missed = Array.from({ length: newest - after }, (_, index) => message(after + 1 + index));
  await server.send(OPENING, ping(after), ...missed);
  await quiet();
}

describe("seven tabs", () => {
  test("open one stream, and each hears everything once", async () => {
    const { server, tabs } = await browser(7);
    assert.equal(server.requests.length, 1);
    await server.send(message(6), message(7));
    await quiet();
    assert.deepEqual(heard(tabs), each(tabs, 6, 7));
    assert.deepEqual(tabs.map(({ client }) => client.status), each(tabs, "live").flat());
  });

  test("each remember where they are", async () => {
    const { server, tabs } = await browser(3);
    await server.send(message(6));
    await quiet();
    assert.deepEqual(tabs.map(({ storage }) => storage["taskbell:ann:cursor"]), each(tabs, cursor(6)).flat());
  });

  test("remember the place of a page on which nothing happens", async () => {
    const { tabs } = await browser(2);
    assert.deepEqual(tabs.map(({ storage }) => storage["taskbell:ann:cursor"]), each(tabs, cursor(5)).flat());
  });

  test("are signed out together, and ask once when someone looks", async () => {
    const made = new Browser();
    made.server.answerOnce({ status: 401 });
    const tabs = [await made.open(), await made.open()];
    await quiet();
    assert.deepEqual(tabs.map(({ client }) => client.status), ["signed-out", "signed-out"]);
    tabs[1].client.wake();
    await quiet();
    assert.equal(made.server.requests.length, 2);
  });

  test("are signed out together where somebody else has signed in, and hear nothing of theirs", async () => {
    const { server, clock, tabs } = await browser(3, { account: "ann" });
    server.answerOnce({ account: "bob" });
    server.last.body.end();
    await clock.advance(1_000);
    await server.send(OPENING, ping(7), message(8));
    await quiet();
    assert.deepEqual(tabs.map(({ client }) => client.status), each(tabs, "signed-out").flat());
    assert.deepEqual(heard(tabs), each(tabs));
    assert.equal(server.requests.length, 2);
  });

  test("of two people have a stream each", async () => {
    const made = new Browser();
    await made.open({ person: "ann" });
    await made.open({ person: "bob" });
    assert.equal(made.server.requests.length, 2);
  });
});

describe("the tab that reads", () => {
  test("hands over when it is closed", async () => {
    const { browser: made, server, tabs } = await browser(3);
    await server.send(message(6));
    await quiet();
    tabs[0].client.stop();
    await quiet();
    assert.equal(made.reader, tabs[1]);
    assert.equal(server.cursors.at(-1), cursor(6));
    await resume(server, 7);
    assert.deepEqual(heard(tabs), [[6], [6, 7], [6, 7]]);
  });

  test("that is killed is followed by the next, and nothing is missed or told twice", async () => {
    const { browser: made, server, tabs } = await browser(3);
    await server.send(message(6));
    await quiet();
    await made.kill(tabs[0]);
    await resume(server, 8);
    assert.deepEqual(heard(tabs.slice(1)), each(tabs.slice(1), 6, 7, 8));
    assert.deepEqual(tabs[1].statuses, ["live"]);
  });

  test("that is killed between its own handling and the telling leaves the others what it had", async () => {
    const { browser: made, server, tabs } = await browser(3);
    tabs[1].world.freeze();
    await server.send(message(6));
    await made.kill(tabs[0]);
    await tabs[1].world.thaw();
    await quiet();
    await resume(server, 7);
    assert.deepEqual(heard(tabs.slice(1)), each(tabs.slice(1), 6, 7));
  });

  test("that freezes loses its place to another, and listens when it thaws", async () => {
    const { browser: made, server, clock, tabs } = await browser(3);
    tabs[0].world.freeze();
    await server.send(message(6));
    await clock.advance(4 * PING * 1000);
    assert.notEqual(made.reader, tabs[0]);
    await resume(server, 7);
    assert.deepEqual(heard(tabs), [[], [6, 7], [6, 7]]);
    await tabs[0].world.thaw();
    await quiet();
    assert.notEqual(made.reader, tabs[0]);
    await server.send(message(8));
    await quiet();
    assert.deepEqual(heard(tabs), each(tabs, 6, 7, 8));
  });

  test("is given time after a sleep of the machine", async () => {
    const { browser: made, server, clock, tabs } = await browser(3);
    clock.sleep(10 * MINUTE);
    for (const { client } of tabs) client.wake();
    await quiet();
    await resume(server, 6);
    assert.deepEqual(heard(tabs), each(tabs, 6));
    assert.equal(server.requests.length, 2);
    assert.equal(made.reader, tabs[0]);
  });

  test("is given time after a sleep that nobody has noticed", async () => {
    const { browser: made, clock, tabs } = await browser(3);
    // The others wake first.
    tabs[0].world.freeze();
    clock.sleep(10 * MINUTE);
    await clock.advance(1);
    await tabs[0].world.thaw();
    assert.equal(made.reader, tabs[0]);
  });

  test("that is frozen when someone looks is replaced in a moment", async () => {
    const { browser: made, server, clock, tabs } = await browser(2);
    tabs[0].world.freeze();
    tabs[1].client.wake();
    await clock.advance(1250);
    assert.equal(made.reader, tabs[1]);
    await resume(server, 6);
    assert.deepEqual(tabs[1].heard, [6]);
  });

  test("does not stay with a tab that leaves while it takes over", async () => {
    const { browser: made, clock, tabs } = await browser(2);
    tabs[0].world.freeze();
    tabs[1].client.wake();
    // The lock is asked for, and before it is granted the page goes.
    clock.later(() => tabs[1].client.stop(), clock.nextIn);
    await clock.advance(1250);
    await quiet();
    assert.equal(made.reader, null);
  });

  test("is woken by whoever is looked at", async () => {
    const { server, clock, tabs } = await browser(2);
    server.last.body.end();
    await quiet();
    tabs[1].client.wake();
    await quiet();
    assert.equal(server.requests.length, 2);
    assert.equal(clock.nextIn > 0, true);
  });

  test("waits after a goodbye, and alarms nobody", async () => {
    const { server, clock, tabs } = await browser(2);
    await server.send(bye("drain", 1500));
    await quiet();
    assert.deepEqual(tabs.map(({ client }) => client.status), ["connecting", "connecting"]);
    await clock.advance(1500);
    assert.equal(server.requests.length, 2);
  });

  test("tells that the server is away", async () => {
    const { server, tabs } = await browser(2);
    server.last.body.fail();
    await quiet();
    assert.deepEqual(tabs.map(({ client }) => client.status), ["offline", "offline"]);
  });
});

describe("a tab that comes later", () => {
  test("is told what the reader remembers after its cursor", async () => {
    const { browser: made, server } = await browser(1);
    await server.send(message(6), message(7));
    const late = await made.open({ at: 6 });
    await quiet();
    assert.equal(server.requests.length, 1);
    assert.deepEqual(late.heard, [7]);
    assert.equal(late.client.status, "live");
  });

  test("and stands before what the reader remembers has it read again, twice for nobody", async () => {
    const { browser: made, server, tabs } = await browser(2);
    await server.send(message(6));
    const late = await made.open({ at: 3 });
    await quiet();
    assert.equal(server.cursors.at(-1), cursor(3));
    await resume(server, 7);
    assert.deepEqual(late.heard, [4, 5, 6, 7]);
    assert.deepEqual(heard(tabs), each(tabs, 6, 7));
  });

  test("knows what was handled on its page before", async () => {
    const { browser: made, server } = await browser(1);
    await server.send(message(6));
    const storage = new FakeStorage({ "taskbell:ann:cursor": cursor(6) });
    const late = await made.open({ at: 3, storage });
    await server.send(message(7));
    await quiet();
    assert.deepEqual(late.heard, [7]);
  });

  test("hears from a reader that remembers no more than so much", async () => {
    const { browser: made, server } = await browser(1);
    await server.send(...Array.from({ length: 1_100 }, (_, index) => message(6 + index)));
    const late = await made.open({ at: 50 });
    await quiet();
    assert.equal(server.cursors.at(-1), cursor(50));
    await resume(server, 51);
    assert.deepEqual(late.heard, [51]);
  });
});

describe("a tab that missed something", () => {
  test("is told again, in order", async () => {
    const { browser: made, server, tabs } = await browser(2);
    tabs[1].client.stop();
    await server.send(message(6), message(7));
    tabs[1].client.start();
    await quiet();
    await server.send(message(8));
    await quiet();
    assert.deepEqual(heard(tabs), each(tabs, 6, 7, 8));
    assert.equal(made.server.requests.length, 1);
  });

  test("of another history is reset, and the rest is told nothing twice", async () => {
    const { browser: made, server, tabs } = await browser(2);
    await server.send(message(6));
    const storage = new FakeStorage({ "taskbell:ann:cursor": cursor(90, "old") });
    const late = await made.open({ storage });
    const resets = [];
    late.client.on("reset", ({ reason }) => resets.push(reason));
    await quiet();
    assert.equal(server.cursors.at(-1), cursor(90, "old"));
    await server.send(OPENING, reset(6, "rewritten"), ping(6), message(7));
    await quiet();
    assert.deepEqual(resets, ["rewritten"]);
    assert.deepEqual(late.heard, [7]);
    assert.deepEqual(heard(tabs), each(tabs, 6, 7));
  });
});

describe("a reset", () => {
  test("is told to a tab that stands before it, though the reader remembers older things", async () => {
    const { browser: made, server } = await browser(1);
    await server.send(message(6), reset(9, "too_much"));
    const late = await made.open({ at: 7 });
    await quiet();
    assert.equal(server.cursors.at(-1), cursor(7));
  });

  test("is told to every tab", async () => {
    const { server, tabs } = await browser(3);
    const resets = [];
    for (const { client } of tabs) client.on("reset", ({ reason }) => resets.push(reason));
    await server.send(reset(9, "expired"), message(10));
    await quiet();
    assert.deepEqual(resets, ["expired", "expired", "expired"]);
    assert.deepEqual(heard(tabs), each(tabs, 10));
  });
});
