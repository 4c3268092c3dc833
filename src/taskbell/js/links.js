/** Addresses that come from data. */

/**
 * The address as a link may have it: http(s), or null. Payloads are data that a task may have from anyone.
 * @param {unknown} text
 * @param {string} base what a relative address is relative to
 * @returns {string | null}
 */
export function safeUrl(text, base) {
  if (typeof text !== "string" || text === "") return null;
  try {
    const url = new URL(text, base);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
  } catch {
    return null;
  }
}
