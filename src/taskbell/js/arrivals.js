/**
 * What a service worker does with Web Push: shows what comes, unless an open page just has, and opens it at a click.
 * Safari shows the same messages by itself, where it knows how.
 */

// A page that does not answer shows nothing.
const ANSWER_MS = 500;

/** What a worker asks the pages of its site. */
export const SHOWN = "taskbell: shown?";

/** Who listens is a ServiceWorkerGlobalScope; the types of pages and of workers do not go together. @param {any} worker */
export function handle(worker) {
  /** @param {string} type @param {(worker: any, event: any) => Promise<unknown>} act */
  const on = (type, act) =>
    worker.addEventListener(type, (/** @type {any} */ event) => event.waitUntil(act(worker, event)));
  // A new version has nothing to wait for.
  on("install", () => worker.skipWaiting());
  on("push", show);
  on("notificationclick", open);
  on("pushsubscriptionchange", renew);
}

/** @param {any} worker @param {any} event */
async function show(worker, event) {
  const said = read(event.data);
  if (said === null || (await isShown(worker, said.data?.id))) return;
  const { title, navigate, body, dir, lang, tag, data } = said;
  // Who replaces a message rings again: it is another one.
  const options = { body, dir, lang, tag, renotify: Boolean(tag), data: { ...data, navigate } };
  await worker.registration.showNotification(String(title), options);
}

/** @param {any} worker @param {any} event */
async function open(worker, event) {
  event.notification.close();
  const site = `${worker.location.origin}/`;
  const url = address(event.notification.data?.navigate, site);
  const pages = await windows(worker);
  // What leads nowhere in particular is read on any page.
  const there = pages.find((page) => page.url === url) ?? (url === site ? pages[0] : undefined);
  // A browser may refuse to focus, where the click was too long ago for it.
  if (there) return there.focus().catch(() => worker.clients.openWindow(url));
  return worker.clients.openWindow(url);
}

/**
 * The browser, or its push service, has replaced the subscription. The old endpoint is what the server knows us by.
 * @param {any} worker
 * @param {any} event
 */
async function renew(worker, { oldSubscription: old, newSubscription }) {
  // Without it, the next page of its person subscribes anew.
  if (!old) return;
  const fresh = newSubscription ?? (await worker.registration.pushManager.subscribe(old.options));
  await worker.fetch(new URL("subscriptions/renew/", worker.location.href), {
    method: "POST",
    credentials: "include",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ old: old.endpoint, new: fresh }),
  });
}

/** @param {any} data @returns {Record<string, any> | null} what our server has written, null for anything else */
function read(data) {
  try {
    const { notification } = data.json();
    return notification?.title ? notification : null;
  } catch {
    return null;
  }
}

/** Only http and https: any other address could be a script. @param {unknown} navigate @param {string} site */
function address(navigate, site) {
  try {
    const url = new URL(String(navigate ?? ""), site);
    return /^https?:$/.test(url.protocol) ? url.href : site;
  } catch {
    return site;
  }
}

/** @param {any} worker @returns {Promise<any[]>} the pages of the site, the one that was looked at last first */
const windows = (worker) => worker.clients.matchAll({ type: "window", includeUncontrolled: true });

/** @param {any} worker @param {unknown} id */
async function isShown(worker, id) {
  const pages = (await windows(worker)).filter((page) => page.visibilityState === "visible");
  const answers = await Promise.all(pages.map((page) => ask(page, id)));
  return answers.includes(true);
}

/** @param {any} page @param {unknown} id @returns {Promise<boolean>} */
function ask(page, id) {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    const answer = (/** @type {boolean} */ shown) => {
      clearTimeout(timer);
      port1.close();
      resolve(shown);
    };
    const timer = setTimeout(() => answer(false), ANSWER_MS);
    port1.onmessage = ({ data }) => answer(data === true);
    page.postMessage({ [SHOWN]: id }, [port2]);
  });
}
