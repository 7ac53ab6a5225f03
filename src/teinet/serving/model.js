// The page's side of a model that runs on the server: the exported page's model.js by requests, with a choice and a token.

import { percent } from "./chart.js";
import { Grabber, open, seek } from "./video.js";

const PAUSE = 200; // ms between the windows of a playing video at least
const choice = document.getElementById("backend"), label = choice.closest("label");
const token = Object.assign(document.createElement("input"),
  { id: "token", type: "password", placeholder: "Token", ariaLabel: "Token", autocomplete: "current-password", hidden: true });
label.before(token);
label.hidden = true;
label.firstChild.textContent = "Model ";
document.getElementById("file").accept = "video/*,.mkv,.avi,.gif,.ts,.flv,.wmv";
token.onchange = () => choice.dispatchEvent(new Event("change"));

export class Model {
  place = "It runs on this server, which keeps no video.";
  device = "the server";
  unread = "";
  #told;
  #next = 0;

  constructor(told) {
    this.#told = told;
  }

  /** Return the header of the chosen model; wait for another choice while the token is missing or wrong. */
  async describe(name) {
    try {
      Object.assign(this, await ask("GET", "models"));
    } catch (error) {
      if (error.status !== 401) throw error;
      token.hidden = false;
      document.getElementById("about").textContent = "This server needs a token.";
      this.#told(token.value ? "This is not the token of this server." : "Type the token of this server.");
      return new Promise(() => {});
    }
    const names = this.models.map(each => each.name), model = this.models[Math.max(0, names.indexOf(name))];
    choice.replaceChildren(...names.map(each => new Option(each, each, false, each === model.name)));
    label.hidden = names.length < 2;
    this.promise = `Up to ${this.limits.upload_mb} MB. The server removes it after the answer.`;
    this.backend = model.name;
    this.header = { ...model, card: { ...model.card, title: model.title ?? model.name }, export: { kind: "clip" } };
    return this.header;
  }

  start() {}

  /** Return { file, probe, length, ms }; without the probe, of a file that only the server may be able to read. */
  async read(file, address) {
    const megabytes = file.size / 1e6, began = performance.now();
    if (megabytes > this.limits.upload_mb) {
      throw new Error(`it has ${megabytes.toFixed(1)} MB; this server takes ${this.limits.upload_mb} MB (--max-upload)`);
    }
    const probe = await open(address).catch(() => null);
    return { file, probe, length: probe?.duration, ms: performance.now() - began };
  }

  /** Send the file; return { scores, logits, frames, numFrames, ms, note }, frames with images if the browser can play it. */
  async recognize({ file, probe }, told) {
    const { scores, answer, ms } = await this.#predict(file, share =>
      told(share < 1 ? `Sending the video: ${percent(share)}` : "Running the model", share));
    const frames = answer.frame_indices[0].map((index, i) => ({ index, time: answer.times[0][i], shown: null }));
    try {
      const grabber = probe && new Grabber(frames.length);
      for (const frame of probe ? frames : []) {
        frame.shown = await seek(probe, Math.min(frame.time + 1e-3, probe.duration));
        Object.assign(frame, await grabber.grab(probe));
      }
    } catch {} // the answer holds without images
    const more = [probe ? "" : "this browser cannot show the video", answer.damage].filter(Boolean);
    const note = [`answered by the server in ${(ms / 1000).toFixed(1)} s`, ...more].join("; ");
    return { scores, logits: [], frames, numFrames: answer.num_frames, ms, note };
  }

  /** Return { scores, ms } of frames (1, T, H, W, 3), which are sent as JPEGs one after the other. */
  async clip({ pixels, shape: [, count, height, width] }) {
    const { size, short_side } = this.header.preprocessing, side = short_side ?? Math.max(...[size].flat());
    const share = Math.min(1, 2 * side / Math.min(height, width)), area = height * width;
    const canvas = new OffscreenCanvas(share * width, share * height), images = [];
    for (let k = 0; k < count; k++) {
      const image = new ImageData(width, height);
      image.data.fill(255);
      for (let i = 0; i < 3 * area; i++) image.data[i + Math.floor(i / 3)] = pixels[3 * k * area + i];
      const scaled = await createImageBitmap(image, { resizeWidth: canvas.width, resizeHeight: canvas.height });
      canvas.getContext("2d").drawImage(scaled, 0, 0);
      images.push(await canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 }));
    }
    await new Promise(resolve => setTimeout(resolve, this.#next - performance.now()));
    this.#next = performance.now() + Math.max(PAUSE, 120e3 / this.limits.rate); // half of what the server allows
    return this.#predict(new File(images, "window.mjpeg"));
  }

  async #predict(file, told) {
    const form = new FormData(), began = performance.now(), names = this.header.class_names;
    for (const [name, value] of Object.entries({ model: this.backend, top_k: names.length, file })) form.append(name, value);
    const answer = await ask("POST", "predict", form, told), found = new Map(answer.labels.map(({ name, score }) => [name, score]));
    return { answer, scores: names.map(name => found.get(name)), ms: performance.now() - began };
  }
}

/** Return the server's answer; Error with its reason. `told(share)` gets how much of the body is sent, and may throw to stop it. */
function ask(method, path, body, told = () => {}) {
  const request = Object.assign(new XMLHttpRequest(), { responseType: "json" });
  request.open(method, path);
  if (token.value) request.setRequestHeader("Authorization", `Bearer ${token.value}`);
  return new Promise((resolve, reject) => {
    request.upload.onprogress = ({ loaded, total }) => {
      try { told(loaded / total); } catch (error) { request.abort(); reject(error); }
    };
    request.onerror = () => reject(new Error("the server does not respond"));
    request.onload = () => {
      const { status, response } = request, reason = response?.error ?? `the server answered ${status}`;
      if (status === 200) resolve(response); else reject(Object.assign(new Error(reason), { status }));
    };
    request.send(body);
  });
}
