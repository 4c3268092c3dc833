import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { SHOWN } from "../../src/taskbell/js/arrivals.js";
import { Push } from "../../src/taskbell/js/push.js";
import { FakeStorage } from "./fakes.js";

const KEY = "BAQIDBAUGBwg";
const DAY = 86_400_000;

globalThis.location ??= new URL("https://site.example/page/");

/** A browser that can subscribe, and the server that hears of it. */
class FakeBrowser {
  permission = "default";
  answer = "granted";
  status = 201;
  now = 10 * DAY;
  subscription = null;
  requests = [];
  registered = [];
  updates = 0;
  storage = new FakeStorage();
  #listeners = [];

  registration = {
    active: {},
    update: async () => void (this.updates += 1),
    pushManager: {
      getSubscription: async () => this.subscription,
      subscribe: async ({ userVisibleOnly, applicationServerKey }) => {
        assert.equal(userVisibleOnly, true);
        return this.subscribed(applicationServerKey);
      },
    },
  };
  workers = {
    getRegistration: async (scope) => {
      assert.equal(scope, "/taskbell/push/");
      return this.subscription || this.registered.length ? this.registration : undefined;
    },
    register: async (...asked) => {
      this.registered.push(asked);
      return this.registration;
    },
    addEventListener: (type, listener) => this.#listeners.push(listener),
    startMessages() {},
  };

  subscribed(key) {
    const made = {
      endpoint: "https://push.example/1",
      options: { applicationServerKey: Uint8Array.from(key).buffer },
      toJSON: () => ({ endpoint: "https://push.example/1" }),
      unsubscribe: async () => void (this.subscription = null),
    };
    return (this.subscription = made);
  }

  /** The client of a page of this person. */
  page(account = "ann", key = KEY) {
    const browser = this;
    return new Push({
      address: "/taskbell/push/subscriptions/",
      key,
      account,
      csrf: { header: "X-CSRFToken", token: "t" },
      workers: this.workers,
      permissions: {
        get permission() {
          return browser.permission;
        },
        requestPermission: async () => (browser.permission = browser.answer),
      },
      storage: this.storage,
      fetch: async (url, { method, headers, body }) => {
        this.requests.push([method, url, headers["X-CSRFToken"], JSON.parse(body)]);
        return { status: method === "POST" ? this.status : 204 };
      },
      now: () => this.now,
      trusted: (address) => address,
    });
  }

  ask(id) {
    let answer;
    this.#listeners[0]({ data: { [SHOWN]: id }, ports: [{ postMessage: (said) => (answer = said) }] });
    return answer;
  }
}

const POST = ["POST", "/taskbell/push/subscriptions/", "t", { endpoint: "https://push.example/1" }];
const DELETE = ["DELETE", ...POST.slice(1)];

describe("a browser", () => {
  test("subscribes when it is asked to, and the next page knows", async () => {
    const browser = new FakeBrowser();
    const push = browser.page();
    const heard = [];
    push.addEventListener("state", () => heard.push(push.state));
    await push.start();
    assert.deepEqual([push.state, browser.requests, browser.registered], ["off", [], []]);
    assert.equal(await push.subscribe(), "on");
    assert.deepEqual(browser.registered, [["/taskbell/push/worker.js", { updateViaCache: "none" }]]);
    assert.deepEqual([browser.requests, heard], [[POST], ["on"]]);
    const next = browser.page();
    await next.start();
    assert.deepEqual([next.state, browser.requests.length], ["on", 1]);
    assert.equal(await next.unsubscribe(), "off");
    assert.deepEqual([browser.requests[1], browser.subscription], [DELETE, null]);
  });

  for (const [answer, state] of [["denied", "denied"], ["default", "off"]]) {
    test(`whose person answers ${answer} is ${state}`, async () => {
      const browser = new FakeBrowser();
      browser.answer = answer;
      assert.equal(await browser.page().subscribe(), state);
      assert.deepEqual([browser.registered, browser.requests], [[], []]);
    });
  }

  test("that the server refuses is not subscribed", async () => {
    const browser = new FakeBrowser();
    browser.status = 403;
    const push = browser.page();
    await assert.rejects(push.subscribe(), ({ cause }) => cause === 403);
    assert.deepEqual([push.state, browser.subscription], ["off", null]);
  });

  test("tells the server again after a day, and asks for the worker; a server that is away changes nothing", async () => {
    const browser = new FakeBrowser();
    await browser.page().subscribe();
    browser.now += DAY;
    browser.status = 500;
    for (const requests of [2, 3]) {
      const push = browser.page();
      await push.start();
      assert.deepEqual([push.state, browser.requests.length, browser.updates], ["on", requests, requests - 1]);
    }
    browser.status = 201;
    await browser.page().start();
    await browser.page().start();
    assert.equal(browser.requests.length, 4);
  });

  test("subscribes anew where the site has another key", async () => {
    const browser = new FakeBrowser();
    await browser.page().subscribe();
    const push = browser.page("ann", "BBBBBBBBBBBB");
    await push.start();
    assert.equal(push.state, "on");
    assert.deepEqual(browser.requests, [POST, POST]);
    assert.equal(Buffer.from(browser.subscription.options.applicationServerKey).toString("base64url"), "BBBBBBBBBBBB");
  });
});

describe("another person", () => {
  test("at the same browser ends what was not theirs, and a page of the first one does not end theirs", async () => {
    const browser = new FakeBrowser();
    const ann = browser.page("ann");
    await ann.subscribe();
    const bob = browser.page("bob");
    await bob.start();
    assert.deepEqual([bob.state, browser.subscription], ["off", null]);
    await bob.subscribe();
    await ann.signedOut();
    assert.notEqual(browser.subscription, null);
    await bob.signedOut();
    assert.deepEqual([bob.state, browser.subscription], ["off", null]);
  });

  test("may be anybody where nothing can be remembered", async () => {
    const browser = new FakeBrowser();
    browser.storage = null;
    const push = browser.page();
    await push.subscribe();
    await browser.page().start();
    assert.equal(browser.subscription, null);
  });
});

test("a worker that asks is told what this page has shown", () => {
  const browser = new FakeBrowser();
  const push = browser.page();
  let inSight = true;
  push.answer(() => inSight);
  push.handled("1");
  assert.deepEqual([browser.ask("1"), browser.ask("2"), browser.ask(undefined)], [true, false, undefined]);
  inSight = false;
  assert.equal(browser.ask("1"), false);
});
