/** How long to wait before the next try. Pure: chance is handed in. */

const FIRST_MS = 500;
const LONGEST_MS = 30_000;
// Longer than a service manager takes to restart a gateway that falls over at each start.
const STABLE_MS = 10_000;

/**
 * Return a function that says how many milliseconds to wait, given how long the connection that failed had been live;
 * a stable one starts us over. Full jitter: anything up to a ceiling that doubles with every failure, because what the
 * browsers of a site must not do after an outage is to come back together.
 * @param {() => number} [random] from 0 up to 1
 */
export function backoff(random = Math.random) {
  let ceiling = FIRST_MS;
  return (lived = 0) => {
    if (lived >= STABLE_MS) ceiling = FIRST_MS;
    const wait = random() * ceiling;
    ceiling = Math.min(LONGEST_MS, ceiling * 2);
    return wait;
  };
}
