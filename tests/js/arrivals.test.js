import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { SHOWN, handle } from "../../src/taskbell/js/arrivals.js";

/** A service worker's scope: what it did is kept. */
class FakeWorker {
  location = new URL("https://site.example/taskbell/push/worker.js");
  shown = [];
  opened = [];
  requests = [];
  pages = [];
  #listeners = new Map();

  registration = {
    showNotification: async (title, options) => void this.shown.push({ title, ...options }),
    pushManager: { subscribe: async (options) => ({ endpoint: "new", options }) },
  };
  clients = {
    matchAll: async (options) => {
      assert.deepEqual(options, { type: "window", includeUncontrolled: true });
      return this.pages;
    },
    openWindow: async (url) => void this.opened.push(url),
  };

  constructor() {
    handle(this);
  }

  addEventListener = (type, listener) => this.#listeners.set(type, listener);
  skipWaiting = async () => {};
  fetch = async (url, options) => void this.requests.push({ url: String(url), ...options });

  /** Dispatch, and wait for what the event waits for. */
  async tell(type, event = {}) {
    let work;
    this.#listeners.get(type)({ ...event, waitUntil: (promise) => (work = promise) });
    await work;
  }

  push = (text) => this.tell("push", { data: { json: () => JSON.parse(text) } });

  click(navigate) {
    let closed = false;
    const notification = { data: { navigate }, close: () => (closed = true) };
    return this.tell("notificationclick", { notification }).then(() => assert(closed));
  }
}

const message = (values = {}) =>
  JSON.stringify({ web_push: 8030, notification: { title: "Ready", body: "b", data: { id: "1" }, ...values } });

/** A page that answers what it is asked by `answer`, or never. */
const page = (answer, visibilityState = "visible") => ({
  visibilityState,
  postMessage: (asked, [port]) => answer !== undefined && port.postMessage(answer(asked[SHOWN])),
});

describe("a message", () => {
  test("is shown, and the newer of a kind rings again", async () => {
    const worker = new FakeWorker();
    await worker.push(message({ tag: "t", navigate: "/x", dir: "auto" }));
    assert.deepEqual(worker.shown, [
      { title: "Ready", body: "b", dir: "auto", lang: undefined, tag: "t", renotify: true, data: { id: "1", navigate: "/x" } },
    ]);
  });

  for (const text of ["", "{", "null", "5", "{}", '{"notification":null}', '{"notification":{"title":""}}']) {
    test(`that is none is not: ${text}`, async () => {
      const worker = new FakeWorker();
      await worker.push(text);
      await worker.tell("push", { data: null });
      assert.deepEqual(worker.shown, []);
    });
  }

  test("is not shown where a page in sight has shown it", async () => {
    const worker = new FakeWorker();
    worker.pages = [page(() => false), page((id) => id === "1")];
    await worker.push(message());
    assert.deepEqual(worker.shown, []);
    await worker.push(message({ data: { id: "2" } }));
    assert.equal(worker.shown.length, 1);
  });

  test("is shown where pages are out of sight, say no, nonsense, or nothing", async () => {
    const worker = new FakeWorker();
    worker.pages = [page(() => true, "hidden"), page(() => false), page(() => "true"), page(undefined)];
    await worker.push(message());
    assert.equal(worker.shown.length, 1);
  });
});

describe("a click", () => {
  for (const [navigate, opened] of [
    ["/x?y#z", "https://site.example/x?y#z"],
    ["https://other.example/", "https://other.example/"],
    ["javascript:alert(1)", "https://site.example/"],
    ["data:text/html,x", "https://site.example/"],
    ["https://", "https://site.example/"],
    [undefined, "https://site.example/"],
  ]) {
    test(`on ${navigate} opens ${opened}`, async () => {
      const worker = new FakeWorker();
      await worker.click(navigate);
      assert.deepEqual(worker.opened, [opened]);
    });
  }

  test("goes to the tab that has the address, or opens it where that may not be focused", async () => {
    const worker = new FakeWorker();
    const focused = [];
    worker.pages = [
      { url: "https://site.example/a", focus: async () => focused.push("a") },
      { url: "https://site.example/b", focus: async () => Promise.reject(new Error("too late")) },
    ];
    await worker.click("/a");
    await worker.click("");
    assert.deepEqual([focused, worker.opened], [["a", "a"], []]);
    await worker.click("/b");
    await worker.click("/c");
    assert.deepEqual(worker.opened, ["https://site.example/b", "https://site.example/c"]);
  });
});

describe("a subscription that the browser has replaced", () => {
  const oldSubscription = { endpoint: "old", options: { applicationServerKey: "k" } };

  test("is told to the server by its old endpoint", async () => {
    const worker = new FakeWorker();
    await worker.tell("pushsubscriptionchange", { oldSubscription, newSubscription: { endpoint: "given" } });
    await worker.tell("pushsubscriptionchange", { oldSubscription, newSubscription: null });
    assert.deepEqual(
      worker.requests.map(({ url, method, body }) => [url, method, JSON.parse(body)]),
      [
        ["https://site.example/taskbell/push/subscriptions/renew/", "POST", { old: "old", new: { endpoint: "given" } }],
        [
          "https://site.example/taskbell/push/subscriptions/renew/",
          "POST",
          { old: "old", new: { endpoint: "new", options: { applicationServerKey: "k" } } },
        ],
      ],
    );
  });

  test("is left to the next page where the old one is not known", async () => {
    const worker = new FakeWorker();
    await worker.tell("pushsubscriptionchange", { oldSubscription: null });
    assert.deepEqual(worker.requests, []);
  });
});
