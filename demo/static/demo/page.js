/** The demo's buttons. Bars, states, cancelling, toasts and the bell are Taskbell's own elements; they need none of this. */

import { showPhotos } from "./photos.js";
import { showFrame } from "./frames.js";

/** @type {import("../../../src/taskbell/js/client.js").Client | undefined} */
const taskbell = window.taskbell;
const find = (id) => document.getElementById(id);

if (taskbell) {
  showStatus();
  taskbell.addEventListener("status", showStatus);
  for (const type of ["run", "notification", "seen", "reset"]) taskbell.on(type, (_, message) => showFrame(message));
  showPhotos(taskbell, find("photos"));
  for (const button of document.querySelectorAll("button[data-post]")) {
    button.addEventListener("click", () => during(button, () => press(button)));
  }
  const files = find("files");
  const upload = (list) => during(files, () => send(files, list));
  files.addEventListener("change", () => upload(files.files).then(() => (files.value = "")));
  listenForDrops(find("start"), upload);
}

/**
 * Start what the button starts, and once it runs do what else the button says: break something.
 * @param {HTMLElement} button
 */
async function press({ dataset: { post: url, seconds, then } }) {
  const { task_id } = await post(url, seconds && JSON.stringify({ seconds: Number(seconds) }));
  if (!then) return;
  await running(task_id);
  await post(then);
}

/** @param {string} id */
async function running(id) {
  const watch = taskbell.watch(id);
  await new Promise((resolve) => watch.addEventListener("change", () => watch.state === "running" && resolve()));
  watch.close();
}

/**
 * @param {HTMLInputElement} input
 * @param {FileList} list
 */
async function send(input, list) {
  if (list.length === 0) return;
  const form = new FormData();
  for (const image of list) form.append("images", image);
  await post(input.dataset.post, form);
}

/**
 * @param {HTMLElement} card
 * @param {(files: FileList) => void} upload
 */
function listenForDrops(card, upload) {
  card.addEventListener("dragover", (event) => {
    event.preventDefault();
    card.classList.add("dropping");
  });
  card.addEventListener("dragleave", () => card.classList.remove("dropping"));
  card.addEventListener("drop", (event) => {
    event.preventDefault();
    card.classList.remove("dropping");
    upload(event.dataTransfer.files);
  });
}

/**
 * Show that a button is at work, and in its card what went wrong.
 * @param {HTMLElement} button
 * @param {() => Promise<unknown>} action
 */
async function during(button, action) {
  if (button.ariaBusy === "true") return;
  const trouble = button.closest(".card").querySelector(".trouble");
  button.ariaBusy = "true";
  trouble.textContent = "";
  try {
    await action();
  } catch (error) {
    trouble.textContent = error.message;
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
    throw new Error(find("away").textContent);
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(Object.values(answer).flat().join(" ") || `HTTP ${response.status}`);
  return answer;
}

function showStatus() {
  const shown = find("status");
  shown.dataset.status = taskbell.status;
  shown.textContent = shown.getAttribute(`data-${taskbell.status}`);
}
