/** The device's camera: the rear lens where there is one, its torch, and a still from it. */
import { toBlob } from "./pictures.js";

/** Whether the browser lets a page use the camera here: only over HTTPS, or on this very machine. */
export const cameraAllowed = () => isSecureContext && Boolean(navigator.mediaDevices?.getUserMedia);

export class Camera {
  /** @type {MediaStream|null} */
  #stream = null;
  #starts = 0; // and stops: a camera that comes after a later one is let go
  facing = "environment";

  /** @param {HTMLVideoElement} video */
  constructor(video) {
    this.video = video;
  }

  get running() {
    return this.#stream !== null;
  }

  /**
   * Start, or start again with the other lens. Raises DOMException: NotAllowedError, NotFoundError, NotReadableError.
   * @returns {Promise<boolean>} false: stopped or started anew meanwhile
   */
  async start() {
    this.stop();
    const number = this.#starts;
    try {
      const stream = await navigator.mediaDevices.getUserMedia({
        audio: false,
        video: { facingMode: { ideal: this.facing }, width: { ideal: 1920 }, height: { ideal: 1080 } },
      });
      if (number !== this.#starts) release(stream);
      else {
        this.#stream = stream;
        this.video.srcObject = stream;
        await this.video.play();
      }
    } catch (error) {
      if (number === this.#starts) throw error;
    }
    return number === this.#starts;
  }

  stop() {
    this.#starts++;
    release(this.#stream);
    this.#stream = null;
    this.video.srcObject = null;
  }

  turn() {
    this.facing = this.facing === "environment" ? "user" : "environment";
    return this.start();
  }

  /** Whether there is more than one camera to turn to. */
  async canTurn() {
    const devices = await navigator.mediaDevices.enumerateDevices();
    return devices.filter(({ kind }) => kind === "videoinput").length > 1;
  }

  get #track() {
    return this.#stream?.getVideoTracks()[0];
  }

  /** Whether the lens in use has a lamp. */
  hasTorch() {
    const capabilities = /** @type {any} */ (this.#track?.getCapabilities?.() ?? {});
    return Boolean(capabilities.torch);
  }

  /** @param {boolean} on */
  async torch(on) {
    await this.#track?.applyConstraints(/** @type {any} */ ({ advanced: [{ torch: on }] }));
  }

  /** The picture seen now. @returns {Promise<Blob|null>} */
  async capture() {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (!width || !height) return null;
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d")?.drawImage(this.video, 0, 0);
    return toBlob(canvas);
  }
}

/** @param {MediaStream|null} stream */
const release = (stream) => stream?.getTracks().forEach((track) => track.stop());
