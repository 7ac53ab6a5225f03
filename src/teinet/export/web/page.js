// The page: a file or the webcam in, what the model says out.

import { Chart, clock, percent } from "./chart.js";
import { Live } from "./live.js";
import { Model, whyNoGpu } from "./model.js";
import { testIndices } from "./sampling.js";
import { Grabber, open, seek, stacked, tables } from "./video.js";

const TOP = 5, CLASSES = 60, ROLLING = 60; // classes in a result and at the start; seconds of the webcam's plot
const $ = id => document.getElementById(id);
const video = $("video"), backend = $("backend"), state = document.documentElement.dataset;
globalThis.teinet = { result: null, live: [] }; // for scripts: the last clip's result, the live scores since the start

const header = await (await fetch("model.json")).json();
const { class_names: names, sampling, card = {} } = header, T = sampling.num_frames;
const model = new Model(header, share => busy(`Loading the model: ${percent(share)}`, share));
const chart = new Chart($("timeline"), names, time => { if (!video.srcObject) video.currentTime = time; });
const live = new Live(model, header, showLive, error => problem(`The model stopped: ${error.message}`));
let job = 0, address = null, clip = null, ready = null;

$("file").onchange = () => { if ($("file").files.length) openFile($("file").files[0]); $("file").value = ""; };
$("camera").onclick = () => video.srcObject ? stopCamera() : startCamera();
backend.onchange = () => { ready = startModel(backend.value); if (clip) ready.then(() => recognize(++job)); };
video.onplay = () => { if (!video.srcObject && clip) live.start(video, clip.matrix); };
for (const type of ["dragenter", "dragover"]) {
  addEventListener(type, event => { event.preventDefault(); document.body.classList.add("over"); });
}
addEventListener("dragleave", event => { if (!event.relatedTarget) document.body.classList.remove("over"); });
addEventListener("drop", event => {
  event.preventDefault();
  document.body.classList.remove("over");
  if (event.dataTransfer.files.length) openFile(event.dataTransfer.files[0]);
});

const busy = (text, share) => say("busy", text, share), idle = text => say("ready", text);
const covers = () => `A score covers the last ${T} frames, ${(T * live.interval).toFixed(1)} s.`;
const device = () => model.backend === "webgpu" ? "the GPU" : `the CPU${model.threads > 1 ? ` (${model.threads} threads)` : ""}`;

/** Fill in what the model is. */
function introduce() {
  const { size, fit } = header.preprocessing, [height, width] = Array.isArray(size) ? size : [size, size];
  document.title = $("title").textContent = card.title ? card.title[0].toUpperCase() + card.title.slice(1) : "Recognize actions";
  $("about").textContent = `A model of ${names.length} classes that looks at ${T} frames of ${width} × ${height} pixels` +
    `${fit === "squash" ? "" : " (the middle of the image)"}. It runs in this browser: no image leaves this device.`;
  const shown = names.slice(0, CLASSES).map(name => made("li", name));
  if (names.length > CLASSES) shown.push(made("li", `and ${names.length - CLASSES} more`));
  $("classes").replaceChildren(...shown);
  const facts = { "Accuracy": card.figures, "Not for": card.not_for, "Trained on": card.data, "License of the model": header.license };
  const lines = Object.entries(facts).filter(([, text]) => text).map(([what, text]) => made("p", `${what}: ${text}.`));
  $("footer").replaceChildren(...lines);
}

/** Start the model on a backend; on the CPU if that fails. */
async function startModel(where) {
  problem("");
  if (video.srcObject) stopCamera();
  live.stop();
  try {
    busy("Loading the model", 0);
    await model.start(where);
  } catch (error) {
    if (error.message === "stopped") return new Promise(() => {}); // another start took its place
    if (where === "wasm") {
      problem(`The model cannot run here: ${error.message}`);
      throw error;
    }
    backend.value = "wasm";
    await startModel("wasm");
    return problem(`The GPU cannot run this model (${error.message}); the CPU does.`);
  }
  if (!clip) idle(job ? "" : "Choose a clip for one answer; play it, or use the webcam, for scores over time. It knows:");
}

/** Show a file and recognize it. */
async function openFile(file) {
  const own = ++job, began = performance.now();
  problem("");
  if (video.srcObject) stopCamera();
  live.stop();
  try {
    busy(`Opening ${file.name}`, 0);
    if (address) URL.revokeObjectURL(address);
    address = URL.createObjectURL(file);
    clip = null;
    for (const part of ["film", "timeline", "label", "scores", "took"]) show($(part), false);
    const probe = await open(address); // of its own, so that the player stays where the user wants it
    const { times, matrix } = await tables(file, probe), indices = testIndices(times.length - 1, sampling);
    const frames = [], grabber = new Grabber(T, matrix);
    for (const [place, index] of indices.entries()) {
      if (own !== job) return;
      busy(`Reading frame ${place + 1} of ${T}`, place / T);
      const same = indices.indexOf(index); // a video of fewer than T frames repeats some
      if (same < place) { frames.push(frames[same]); continue; }
      const shown = await seek(probe, (times[index] + times[index + 1]) / 2);
      frames.push({ ...await grabber.grab(probe), time: times[index], shown, index });
    }
    if (own !== job) return;
    clip = { file, frames, matrix, numFrames: times.length - 1, length: probe.duration, seconds: (performance.now() - began) / 1000 };
    probe.removeAttribute("src");
    show(video, true);
    Object.assign(video, { srcObject: null, src: address, controls: true });
    showFilm(`The ${T} frames that the model saw`, frames);
    showTimeline(clip.length, false, `Play the video to fill this in; click to jump. ${covers()}`);
    await recognize(own);
  } catch (error) {
    if (own !== job) return;
    if (!clip) { show(video, false); video.removeAttribute("src"); }
    problem(`${file.name}: ${error.message}. If another player can show it, convert it first: ffmpeg -i FILE clip.mp4`);
  }
}

/** Run the model on the frames of the file that is open. */
async function recognize(own) {
  const { file, frames, numFrames, length, seconds } = clip;
  try {
    await ready;
    if (own !== job) return;
    busy("Running the model", 1);
    const { scores, logits, ms } = await model.clip(stacked(frames));
    if (own !== job) return;
    globalThis.teinet.result = { path: file.name, scores: [...scores], logits: [...logits], labels: names,
      frame_indices: frames.map(frame => frame.index), times: frames.map(frame => frame.time),
      shown: frames.map(frame => frame.shown), num_frames: numFrames, ms, read_ms: 1000 * seconds, backend: model.backend };
    idle(`${file.name}, ${clock(length)}`);
    showScores(scores);
    $("took").textContent = `${T} of ${numFrames} frames, read in ${seconds.toFixed(1)} s; model ${ms.toFixed(0)} ms on ${device()}`;
    state.state = "done";
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) video.play().catch(() => {}); // scores over time come with it
  } catch (error) {
    if (own === job) problem(`The model stopped: ${error.message}`);
  }
}

async function startCamera() {
  const own = ++job;
  problem("");
  if (!navigator.mediaDevices) return problem("The webcam needs a page from https or localhost.");
  try {
    busy("Starting the webcam", 0);
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, height: { ideal: 480 } } });
    if (own !== job) return stream.getTracks().forEach(track => track.stop());
    clip = null;
    stream.getVideoTracks()[0].onended = () => { stopCamera(); problem("The webcam was disconnected."); };
    Object.assign(video, { srcObject: stream, controls: false });
    show(video, true);
    await Promise.all([video.play(), ready]);
    if (own !== job) return;
    $("camera").textContent = "Stop the webcam";
    showTimeline(ROLLING, true, covers());
    showFilm(`The last ${T} frames that the model saw`, []);
    const began = performance.now();
    live.start(video, undefined, () => (performance.now() - began) / 1000);
    idle(model.header.export.kind === "step" ? "Webcam" : `Webcam: the first answer comes after ${T} frames`);
    state.state = "live";
  } catch (error) {
    if (own !== job) return;
    stopCamera();
    const why = { NotAllowedError: "the browser was not allowed to use it", NotFoundError: "there is none",
      NotReadableError: "another program uses it" }[error.name] ?? error.message;
    problem(`The webcam cannot be used: ${why}.`);
  }
}

function stopCamera() {
  job++;
  live.stop();
  video.srcObject?.getTracks().forEach(track => { track.onended = null; track.stop(); });
  video.srcObject = null;
  $("camera").textContent = "Use the webcam";
  show(video, false);
  idle("");
}

/** Show an answer of a video that plays. */
function showLive({ time, scores, isStart, frames, ms }) {
  globalThis.teinet.live.push({ time, scores });
  chart.add(time, scores, isStart, live.interval / 2);
  const best = scores.indexOf(Math.max(...scores));
  show($("now"), true);
  $("now").textContent = `${names[best]} ${percent(scores[best])}`;
  if (!video.srcObject) return;
  $("status").textContent = "Webcam";
  showScores(scores);
  showFilm(`The last ${T} frames that the model saw`, frames);
  const slow = live.dropped > 0.05 * live.taken ? `; this device is too slow for ${live.dropped} of ${live.taken} frames` : "";
  $("took").textContent = `${ms.toFixed(0)} ms a ${live.steps ? "frame" : "window"} on ${device()}, a frame every ${live.interval.toFixed(2)} s${slow}`;
}

function showScores(scores) {
  const order = [...scores.keys()].sort((a, b) => scores[b] - scores[a]).slice(0, TOP);
  $("label").textContent = names[order[0]];
  for (const part of ["label", "scores", "took"]) show($(part), true);
  show($("classes"), false);
  $("scores").replaceChildren(...order.map(c => {
    const row = made("div", "", "row"), track = made("span", "", "track"), bar = made("span", "", "bar");
    bar.style.width = `${100 * scores[c]}%`;
    track.append(bar);
    row.append(Object.assign(made("span", names[c]), { title: names[c] }), made("span", percent(scores[c]), "n"), track);
    return row;
  }));
}

function showFilm(title, frames) {
  show($("film"), true);
  $("film-title").textContent = title;
  document.querySelector(".frames").replaceChildren(...frames.map(frame => thumbnail(frame.image, frame.time)));
}

function showTimeline(length, rolling, hint) {
  show($("timeline"), true);
  show($("now"), false);
  $("timeline-hint").textContent = hint;
  chart.clear(length, rolling);
  globalThis.teinet.live = [];
}

function thumbnail(image, time) {
  const button = Object.assign(document.createElement("button"), { type: "button", title: "Go to this frame" });
  const copy = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
  copy.getContext("2d").drawImage(image, 0, 0);
  button.append(copy, clock(time, 2));
  button.onclick = () => { if (!video.srcObject) { video.pause(); video.currentTime = time + 1e-3; } };
  return button;
}

function show(element, visible) {
  element.hidden = !visible;
  if (element === video) show($("drop"), !visible);
  if (element === video && !visible) show($("now"), false);
}

function say(what, text, share) {
  state.state = what;
  $("status").textContent = text;
  show($("progress"), share !== undefined);
  $("progress").value = share ?? 0;
}

function problem(text) {
  $("problem").textContent = text;
  show($("problem"), Boolean(text));
  if (text) say("problem", "");
}

function made(tag, text, kind = "") {
  return Object.assign(document.createElement(tag), { textContent: text, className: kind });
}

introduce();
ready = startModel("wasm");
const why = await whyNoGpu();
if (why) Object.assign(backend.options[1], { disabled: true, text: `GPU (${why})` });
