// The page's side of the model that runs in worker.js.

export class Model {
  #worker;
  #waiting = new Map();
  #count = 0;

  constructor(header, onProgress) {
    this.header = header;
    this.onProgress = onProgress;
  }

  /** Start on "wasm" or "webgpu"; an earlier start ends, with what it had to do. Error if it cannot run there. */
  async start(backend) {
    this.stop();
    this.#worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }) => {
      if (data.progress !== undefined) return this.onProgress(data.progress);
      const { resolve, reject } = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if (data.error === undefined) resolve(data.result); else reject(new Error(data.error));
    };
    this.#worker.onerror = event => this.#fail(event.message ?? "the model's thread could not start");
    this.backend = backend;
    this.threads = (await this.#ask("load", { backend, model: this.header })).threads ?? 1;
    if (backend === "wasm") this.#warmUp();
  }

  /** Run once, so that the first video does not wait for what the browser compiles at first use. */
  #warmUp() {
    const { size } = this.header.preprocessing, [height, width] = [size].flat().length > 1 ? size : [size, size];
    const shape = [1, this.header.sampling.num_frames, height, width, 3];
    this.clip({ pixels: new Uint8Array(shape.reduce((a, b) => a * b)), shape }).catch(() => {}); // the video will say it
  }

  stop() {
    this.#worker?.terminate();
    this.#fail("stopped");
  }

  /** Return { scores, logits, ms } of one clip: pixels (1, T, H, W, 3). */
  clip({ pixels, shape }) {
    return this.#ask("clip", { pixels, shape }, [pixels.buffer]);
  }

  /** Return { logits (K, classes) flat, ms } of the next K frames of a stream: pixels (1, K, H, W, 3). */
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
export async function whyNoGpu() {
  if (!navigator.gpu) return globalThis.isSecureContext ? "this browser has no WebGPU" : "WebGPU needs https or localhost";
  try {
    return await navigator.gpu.requestAdapter() ? "" : "this browser found no GPU for WebGPU";
  } catch (error) {
    return `WebGPU failed: ${error.message}`;
  }
}
