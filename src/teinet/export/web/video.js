// Reads frames of a <video>: opens, seeks, and takes pixels.

import { rgbOf } from "./colors.js";
import { readTables } from "./frame_times.js";

const MOST = 40e6; // pixels of all frames of a clip, more than 8 of 1080p: what a phone can hold
const LONGEST = 1280; // pixels of the longer side where the browser scales larger frames down
const PATIENCE = 15000; // ms for a browser that does not answer

const once = (target, type, ms = PATIENCE) => new Promise((resolve, reject) => {
  const timer = setTimeout(() => reject(new Error(`the browser did not finish reading the video in ${ms / 1000} s`)), ms);
  const stop = new AbortController(), settle = how => () => { clearTimeout(timer); stop.abort(); how(); };
  target.addEventListener(type, settle(resolve), { signal: stop.signal });
  target.addEventListener("error", settle(() => reject(new Error("this browser cannot decode it"))), { signal: stop.signal });
});

/** Call `use(seconds)` for the next frame that is shown; returns how to take the call back. */
export function onFrame(video, use) {
  if (video.requestVideoFrameCallback) {
    const id = video.requestVideoFrameCallback((_, frame) => use(frame.mediaTime));
    return () => video.cancelVideoFrameCallback(id);
  }
  const id = requestAnimationFrame(() => use(video.currentTime));
  return () => cancelAnimationFrame(id);
}

/** Open a file in a video element of its own; Error if the browser cannot decode it. */
export async function open(address) {
  const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true, preload: "auto" });
  const ready = once(video, "loadeddata");
  video.src = address;
  const idle = setTimeout(() => video.play().then(() => video.pause(), () => {}), 2000); // some phones load nothing before
  await ready.finally(() => clearTimeout(idle));
  if (!video.videoWidth) throw new Error("it has sound but no video that this browser can decode");
  if (!Number.isFinite(video.duration)) await seek(video, 1e9); // recorded by a browser: it does not say how long it is
  return video;
}

/** Return { times, matrix }: the start times of a file's frames and the end of the last one, seconds; see `Grabber`. */
export async function tables(file, video) {
  const found = await readTables(file);
  if (found) return found;
  const rate = await frameRate(video), last = await seek(video, video.duration) ?? video.duration - 1 / rate;
  return { times: Array.from({ length: Math.round(last * rate) + 2 }, (_, i) => i / rate) };
}

/** Show the frame at `time`, seconds; return the time at which the browser says that it begins, or null. */
export async function seek(video, time) {
  let cancel, timer;
  const shown = new Promise(resolve => {
    cancel = onFrame(video, resolve);
    timer = setTimeout(resolve, 1000, null); // a tab in the background shows no frames, but draws them
  });
  const done = once(video, "seeked");
  video.currentTime = time;
  await done;
  return shown.finally(() => { cancel(); clearTimeout(timer); });
}

/** Measure the frames per second of a video by playing half a second of it. */
async function frameRate(video) {
  const times = [];
  video.currentTime = 0;
  await video.play();
  await new Promise(resolve => {
    const end = setTimeout(resolve, 3000);
    video.addEventListener("ended", () => { clearTimeout(end); resolve(); }, { once: true });
    const next = time => {
      times.push(time);
      if (time - times[0] > 0.5 && times.length > 8) { clearTimeout(end); resolve(); } else onFrame(video, next);
    };
    onFrame(video, next);
  });
  video.pause();
  const sorted = [...new Set(times)].sort((a, b) => a - b), gaps = sorted.slice(1).map((time, i) => time - sorted[i]);
  if (!gaps.length) return 25;
  const usual = [...gaps].sort((a, b) => a - b)[gaps.length >> 1];
  const frames = gaps.reduce((sum, gap) => sum + Math.round(gap / usual), 0); // some gaps hold frames that were not shown
  return frames / (sorted.at(-1) - sorted[0]);
}

/** Takes pixels from a video, as many as the model may use: it resizes them itself, as in training. */
export class Grabber {
  #canvas = document.createElement("canvas");
  #context = this.#canvas.getContext("2d", { willReadFrequently: true });
  #buffer = new Uint8Array(0);

  /** Take pixels for clips of T frames; `matrix` of the file's colors, "" if it does not say. */
  constructor(numFrames, matrix) {
    Object.assign(this, { numFrames, matrix });
  }

  /** Return { pixels (H, W, 3) Uint8Array, shape [H, W], image (a small canvas to show) } of the present frame. */
  async grab(video) {
    const image = document.createElement("canvas");
    image.width = Math.min(video.videoWidth, 240);
    image.height = Math.max(1, Math.round(image.width * video.videoHeight / video.videoWidth));
    const frame = globalThis.VideoFrame && new VideoFrame(video); // the present one, also if the video plays on
    image.getContext("2d").drawImage(frame || video, 0, 0, image.width, image.height);
    try {
      return { ...(frame && await this.#fromPlanes(frame, video) || this.#fromCanvas(frame || video, video)), image };
    } finally {
      frame?.close();
    }
  }

  /** Return pixels and shape of a frame, converted as in Python; null if the browser does not give its planes. */
  async #fromPlanes(frame, video) {
    const { width, height } = frame.visibleRect ?? {}, { format, colorSpace } = frame;
    const turned = frame.rotation ?? ((width > height) !== (video.videoWidth > video.videoHeight));
    if (!["I420", "NV12"].includes(format) || turned || frame.flip || width * height * this.numFrames > MOST) return null;
    if (this.#buffer.length < frame.allocationSize()) this.#buffer = new Uint8Array(frame.allocationSize());
    const planes = await frame.copyTo(this.#buffer);
    const colors = { matrix: this.matrix ?? colorSpace.matrix, fullRange: colorSpace.fullRange };
    return { pixels: rgbOf(this.#buffer, planes, format, width, height, colors), shape: [height, width] };
  }

  /** Return them as the browser converts and scales them: scores differ by up to 0.01, of 1080p by up to 0.03. */
  #fromCanvas(source, { videoWidth, videoHeight }) {
    const share = Math.min(1, LONGEST / Math.max(videoWidth, videoHeight));
    const width = Math.round(share * videoWidth), height = Math.round(share * videoHeight);
    if (this.#canvas.width !== width || this.#canvas.height !== height) Object.assign(this.#canvas, { width, height });
    this.#context.imageSmoothingQuality = "high";
    this.#context.drawImage(source, 0, 0, width, height);
    const rgba = this.#context.getImageData(0, 0, width, height).data, pixels = new Uint8Array(3 * width * height);
    for (let from = 0, to = 0; to < pixels.length; from += 4) {
      pixels[to++] = rgba[from];
      pixels[to++] = rgba[from + 1];
      pixels[to++] = rgba[from + 2];
    }
    return { pixels, shape: [height, width] };
  }
}

/** Return frames of one size (1, K, H, W, 3) as one array, and its shape. */
export function stacked(frames) {
  const size = frames[0].pixels.length, pixels = new Uint8Array(size * frames.length);
  frames.forEach((frame, i) => pixels.set(frame.pixels, i * size));
  return { pixels, shape: [1, frames.length, ...frames[0].shape, 3] };
}
