// A client as a page makes it, on a server, a clock and storage that tests hold in their hands.

import { Client } from "../../src/taskbell/js/client.js";
import { PAGE } from "../../src/taskbell/js/inbox.js";
import { hasEnded } from "../../src/taskbell/js/runs.js";
import { Place } from "../../src/taskbell/js/place.js";
import { FakeClock, FakeServer, FakeStorage, OPENING, cursor, ping, settle } from "./fakes.js";

export const PING = 20;

/** A page: a client on a server, a clock and storage that the next page of a test may share. */
export function page({ server = new FakeServer(), clock = new FakeClock(), storage = new FakeStorage(), person = "ann", at = 5, ...rest } = {}) {
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
export async function live(options) {
  const made = page(options);
  made.client.start();
  await settle();
  await made.server.send(OPENING, ping(options?.at ?? 5));
  return made;
}

/** Collects what a handler is called with. */
export function listen(client, type) {
  const heard = [];
  const off = client.on(type, (data) => heard.push(data.n ?? data));
  return { heard, off };
}

export class FakeApi {
  asked = [];
  /** @param {object} options `runs` is the list, `others` are found by id only */
  constructor({ runs = [], others = [], notifications = [], unread = 0, at = 5, fail = [] } = {}) {
    Object.assign(this, { runs, others, kept: notifications, unread, at, fail });
  }
  async list() {
    return this.#answer("list", () => ({ runs: this.runs, cursor: cursor(this.at) }));
  }
  async run(id) {
    return this.#answer(id, () => this.#find(id));
  }
  #find(id) {
    const found = [...this.runs, ...this.others].find((each) => each.id === id || each.task_id === id);
    return { run: found ?? null, cursor: cursor(this.at) };
  }
  async cancel(id) {
    const { run } = await this.#answer(`cancel ${id}`, async () => this.#find(id));
    if (run === null) throw new Error("No such run.", { cause: 404 });
    return { ...run, cancelling: !hasEnded(run) };
  }
  async notifications(before = "") {
    const from = before ? this.kept.findIndex(({ id }) => id === before) + 1 : 0;
    const answer = () => ({ notifications: this.kept.slice(from, from + PAGE), unread: this.unread, cursor: cursor(this.at) });
    return this.#answer(`notifications ${before}`.trim(), answer);
  }
  async mark(how, which) {
    return this.#answer(`${how} ${which}`, () => ({ unread: this.unread }));
  }
  async #answer(what, make) {
    this.asked.push(what);
    const error = this.fail.shift();
    if (error) throw error;
    return make();
  }
}
