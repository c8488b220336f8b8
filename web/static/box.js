/**
 * Arithmetic of boxes: `[x0, y0, x1, y1]`, fractions of the upright picture, origin top left.
 * @typedef {[number, number, number, number]} Box
 * @typedef {"nw"|"n"|"ne"|"e"|"se"|"s"|"sw"|"w"} Handle
 */

/** @type {Readonly<Box>} */
export const WHOLE = Object.freeze(/** @type {Box} */ ([0, 0, 1, 1]));

/** @type {readonly Handle[]} in reading order, which is also the order of Tab */
export const HANDLES = ["nw", "n", "ne", "w", "e", "sw", "s", "se"];

const clamp = (/** @type {number} */ value, low = 0, high = 1) => Math.min(Math.max(value, low), high);

/** @param {Readonly<Box>} box */
export const isWhole = (box) => box[0] <= 0.002 && box[1] <= 0.002 && box[2] >= 0.998 && box[3] >= 0.998;

/** Move a box, staying inside the picture. @param {Readonly<Box>} box @param {number} dx @param {number} dy @returns {Box} */
export function moved([x0, y0, x1, y1], dx, dy) {
  const x = clamp(x0 + dx, 0, 1 - (x1 - x0));
  const y = clamp(y0 + dy, 0, 1 - (y1 - y0));
  return [x, y, x + (x1 - x0), y + (y1 - y0)];
}

/**
 * Move the edges that a handle holds, keeping at least `minimum` (fractions, across and down) between opposite edges.
 * @param {Readonly<Box>} box @param {Handle} handle @param {number} dx @param {number} dy @param {[number, number]} minimum
 * @returns {Box}
 */
export function resized([x0, y0, x1, y1], handle, dx, dy, minimum) {
  if (handle.includes("w")) x0 = clamp(x0 + dx, 0, x1 - minimum[0]);
  if (handle.includes("e")) x1 = clamp(x1 + dx, x0 + minimum[0], 1);
  if (handle.includes("n")) y0 = clamp(y0 + dy, 0, y1 - minimum[1]);
  if (handle.includes("s")) y1 = clamp(y1 + dy, y0 + minimum[1], 1);
  return [x0, y0, x1, y1];
}

/** The box between two points in any order. @param {[number, number]} a @param {[number, number]} b @returns {Box} */
export const spanned = (a, b) => [
  clamp(Math.min(a[0], b[0])),
  clamp(Math.min(a[1], b[1])),
  clamp(Math.max(a[0], b[0])),
  clamp(Math.max(a[1], b[1])),
];

/** Intersection over union. @param {Readonly<Box>} a @param {Readonly<Box>} b */
export function overlap(a, b) {
  const across = Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0]));
  const down = Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
  const both = across * down;
  return both / (area(a) + area(b) - both || 1);
}

/** @param {Readonly<Box>} box */
const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);

/** @param {Readonly<Box>} box @returns {[number, number]} */
export const centre = (box) => [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];

/** As it stands in the URL and in multipart forms. @param {Readonly<Box>} box */
export const boxToText = (box) => box.map((value) => Number(value.toFixed(4))).join(",");

/** @param {string|null} text @returns {Box|null} null where it is not a box */
export function boxFromText(text) {
  const numbers = (text ?? "").split(",").map(Number);
  const [x0, y0, x1, y1] = numbers;
  const valid = text && numbers.length === 4 && numbers.every((value) => value >= 0 && value <= 1) && x0 < x1 && y0 < y1;
  return valid ? [x0, y0, x1, y1] : null;
}

/**
 * Push points apart until no two are nearer than `distance`, so that each can be tapped; they stay within the picture.
 * @param {[number, number][]} points pixels @param {number} distance pixels @param {[number, number]} size of the picture, pixels
 * @returns {[number, number][]}
 */
export function spread(points, distance, size) {
  const placed = points.map((point) => /** @type {[number, number]} */ ([...point]));
  for (let round = 0; round < 30; round++) {
    let settled = true;
    for (let i = 0; i < placed.length; i++) {
      for (let j = i + 1; j < placed.length; j++) {
        const [dx, dy] = [placed[j][0] - placed[i][0], placed[j][1] - placed[i][1]];
        const apart = Math.hypot(dx, dy);
        if (apart >= distance) continue;
        settled = false;
        const push = (distance - apart) / 2 + 0.5;
        const [ux, uy] = apart > 0.01 ? [dx / apart, dy / apart] : [Math.cos(i + j), Math.sin(i + j)];
        placed[i] = [placed[i][0] - ux * push, placed[i][1] - uy * push];
        placed[j] = [placed[j][0] + ux * push, placed[j][1] + uy * push];
      }
    }
    for (const point of placed) {
      point[0] = clamp(point[0], distance / 2, Math.max(size[0] - distance / 2, distance / 2));
      point[1] = clamp(point[1], distance / 2, Math.max(size[1] - distance / 2, distance / 2));
    }
    if (settled) break;
  }
  return placed;
}
