/** The start of Lens: the live camera and its shutter, or the way around it. */
import { Camera, cameraAllowed } from "./camera.js";
import { announce, byId, toast } from "./dom.js";
import { choosePicture, searchWith, takePhoto } from "./intake.js";

/** @type {Record<string, [string, string]>} what went wrong and what to do */
const TROUBLE = {
  NotAllowedError: ["The camera is blocked for this page", "Allow it in the address bar's site settings, or choose a picture."],
  NotFoundError: ["No camera found", "Choose a picture, paste one, or drop it here."],
  NotReadableError: ["The camera is in use", "Close the other program that uses it and try again, or choose a picture."],
};

export class Lens {
  #shown = false;

  constructor() {
    this.element = byId("camera");
    this.camera = new Camera(byId("camera-video"));
    this.torchOn = false;
    byId("camera-start").addEventListener("click", () => this.#start());
    byId("camera-shutter").addEventListener("click", () => this.#shoot());
    byId("camera-turn").addEventListener("click", () => this.#start(() => this.camera.turn()));
    byId("camera-torch").addEventListener("click", () => this.#torch());
    byId("camera-file").addEventListener("click", choosePicture);
    byId("camera-file-live").addEventListener("click", choosePicture);
    byId("camera-photo").addEventListener("click", takePhoto);
    document.addEventListener("visibilitychange", () => {
      if (!this.#shown) return;
      if (document.hidden) this.camera.stop();
      else if (this.element.classList.contains("live")) this.#start();
    });
  }

  async show() {
    this.#shown = true;
    const allowed = cameraAllowed();
    byId("camera-start").hidden = !allowed;
    byId("camera-photo").hidden = allowed;
    this.#say("Point your camera at something", allowed ? "A chair, a lamp, a bottle: Lens finds it here, or what looks most like it." : "A live picture needs HTTPS: start the server with “visearch serve --https”. A photo or a file works without.");
    // A person who has allowed the camera before wants it at once.
    const permission = allowed && (await navigator.permissions?.query({ name: /** @type {any} */ ("camera") }).catch(() => null));
    if (permission && permission.state === "granted" && this.#shown) this.#start();
  }

  hide() {
    this.#shown = false;
    this.camera.stop();
    this.element.classList.remove("live");
  }

  /** @param {string} title @param {string} text */
  #say(title, text) {
    byId("camera-title").textContent = title;
    byId("camera-text").textContent = text;
  }

  /** @param {() => Promise<boolean>} [start] */
  async #start(start = () => this.camera.start()) {
    this.element.classList.add("starting");
    try {
      if (!(await start())) return;
      this.element.classList.add("live");
      this.#torchShown(false);
      byId("camera-torch").hidden = !this.camera.hasTorch();
      byId("camera-turn").hidden = !(await this.camera.canTurn());
      announce("The camera is on");
      if (document.activeElement === byId("camera-start")) byId("camera-shutter").focus({ preventScroll: true });
    } catch (error) {
      this.camera.stop();
      this.element.classList.remove("live");
      const [title, text] = TROUBLE[error instanceof DOMException ? error.name : ""] ?? ["The camera did not start", "Try again, or choose a picture."];
      this.#say(title, text);
      announce(`${title}. ${text}`);
    } finally {
      this.element.classList.remove("starting");
    }
  }

  async #shoot() {
    const blob = await this.camera.capture();
    if (!blob) return toast("The camera has no picture yet. Try again in a moment.");
    await searchWith(blob, "lens");
  }

  async #torch() {
    try {
      await this.camera.torch(!this.torchOn);
      this.#torchShown(!this.torchOn);
    } catch {
      toast("This camera's light cannot be switched");
    }
  }

  /** @param {boolean} on */
  #torchShown(on) {
    this.torchOn = on;
    byId("camera-torch").setAttribute("aria-pressed", String(on));
  }
}
