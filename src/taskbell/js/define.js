/** Makes the elements known to the page, all with one client. */

import { TaskbellElement } from "./elements/element.js";
import { InboxElement } from "./elements/inbox.js";
import { PushElement } from "./elements/push.js";
import { RunElement } from "./elements/run.js";
import { RunsElement } from "./elements/runs.js";
import { ToastsElement } from "./elements/toasts.js";

/** @import { Client } from "./client.js" */

const ELEMENTS = {
  "taskbell-run": RunElement,
  "taskbell-runs": RunsElement,
  "taskbell-toasts": ToastsElement,
  "taskbell-inbox": InboxElement,
  "taskbell-push": PushElement,
};

/** @param {Client} client */
export function define(client) {
  TaskbellElement.client = client;
  for (const [name, element] of Object.entries(ELEMENTS)) customElements.define(name, element);
}
