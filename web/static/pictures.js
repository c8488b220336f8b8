/**
 * The person's own pictures: made small enough to send, and kept on this device (IndexedDB), so that a reload, the back
 * button and the history find them again. The server keeps none of them.
 */

const LONGEST_SIDE = 1600; // pixels; a crop of a tenth is still 160 across
const SEND_AS_IS = 3_000_000; // bytes
const KEPT = 30; // pictures

/**
 * A file as it will be searched: upright, at most LONGEST_SIDE. What the browser cannot decode (HEIC, TIFF) goes as it is: the server may.
 * @param {Blob} file @returns {Promise<Blob>}
 */
export async function prepared(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return file;
  }
  const scale = LONGEST_SIDE / Math.max(bitmap.width, bitmap.height);
  if (scale >= 1 && file.size <= SEND_AS_IS && /^image\/(jpeg|png|webp)$/.test(file.type)) return file;
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * Math.min(scale, 1));
  canvas.height = Math.round(bitmap.height * Math.min(scale, 1));
  const context = canvas.getContext("2d");
  if (!context) return file;
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white"; // under what is transparent: JPEG would make it black
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return (await toBlob(canvas)) ?? file;
}

/** @param {HTMLCanvasElement} canvas @returns {Promise<Blob|null>} */
export const toBlob = (canvas) => new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));

/** Pictures of this visit: what is shown even where IndexedDB is off. @type {Map<string, Blob>} */
const memory = new Map();

/** Keep a picture and return its key. @param {Blob} blob */
export async function keep(blob) {
  const key = Date.now().toString(36) + Math.random().toString(36).slice(2, 6);
  memory.set(key, blob);
  try {
    const store = await objectStore("readwrite");
    store.put(blob, key);
    const keys = /** @type {string[]} */ (await done(store.getAllKeys()));
    for (const old of keys.slice(0, Math.max(keys.length - KEPT, 0))) store.delete(old); // keys sort by time
  } catch {
    // private windows may refuse: the picture then lives as long as the page
  }
  return key;
}

/** @param {string} key @returns {Promise<Blob|null>} null where this device does not have it */
export async function kept(key) {
  const here = memory.get(key);
  if (here) return here;
  try {
    const blob = await done((await objectStore("readonly")).get(key));
    if (blob) memory.set(key, blob);
    return blob ?? null;
  } catch {
    return null;
  }
}

/** Forget every picture. */
export async function forgetAll() {
  memory.clear();
  try {
    (await objectStore("readwrite")).clear();
  } catch {
    // nothing was kept
  }
}

/** @param {IDBTransactionMode} mode @returns {Promise<IDBObjectStore>} */
async function objectStore(mode) {
  const opening = indexedDB.open("visearch", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("pictures");
  const database = await done(opening);
  return database.transaction("pictures", mode).objectStore("pictures");
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
const done = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
