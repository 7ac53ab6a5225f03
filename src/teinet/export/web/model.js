// The page's side of the model that runs in worker.js. A page of `teinet serve` has another model.js, with these methods.

import { percent } from "./chart.js";
import { testIndices } from "./sampling.js";
import { Grabber, open, seek, stacked, tables } from "./video.js";

const GPU = document.querySelector("#backend [value=webgpu]");

export class Model {
  place = "It runs in this browser: no image leaves this device.";
  promise = "It stays on this device. Nothing is uploaded.";
  unread = ". If another player can show it, convert it first: ffmpeg -i FILE clip.mp4";
  #told;
  #worker;
  #waiting = new Map();
  #count = 0;

  /** `told(text, share)` gets what the model does, and how much of it is done. */
  constructor(told) {
    this.#told = told;
  }

  /** Return the model's header. */
  async describe() {
    if (!this.header) {
      this.header = await (await fetch("model.json")).json();
      whyNoGpu().then(why => why && Object.assign(GPU, { disabled: true, text: `GPU (${why})` }));
    }
    return this.header;
  }

  /** Start on "wasm" or "webgpu"; an earlier start ends, with what it had to do. Error if it cannot run there. */
  async start(backend) {
    this.#worker?.terminate();
    this.#fail("stopped");
    this.#worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }) => {
      if (data.progress !== undefined) return this.#told(`Loading the model: ${percent(data.progress)}`, data.progress);
      const { resolve, reject } = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if (data.error === undefined) resolve(data.result); else reject(new Error(data.error));
    };
    this.#worker.onerror = event => this.#fail(event.message ?? "the model's thread could not start");
    this.backend = backend;
    this.threads = (await this.#ask("load", { backend, model: this.header })).threads ?? 1;
    this.device = backend === "webgpu" ? "the GPU" : `the CPU${this.threads > 1 ? ` (${this.threads} threads)` : ""}`;
    if (backend !== "wasm") return;
    // run once, so that the first video does not wait for what the browser compiles at first use
    const [height, width = height] = [this.header.preprocessing.size].flat();
    const shape = [1, this.header.sampling.num_frames, height, width, 3];
    this.clip({ pixels: new Uint8Array(shape.reduce((a, b) => a * b)), shape }).catch(() => {}); // the video will say it
  }

  /** Return { frames, numFrames, length, matrix, ms } of a file, read as in Python; Error if the browser cannot. */
  async read(file, address, told) {
    const began = performance.now(), { sampling } = this.header, T = sampling.num_frames;
    const probe = await open(address); // of its own, so that the player stays where the user wants it
    const { times, matrix } = await tables(file, probe), indices = testIndices(times.length - 1, sampling);
    const frames = [], grabber = new Grabber(T, matrix), length = probe.duration;
    for (const [place, index] of indices.entries()) {
      told(`Reading frame ${place + 1} of ${T}`, place / T);
      const same = indices.indexOf(index); // a video of fewer than T frames repeats some
      if (same < place) { frames.push(frames[same]); continue; }
      const shown = await seek(probe, (times[index] + times[index + 1]) / 2);
      frames.push({ ...await grabber.grab(probe), time: times[index], shown, index });
    }
    probe.removeAttribute("src");
    return { frames, numFrames: times.length - 1, length, matrix, ms: performance.now() - began };
  }

  /** Return { scores, logits, frames, numFrames, ms, note } of what `read` returned. */
  async recognize({ frames, numFrames, ms: reading }, told) {
    told("Running the model", 1);
    const { scores, logits, ms } = await this.clip(stacked(frames));
    const note = `read in ${(reading / 1000).toFixed(1)} s; model ${ms.toFixed(0)} ms on ${this.device}`;
    return { scores, logits, frames, numFrames, ms, note };
  }

  /** Return { scores, logits, ms } of one clip: pixels (1, T, H, W, 3). */
  clip({ pixels, shape }) {
    return this.#ask("clip", { pixels, shape }, [pixels.buffer]);
  }

  /** Return { rows, ms }, the logits of each of the next K frames of a stream: pixels (1, K, H, W, 3). */
  step({ pixels, shape }, reset) {
    return this.#ask("step", { pixels, shape, reset }, [pixels.buffer]);
  }

  #ask(action, values, moved = []) {
    return new Promise((resolve, reject) => {
      this.#waiting.set(++this.#count, { resolve, reject });
      this.#worker.postMessage({ id: this.#count, action, ...values }, moved);
    });
  }

  #fail(message) {
    for (const { reject } of this.#waiting.values()) reject(new Error(message));
    this.#waiting.clear();
  }
}

/** Return why there is no WebGPU here; "" if there is. */
async function whyNoGpu() {
  if (!navigator.gpu) return globalThis.isSecureContext ? "this browser has no WebGPU" : "WebGPU needs https or localhost";
  const found = adapter => adapter ? "" : "this browser found no GPU for WebGPU";
  return navigator.gpu.requestAdapter().then(found, error => `WebGPU failed: ${error.message}`);
}
