/** Ways in for a person's own picture: the file chooser, paste, and drop anywhere on the page. */
import { byId, toast } from "./dom.js";
import { keep, prepared } from "./pictures.js";
import { current, fresh, go } from "./state.js";

/** @type {import("./state.js").Mode|null} the mode that a chosen file will be searched in; null: the one shown */
let wantedMode = null;

/** Open the file chooser. */
export function choosePicture() {
  wantedMode = null;
  byId("file-picture").click();
}

/** Open the phone's own camera (works without HTTPS), or the file chooser where there is none. */
export function takePhoto() {
  wantedMode = "lens";
  byId("file-camera").click();
}

/** Search with a picture of the person's own. @param {Blob} file @param {import("./state.js").Mode} [mode] */
export async function searchWith(file, mode = current().mode) {
  if (file.type && !file.type.startsWith("image/")) return toast("That is not a picture. Use a JPEG, PNG or WebP file.");
  const filter = current().filter;
  const picture = await keep(await prepared(file));
  go(fresh({ mode, picture, filter }));
}

/** Wire up the page. */
export function listen() {
  for (const id of ["file-picture", "file-camera"]) {
    const input = byId(id);
    input.addEventListener("change", () => {
      const [file] = input.files;
      input.value = ""; // so that the same file can be chosen again
      if (file) searchWith(file, wantedMode ?? undefined);
    });
  }
  addEventListener("paste", (event) => {
    const file = pictureOf(event.clipboardData);
    if (!file) return;
    event.preventDefault();
    searchWith(file);
  });
  const drop = byId("drop");
  let depth = 0; // dragenter and dragleave come for every element passed
  const show = (/** @type {boolean} */ shown) => {
    drop.hidden = !shown;
    if (!shown) depth = 0;
  };
  addEventListener("dragenter", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    depth++;
    show(true);
  });
  addEventListener("dragleave", () => --depth <= 0 && show(false));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    show(false);
    const file = pictureOf(event.dataTransfer);
    if (file) searchWith(file);
    else toast("Nothing to search with there. Drop a picture file.");
  });
}

/** @param {DataTransfer|null} data @returns {File|undefined} */
const pictureOf = (data) => {
  const files = [...(data?.files ?? [])];
  return files.find((file) => file.type.startsWith("image/")) ?? files[0];
};
