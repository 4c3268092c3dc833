/** The photos of the newest album: each a tile with its run, and with the pictures that the run's result names. */

/**
 * @import { Client } from "../../../src/taskbell/js/client.js"
 * @import { Run } from "../../../src/taskbell/js/runs.js"
 */

const TASK = "demo.tasks.make_pictures";

/**
 * @param {Client} taskbell
 * @param {HTMLElement} list an item for each step of the run that the album is
 */
export function showPhotos(taskbell, list) {
  let { album } = list.dataset;
  let begun = "";

  for (const element of list.querySelectorAll("taskbell-run[data-run]")) {
    const run = JSON.parse(element.dataset.run);
    begun = run.queued_at;
    showPictures(element.closest("li"), run);
  }
  list.addEventListener("taskbell:run", ({ target, detail }) => showPictures(target.closest("li"), detail));
  taskbell.on("run", (run, { id }) => {
    if (run.name !== TASK || run.step == null) return;
    if (run.parent !== album && run.queued_at > begun) {
      [album, begun] = [run.parent, run.queued_at];
      list.replaceChildren();
    }
    if (run.parent === album) showRun(tileOf(list, run.step), run, id);
  });
}

/** @param {HTMLElement} list @param {number} step */
function tileOf(list, step) {
  while (list.children.length <= step) {
    const tile = document.createElement("li");
    tile.append(Object.assign(document.createElement("ul"), { className: "looks" }));
    list.append(tile);
  }
  return list.children[step];
}

/** Hand what is known to a new element, which then asks nobody. @param {HTMLElement} tile @param {Run} run @param {string} cursor */
function showRun(tile, run, cursor) {
  if (tile.querySelector("taskbell-run")) return;
  const element = document.createElement("taskbell-run");
  element.setAttribute("run", run.id);
  Object.assign(element.dataset, { run: JSON.stringify(run), cursor });
  tile.append(element);
  showPictures(tile, run);
}

/** @param {HTMLElement} tile @param {Run} run */
function showPictures(tile, run) {
  const pictures = run.result?.pictures;
  if (Array.isArray(pictures)) tile.querySelector(".looks").replaceChildren(...pictures.map(picture));
}

/** @param {{ url: string, small: string, name: string }} made */
function picture({ url, small, name }) {
  const image = Object.assign(document.createElement("img"), { src: small, alt: name, decoding: "async" });
  const link = Object.assign(document.createElement("a"), { href: url, target: "_blank", rel: "noopener", title: name });
  link.append(image);
  const item = document.createElement("li");
  item.append(link);
  return item;
}
