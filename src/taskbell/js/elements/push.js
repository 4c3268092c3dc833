import { TaskbellElement, make, sheet, write } from "./element.js";
import base from "./base.css";
import css from "./push.css";

const STYLE = sheet(base, css);
const WORDS = /** @type {const} */ ({ off: "pushOn", on: "pushOff", denied: "pushDenied" });

/** `<taskbell-push>`: a button that turns Web Push on and off in this browser; hidden where there is none. */
export class PushElement extends TaskbellElement {
  #button = make("button", "button");
  #trouble = make("p", "trouble", { role: "status" });
  #connected = new AbortController();

  constructor() {
    super();
    this.shade(STYLE).append(this.#button, this.#trouble);
    write(this.#trouble, "");
    this.#button.addEventListener("click", () => this.#turn());
  }

  connectedCallback() {
    const { signal } = (this.#connected = new AbortController());
    this.client.push?.addEventListener("state", () => this.#paint(), { signal });
    this.#paint();
  }

  disconnectedCallback() {
    this.#connected.abort();
  }

  async #turn() {
    const { push } = this.client;
    if (push === null) return;
    this.#button.disabled = true;
    write(this.#trouble, "");
    try {
      await (push.state === "on" ? push.unsubscribe() : push.subscribe());
    } catch (error) {
      // The browser's push service is away, or our server is: the console says which.
      reportError(error);
      write(this.#trouble, this.words.say("notMarked"));
    }
    this.#paint();
  }

  #paint() {
    const { push } = this.client;
    this.hidden = push === null;
    if (push === null) return;
    this.#button.textContent = this.words.say(WORDS[push.state]);
    this.#button.disabled = push.state === "denied";
  }
}
