import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Inbox } from "../../src/taskbell/js/inbox.js";
import { cursor, frame, reset, settle } from "./fakes.js";
import { FakeApi, live } from "./page.js";

const notification = (id, fields = {}) => ({ id, title: id, body: "", url: "", level: "info", kind: "", run: null, at: "2026-01-01T00:00:00.000Z", ...fields });
const kept = (id, fields = {}) => notification(id, { seen: false, read: false, ...fields });
const many = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => kept(`n${to - index}`));
const ids = (inbox) => inbox.list.map(({ id }) => id).join(" ");
const marked = (inbox, what) => inbox.list.filter((each) => each[what]).map(({ id }) => id).join(" ");
const seen = (seq, fields) => frame(seq, "seen", { ids: [], read: false, unread: 0, ...fields });

/** An inbox of a live page, true at `at`. */
async function inbox({ known, ...server } = {}) {
  const api = new FakeApi(server);
  const made = await live({ api });
  const opened = new Inbox(made.client, known ?? { unread: server.unread ?? 0, cursor: cursor(5) });
  await settle();
  return { ...made, api, inbox: opened };
}

describe("an inbox", () => {
  test("knows what the server rendered, and reads nothing until it is opened", async () => {
    const { inbox: made, api } = await inbox({ known: { unread: 3, cursor: cursor(5) } });
    assert.deepEqual([made.unread, made.isLoaded, api.asked], [3, false, []]);
  });

  test("of a page without a server's word reads at once", async () => {
    const api = new FakeApi({ notifications: [kept("a")], unread: 1 });
    const { client } = await live({ api });
    const made = new Inbox(client);
    await settle();
    assert.deepEqual([ids(made), made.unread], ["a", 1]);
  });

  test("of a page from a cache reads at once", async () => {
    const { inbox: made, api } = await inbox({ known: { unread: 3, cursor: cursor(2) }, unread: 1 });
    assert.deepEqual([made.unread, api.asked], [1, ["notifications"]]);
  });

  test("counts what comes, and is told of it", async () => {
    const { inbox: made, server } = await inbox({ unread: 3 });
    let changes = 0;
    made.addEventListener("change", () => (changes += 1));
    await server.send(frame(6, "notification", notification("a")), frame(7, "notification", notification("b")));
    assert.deepEqual([ids(made), made.unread, changes], ["b a", 5, 2]);
  });

  test("does not count again what the stream tells of before the page", async () => {
    const { inbox: made, server } = await inbox({ unread: 3 });
    await server.send(frame(4, "notification", notification("a")), frame(5, "notification", notification("b")));
    assert.deepEqual([ids(made), made.unread], ["", 3]);
  });

  test("does not count again what waited for its number when the page was rendered", async () => {
    const { inbox: made, server } = await inbox({ known: { unread: 3, cursor: cursor(5), waiting: ["a"] } });
    await server.send(frame(6, "notification", notification("a")), frame(7, "notification", notification("b")));
    assert.equal(made.unread, 4);
  });

  test("does not count again what waited behind the end of the list", async () => {
    const at = (number) => `2026-01-01T00:00:${String(number).padStart(2, "0")}.000Z`;
    const notifications = many(1, 30).map((each) => ({ ...each, at: at(Number(each.id.slice(1))) }));
    const { inbox: made, server } = await inbox({ notifications, unread: 30 });
    await made.load();
    await server.send(frame(6, "notification", notification("n10", { at: at(10) })), frame(7, "notification", notification("n31", { at: at(31) })));
    assert.deepEqual([made.unread, made.list.length, made.list[0].id], [31, 21, "n31"]);
  });

  test("takes what is seen and read elsewhere", async () => {
    const { inbox: made, server } = await inbox({ notifications: [kept("b"), kept("a")], unread: 2 });
    await made.load();
    await server.send(seen(6, { ids: ["a", "gone"], unread: 2 }));
    assert.deepEqual([marked(made, "seen"), marked(made, "read"), made.unread], ["a", "", 2]);
    await server.send(seen(7, { ids: ["a"], read: true, unread: 1 }));
    assert.deepEqual([marked(made, "read"), made.unread], ["a", 1]);
    await server.send(seen(8, { all: true, read: true, unread: 0 }));
    assert.deepEqual([marked(made, "read"), marked(made, "seen"), made.unread], ["b a", "b a", 0]);
  });

  test("tells what came while the list was read, once", async () => {
    const { inbox: made, server, api } = await inbox({ notifications: [kept("b"), kept("a")], unread: 2, at: 6 });
    api.notifications = ((read) => async (before) => {
      await server.send(frame(6, "notification", notification("b")), frame(7, "notification", notification("c")), seen(8, { ids: ["a"], read: true, unread: 2 }));
      return read.call(api, before);
    })(api.notifications);
    await Promise.all([made.load(), made.load()]);
    assert.deepEqual([ids(made), marked(made, "read"), made.unread], ["c b a", "a", 2]);
    assert.deepEqual(api.asked, ["notifications"]);
  });

  test("is read anew after a reset", async () => {
    const { inbox: made, server, api } = await inbox({ unread: 3 });
    Object.assign(api, { kept: [kept("z")], unread: 1, at: 20 });
    await server.send(reset(20));
    await settle();
    assert.deepEqual([ids(made), made.unread], ["z", 1]);
  });

  test("that was closed hears no more", async () => {
    const { inbox: made, server } = await inbox();
    made.close();
    await server.send(frame(6, "notification", notification("a")));
    assert.equal(made.unread, 0);
  });
});

describe("older notifications", () => {
  test("come by the page, until there are none", async () => {
    const { inbox: made, api } = await inbox({ notifications: many(1, 45) });
    await made.load();
    assert.deepEqual([made.list.length, made.hasOlder], [20, true]);
    await made.older();
    assert.deepEqual([made.list.length, made.hasOlder], [40, true]);
    await made.older();
    assert.deepEqual([made.list.length, made.hasOlder], [45, false]);
    assert.deepEqual(api.asked, ["notifications", "notifications n26", "notifications n6"]);
    assert.deepEqual(made.list.map(({ id }) => id), many(1, 45).map(({ id }) => id));
  });

  test("are none behind a short list", async () => {
    const { inbox: made } = await inbox({ notifications: many(1, 3) });
    await made.load();
    assert.equal(made.hasOlder, false);
  });

  test("leave no gap when the list was read anew meanwhile", async () => {
    const { inbox: made, api, server } = await inbox({ notifications: many(1, 60) });
    await made.load();
    await made.older();
    api.notifications = ((read) => async (before) => {
      const page = await read.call(api, before);
      if (before) await server.send(reset(30));
      return page;
    })(api.notifications);
    api.at = 30;
    await made.older();
    assert.equal(ids(made), many(41, 60).map(({ id }) => id).join(" "));
  });

  test("that cannot be read reject, and the list stays", async () => {
    const { inbox: made, api } = await inbox({ notifications: many(1, 45) });
    await made.load();
    api.fail.push(new TypeError("down"));
    await assert.rejects(made.older());
    assert.deepEqual([made.list.length, made.hasOlder], [20, true]);
  });
});

describe("marking", () => {
  test("what was seen is said once", async () => {
    const { inbox: made, api } = await inbox({ notifications: [kept("b"), kept("a", { seen: true })] });
    await made.load();
    made.see();
    made.see();
    assert.deepEqual(api.asked, ["notifications", "seen b"]);
    assert.equal(marked(made, "read"), "");
  });

  test("what was read shows at once", async () => {
    const { inbox: made, api } = await inbox({ notifications: [kept("b"), kept("a")], unread: 7 });
    await made.load();
    const read = made.read(["b"]);
    assert.deepEqual([marked(made, "read"), made.unread], ["b", 6]);
    api.unread = 6;
    await read;
    api.unread = 6;
    await made.read(["b"]);
    assert.deepEqual([marked(made, "read"), made.unread, api.asked.slice(1)], ["b", 6, ["read b", "read b"]]);
  });

  test("all", async () => {
    const { inbox: made, api } = await inbox({ notifications: [kept("b"), kept("a", { read: true })], unread: 30 });
    await made.load();
    api.unread = 0;
    await made.read("all");
    assert.deepEqual([marked(made, "read"), made.unread, api.asked.at(-1)], ["b a", 0, "read all"]);
  });

  for (const which of [["b"], "all"]) {
    test(`that fails is taken back, and what came meanwhile stays: ${which}`, async () => {
      const { inbox: made, api, server } = await inbox({ notifications: [kept("b"), kept("a", { read: true })], unread: 30 });
      await made.load();
      api.mark = async () => {
        await server.send(frame(6, "notification", notification("c")));
        throw new Error("away");
      };
      await assert.rejects(made.read(which), /away/);
      assert.deepEqual([ids(made), marked(made, "read"), made.unread], ["c b a", "a", 31]);
    });
  }

  test("what was seen is no harm when nobody hears it", async () => {
    const { inbox: made, api } = await inbox({ notifications: [kept("a")] });
    await made.load();
    api.fail.push(new TypeError("down"));
    made.see();
    await settle();
    assert.equal(made.unread, 0);
  });
});

describe("a client", () => {
  test("marks by id", async () => {
    const api = new FakeApi({ unread: 2 });
    const { client } = await live({ api });
    assert.deepEqual([await client.seen(["a"]), await client.read("all")], [{ unread: 2 }, { unread: 2 }]);
    assert.deepEqual(api.asked, ["seen a", "read all"]);
  });

  test("without an API says what to do", async () => {
    const { client } = await live();
    for (const asked of [client.seen(["a"]), client.read("all"), client.notifications()]) {
      await assert.rejects(asked, /taskbell\.urls\.api/);
    }
  });
});
