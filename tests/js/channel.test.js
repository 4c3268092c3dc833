import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Place } from "../../src/taskbell/js/place.js";
import { OPENING, cursor, frame, ping, settle } from "./fakes.js";
import { listen, live, page } from "./page.js";

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
