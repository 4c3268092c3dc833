/**
 * What two cursors say about each other. They are opaque to applications; this file comes with the server that
 * writes them, and of one written by another version it knows nothing.
 */

const FORM = /^1\.([A-Za-z0-9]+)\.([0-9]+)\.[A-Za-z0-9]+$/;

/**
 * Tell whether `a` is a later place than `b`; null where that cannot be known: another log, another version.
 * @param {string} a
 * @param {string} b
 * @returns {boolean | null}
 */
export function isAfter(a, b) {
  const [left, right] = [FORM.exec(a), FORM.exec(b)];
  if (left === null || right === null || left[1] !== right[1]) return null;
  return Number(left[2]) > Number(right[2]);
}
