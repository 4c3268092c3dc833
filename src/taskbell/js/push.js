/**
 * Web Push in this browser, for the person of the page. It asks for nothing by itself: `subscribe` belongs to a click.
 *
 * A browser has one subscription, whoever is signed in. So it is noted for whom it was made, and another person's is
 * ended when it is found.
 */

import { Recent } from "./handlers.js";
import { SHOWN } from "./arrivals.js";

/**
 * @typedef {"off" | "on" | "denied"} PushState `denied`: in the browser's settings, and only there can it be undone
 *
 * @typedef {object} PushOptions
 * @property {string} address of the API of subscriptions; the worker is beside it
 * @property {string} key the site's public key
 * @property {string} account whose the page is
 * @property {{ header: string, token: string }} csrf
 * @property {ServiceWorkerContainer} workers
 * @property {{ permission: NotificationPermission, requestPermission(): Promise<NotificationPermission> }} permissions
 * @property {Storage | null} storage null remembers nothing: then a subscription is nobody's, and ended
 * @property {typeof fetch} fetch
 * @property {() => number} now
 * @property {(address: string) => any} trusted what `register` takes, where the page's policy wants Trusted Types
 */

const NOTE = "taskbell-push";
// What the server may have lost, or given up, is told it again; and the worker is asked for once more.
const FRESH_MS = 86_400_000;
const ANSWER_MS = 10_000;

/** Dispatches `state` when that has changed. */
export class Push extends EventTarget {
  /** @type {PushState} */
  state = "off";
  #options;
  #shown = new Recent();

  /** @param {PushOptions} options */
  constructor(options) {
    super();
    this.#options = options;
  }

  /** Look at what there is, and mend it. */
  async start() {
    const { account, key, now } = this.#options;
    const registration = await this.#registration();
    const subscription = await registration?.pushManager.getSubscription();
    const note = this.#note;
    if (!registration || !subscription) return this.#become("off");
    if (note.account !== account) {
      // Somebody else's, who is not signed in any more.
      await this.#end(subscription);
      return this.#become("off");
    }
    if (keyOf(subscription) !== key) {
      // The site has another key. Nobody need be asked again.
      await subscription.unsubscribe();
      await this.#subscribe(registration);
    } else if (!(now() - Number(note.at) < FRESH_MS)) {
      // What cannot be told now is told by another page.
      await this.#tell("POST", subscription.toJSON()).then(() => this.#write(), () => {});
      await registration.update().catch(() => {});
    }
    this.#become("on");
  }

  /** Ask the person, if they have not answered yet, and subscribe; for a click. @returns {Promise<PushState>} */
  async subscribe() {
    const { permissions, workers, address, trusted } = this.#options;
    if ((await permissions.requestPermission()) !== "granted") return this.#become("off");
    const worker = new URL("../worker.js", new URL(address, location.href)).pathname;
    const registration = await workers.register(trusted(worker), { updateViaCache: "none" });
    await active(registration);
    await this.#subscribe(registration);
    return this.#become("on");
  }

  /** End it, here and with the server. A server that is away finds out later. @returns {Promise<PushState>} */
  async unsubscribe() {
    const subscription = await (await this.#registration())?.pushManager.getSubscription();
    if (subscription) {
      await this.#tell("DELETE", { endpoint: subscription.endpoint }).catch(() => {});
      await this.#end(subscription);
    }
    return this.#become("off");
  }

  /** The session is over: end what was this person's. The server notices when it sends something. */
  async signedOut() {
    if (this.#note.account !== this.#options.account) return;
    const subscription = await (await this.#registration())?.pushManager.getSubscription();
    if (subscription) await this.#end(subscription);
    this.#become("off");
  }

  /** A page handles a notification. @param {string} id */
  handled(id) {
    this.#shown.add(id);
  }

  /** Answer the worker, which asks whether a page has just shown what it was sent. @param {() => boolean} canShow */
  answer(canShow) {
    const { workers } = this.#options;
    workers.addEventListener("message", ({ data, ports }) => {
      if (data?.[SHOWN]) ports[0]?.postMessage(this.#shown.has(data[SHOWN]) && canShow());
    });
    workers.startMessages();
  }

  /** @param {ServiceWorkerRegistration} registration */
  async #subscribe(registration) {
    const options = { userVisibleOnly: true, applicationServerKey: bytesOf(this.#options.key) };
    const made = await registration.pushManager.subscribe(options).catch(async (error) => {
      // Made with another key, in another time of this site.
      if (error.name !== "InvalidStateError") throw error;
      await (await registration.pushManager.getSubscription())?.unsubscribe();
      return registration.pushManager.subscribe(options);
    });
    try {
      await this.#tell("POST", made.toJSON());
    } catch (error) {
      // Subscribed, and nobody would ever send anything.
      await this.#end(made);
      throw error;
    }
    this.#write();
  }

  /** @param {PushSubscription} subscription */
  async #end(subscription) {
    await subscription.unsubscribe();
    this.#remember((storage) => storage.removeItem(NOTE));
  }

  /** @param {"POST" | "DELETE"} method @param {unknown} values */
  async #tell(method, values) {
    const { address, csrf, fetch } = this.#options;
    const response = await fetch(address, {
      method,
      credentials: "include",
      headers: { "Content-Type": "application/json", [csrf.header]: csrf.token },
      body: JSON.stringify(values),
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    if (response.status !== 201 && response.status !== 204) {
      throw new Error(`The server answered ${response.status}.`, { cause: response.status });
    }
  }

  #registration() {
    return this.#options.workers.getRegistration(new URL("..", new URL(this.#options.address, location.href)).pathname);
  }

  /** @param {PushState} state */
  #become(state) {
    const before = this.state;
    this.state = state === "off" && this.#options.permissions.permission === "denied" ? "denied" : state;
    if (this.state !== before) this.dispatchEvent(new Event("state"));
    return this.state;
  }

  /** @returns {{ account?: string, at?: number }} for whom it was made, and when the server was last told */
  get #note() {
    return this.#remember((storage) => JSON.parse(storage.getItem(NOTE) ?? "{}")) ?? {};
  }

  #write() {
    const note = { account: this.#options.account, at: this.#options.now() };
    this.#remember((storage) => storage.setItem(NOTE, JSON.stringify(note)));
  }

  /**
   * @template T
   * @param {(storage: Storage) => T} use
   * @returns {T | undefined}
   */
  #remember(use) {
    try {
      return this.#options.storage === null ? undefined : use(this.#options.storage);
    } catch {
      return undefined;
    }
  }
}

/** A worker can subscribe when it is active; then `ready` would tell, of one whose scope holds the page.
 * @param {ServiceWorkerRegistration} registration
 */
function active({ active, installing, waiting }) {
  const worker = installing ?? waiting;
  if (active || !worker) return undefined;
  return new Promise((resolve, reject) =>
    worker.addEventListener("statechange", () => {
      if (worker.state === "activated") resolve(undefined);
      if (worker.state === "redundant") reject(new Error("The service worker could not be installed."));
    }),
  );
}

/** @param {PushSubscription} subscription */
function keyOf({ options }) {
  const bytes = new Uint8Array(options.applicationServerKey ?? new ArrayBuffer(0));
  return btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

/** @param {string} key base64url */
function bytesOf(key) {
  return Uint8Array.from(atob(key.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));
}
