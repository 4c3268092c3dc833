/** How long to wait before the next try. Pure: chance is handed in. */

const FIRST_MS = 500;
const LONGEST_MS = 30_000;
// Longer than a service manager takes to restart a gateway that falls over at each start.
const STABLE_MS = 10_000;

export class Backoff {
  #failures = 0;
  #random;

  /** @param {() => number} [random] from 0 up to 1 */
  constructor(random = Math.random) {
    this.#random = random;
  }

  /**
   * Return milliseconds to wait. Full jitter: anything up to a ceiling that doubles with every failure, because what
   * the browsers of a site must not do after an outage is to come back together.
   * @param {number} [lived] how long the connection that failed had been live; a stable one starts us over
   */
  next(lived = 0) {
    if (lived >= STABLE_MS) this.#failures = 0;
    const ceiling = Math.min(LONGEST_MS, FIRST_MS * 2 ** this.#failures);
    this.#failures += 1;
    return this.#random() * ceiling;
  }
}
