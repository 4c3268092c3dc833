import assert from "node:assert/strict";
import { test } from "node:test";

import { Browser, LogServer } from "./browser.js";
import { settle } from "./fakes.js";
import { PING } from "./page.js";

const WORLDS = 150;
const STEPS = 40;
const MOST_TABS = 7;

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** Tabs that open, close, crash, freeze and go back, on a server that publishes and restarts. */
class Play {
  browser = new Browser(new LogServer());
  tabs = [];
  said = [];

  constructor(seed) {
    this.random = random(seed);
  }

  get server() {
    return this.browser.server;
  }

  pick(tabs) {
    return tabs[Math.floor(this.random() * tabs.length)];
  }

  steps = {
    publish: () => this.server.publish(),
    publishMore: () => [1, 2, 3].forEach(() => this.server.publish()),
    ping: () => this.server.ping(),
    open: async () => {
      const alive = this.tabs.filter((tab) => !tab.killed);
      if (alive.length === MOST_TABS) return;
      // Rendered lately, or long ago and brought back.
      const at = Math.max(5, this.server.newest - Math.floor(this.random() * 4));
      this.tabs.push(Object.assign(await this.browser.open({ at }), { at, frozen: false, stopped: false, killed: false }));
    },
    kill: async () => {
      const tab = this.pick(this.tabs.filter(({ killed }) => !killed));
      if (tab) [tab.killed, tab.frozen] = [true, true], await this.browser.kill(tab);
    },
    freeze: () => {
      const tab = this.pick(this.tabs.filter(({ frozen }) => !frozen));
      if (tab) (tab.frozen = true), tab.world.freeze();
    },
    thaw: async () => {
      const tab = this.pick(this.tabs.filter(({ frozen, killed }) => frozen && !killed));
      if (tab) (tab.frozen = false), await tab.world.thaw();
    },
    leave: () => {
      const tab = this.pick(this.tabs.filter(({ frozen, stopped }) => !frozen && !stopped));
      if (tab) (tab.stopped = true), tab.client.stop();
    },
    goBack: () => {
      const tab = this.pick(this.tabs.filter(({ frozen, stopped }) => !frozen && stopped));
      if (tab) (tab.stopped = false), tab.client.start();
    },
    look: () => this.pick(this.tabs.filter(({ frozen }) => !frozen))?.client.wake(),
    cut: () => this.server.cut(),
    wait: () => this.browser.clock.advance(this.random() * 4 * PING * 1000),
    sleep: () => this.browser.clock.sleep(this.random() * 600_000),
  };

  async run() {
    for (let step = 0; step < STEPS; step += 1) {
      const name = this.pick(Object.keys(this.steps));
      this.said.push(name);
      await this.steps[name]();
      if (this.random() < 0.7) await settle();
    }
    await this.end();
  }

  /** Everybody comes back, and the server pings as it does. */
  async end() {
    for (const tab of this.tabs.filter(({ killed }) => !killed)) {
      if (tab.frozen) await tab.world.thaw();
      if (tab.stopped) tab.client.start();
      tab.client.wake();
    }
    this.server.publish();
    for (let minute = 0; minute < 20; minute += 1) {
      await this.browser.clock.advance(PING * 1000);
      this.server.ping();
      await settle();
    }
  }
}

test("in random worlds every tab hears everything once, in order, and one of them reads", async () => {
  for (let seed = 1; seed <= WORLDS; seed += 1) {
    const play = new Play(seed);
    await play.run();
    const alive = play.tabs.filter(({ killed }) => !killed);
    for (const { at, heard } of alive) {
      const all = Array.from({ length: play.server.newest - at }, (_, index) => at + 1 + index);
      assert.deepEqual(heard, all, `seed ${seed}: ${play.said.join(" ")}`);
    }
    assert.equal(play.server.streams, Math.min(1, alive.length), `seed ${seed}`);
  }
});
