/** The panel of frames: a line for each, which opens to the frame as it came. */

const MOST_FRAMES = 30;

/** @param {{ id: string, type: string, data: string }} message */
export function showFrame({ id, type, data }) {
  const frames = document.getElementById("frames");
  frames.querySelector(".none")?.remove();
  const summary = make("summary", make("b", type), ` ${inShort(JSON.parse(data))}`);
  const whole = make("span", `id: ${id}\nevent: ${type}\ndata: ${data}`);
  frames.prepend(make("li", make("details", summary, whole)));
  while (frames.children.length > MOST_FRAMES) frames.lastElementChild.remove();
}

/** What the eye looks for in a frame. @param {Record<string, unknown>} data */
function inShort({ label, state, attempt, done, total, step, title, unread, reason }) {
  const parts = [
    step == null ? label : `${label} ${step + 1}`,
    state,
    attempt > 1 && `attempt ${attempt}`,
    done != null && `${done}/${total ?? "?"}`,
    title,
    unread != null && `unread ${unread}`,
    reason,
  ];
  return parts.filter(Boolean).join(" · ");
}

/** @param {string} tag @param {(Node | string)[]} children */
function make(tag, ...children) {
  const made = document.createElement(tag);
  made.append(...children);
  return made;
}
