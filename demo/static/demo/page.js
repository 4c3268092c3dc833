/**
 * The demo's buttons, its panel of frames and its pictures. Bars, states and toasts are Taskbell's own elements;
 * of this file nothing is needed to get them.
 */

const MOST_FRAMES = 30;
// What the eye looks for in a frame.
const TELLING = /"(?:label|state|done|attempt)":(?:"[^"]*"|[^,}]*)/g;
const STATUS = {
  connecting: "Connecting",
  live: "Live",
  offline: "Server away, trying again",
  "signed-out": "Signed out",
};

/** @type {import("../../../src/taskbell/js/client.js").Client | undefined} */
const taskbell = window.taskbell;
const find = (id) => document.getElementById(id);

if (taskbell) {
  showStatus();
  taskbell.addEventListener("status", showStatus);
  for (const type of ["run", "reset"]) taskbell.on(type, (_, message) => showFrame(message));
  taskbell.addEventListener("ending", ({ detail: run }) => showPictures(run));
  showPictures(...knownRuns().filter((run) => run.result?.pictures));
  listen();
}

function listen() {
  for (const button of document.querySelectorAll("button[data-post]")) {
    button.addEventListener("click", () => during(button, () => post(button.dataset.post)));
  }
  const file = find("file");
  file.addEventListener("change", () => during(file, () => upload(file.files[0])).then(() => (file.value = "")));
  find("kill").addEventListener("click", (event) => during(event.currentTarget, killWorker));
  find("stop").addEventListener("click", (event) => during(event.currentTarget, stopServer));
  listenForDrops(find("start"));
}

/** kill -9 to the worker, in the middle of a long task. */
const killWorker = () => inTheMiddle(find("kill"), 60);

/** The server goes away, and a task ends while nobody is there to tell of it. */
const stopServer = () => inTheMiddle(find("stop"), 3);

/**
 * Start a task, and once it runs do what else the button says.
 * @param {HTMLElement} button
 * @param {number} seconds
 */
async function inTheMiddle({ dataset: { first, then } }, seconds) {
  const { task_id } = await post(first, JSON.stringify({ seconds }));
  const watch = taskbell.watch(task_id);
  await new Promise((resolve) => watch.addEventListener("change", () => watch.state === "running" && resolve()));
  watch.close();
  await post(then);
}

/** @param {File | undefined} image */
async function upload(image) {
  if (!image) return;
  const form = new FormData();
  form.append("image", image);
  await post(find("file").dataset.post, form);
}

/** @param {HTMLElement} card */
function listenForDrops(card) {
  card.addEventListener("dragover", (event) => {
    event.preventDefault();
    card.classList.add("dropping");
  });
  card.addEventListener("dragleave", () => card.classList.remove("dropping"));
  card.addEventListener("drop", (event) => {
    event.preventDefault();
    card.classList.remove("dropping");
    during(find("file"), () => upload(event.dataTransfer.files[0]));
  });
}

/**
 * Show that a button is at work, and what went wrong.
 * @param {HTMLElement} button
 * @param {() => Promise<unknown>} action
 */
async function during(button, action) {
  if (button.ariaBusy === "true") return;
  button.ariaBusy = "true";
  find("trouble").textContent = "";
  try {
    await action();
  } catch (error) {
    find("trouble").textContent = error.message;
  } finally {
    button.ariaBusy = "false";
  }
}

/**
 * @param {string} url
 * @param {BodyInit} [body]
 */
async function post(url, body) {
  // Read at each use: signing in changes it, in another tab as well.
  const token = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] ?? "";
  const headers = { "X-CSRFToken": token, ...(typeof body === "string" && { "Content-Type": "application/json" }) };
  const response = await fetch(url, { method: "POST", headers, body }).catch(() => {
    throw new Error("The server is away. Try again in a moment.");
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(Object.values(answer).flat().join(" ") || `The server answered ${response.status}.`);
  return answer;
}

function showStatus() {
  const shown = find("status");
  shown.dataset.status = taskbell.status;
  shown.textContent = STATUS[taskbell.status];
}

/** @param {{ id: string, type: string, data: string }} message */
function showFrame({ id, type, data }) {
  const frames = find("frames");
  frames.querySelector(".none")?.remove();
  const frame = document.createElement("li");
  frame.append(`id: ${id}\nevent: `, bold(type), "\ndata: ", ...emphasised(data));
  frames.prepend(frame);
  while (frames.children.length > MOST_FRAMES) frames.lastElementChild.remove();
}

/** @param {string} data */
function emphasised(data) {
  const parts = [];
  let end = 0;
  for (const found of data.matchAll(TELLING)) {
    parts.push(data.slice(end, found.index), bold(found[0]));
    end = found.index + found[0].length;
  }
  return [...parts, data.slice(end)];
}

/** @param {string} text */
function bold(text) {
  const made = document.createElement("b");
  made.textContent = text;
  return made;
}

/** The runs that the server rendered, newest first. */
function knownRuns() {
  return [...document.querySelectorAll("taskbell-run[data-run]")].map(({ dataset }) => JSON.parse(dataset.run));
}

/** @param {import("../../../src/taskbell/js/runs.js").Run} [run] */
function showPictures(run) {
  const pictures = run?.result?.pictures;
  if (!Array.isArray(pictures)) return;
  const list = find("gallery").querySelector("ul");
  list.classList.toggle("few", pictures.length <= 6);
  list.replaceChildren(...pictures.map(picture));
  find("gallery").hidden = false;
}

/** @param {{ url: string, small: string, name: string }} made */
function picture({ url, small, name }) {
  const image = Object.assign(document.createElement("img"), { src: small, alt: name, decoding: "async" });
  const link = Object.assign(document.createElement("a"), { href: url, target: "_blank", rel: "noopener", title: name });
  link.dataset.name = name;
  link.append(image);
  const item = document.createElement("li");
  item.append(link);
  return item;
}
