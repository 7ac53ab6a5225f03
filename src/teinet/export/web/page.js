// The page: a file or the webcam in, what the model says out. model.js says where it runs: here, or on a server.

import { Chart, clock, percent } from "./chart.js";
import { Live } from "./live.js";
import { Model } from "./model.js";

const TOP = 5, CLASSES = 60, ROLLING = 60; // classes in a result and at the start; seconds of the webcam's plot
const $ = id => document.getElementById(id);
const video = $("video"), backend = $("backend"), state = document.documentElement.dataset;
globalThis.teinet = { result: null, live: [] }; // for scripts: the last clip's result, the live scores since the start

const busy = (text, share) => say("busy", text, share), idle = text => say("ready", text);
const show = (element, visible) => { element.hidden = !visible; };
const showNothing = () => { for (const part of ["film", "timeline", "label", "scores", "took"]) show($(part), false); };
const made = (tag, text, kind = "") => Object.assign(document.createElement(tag), { textContent: text, className: kind });
const covers = () => `A score covers the last ${T} frames, ${(T * live.interval).toFixed(1)} s.`;
const model = new Model(busy);
let names, T, chart, live, ready, job = 0, file = null, address = null, clip = null;

$("file").onchange = () => { if ($("file").files.length) openFile($("file").files[0]); $("file").value = ""; };
$("camera").onclick = () => video.srcObject ? stopCamera() : startCamera();
backend.onchange = () => { ready = startModel(backend.value); if (file) openFile(file); };
video.onplay = () => { if (!video.srcObject && clip) live.start(video, clip.matrix); };
for (const type of ["dragenter", "dragover", "dragleave", "drop"]) addEventListener(type, event => {
  event.preventDefault();
  document.body.classList.toggle("over", type !== "drop" && (type !== "dragleave" || event.relatedTarget !== null));
  if (type === "drop" && event.dataTransfer.files.length) openFile(event.dataTransfer.files[0]);
});

/** Show what the model is, and no result. */
function introduce(header) {
  const { class_names, preprocessing: { size, fit }, sampling, card, license } = header;
  const [height, width = height] = [size].flat(), title = card?.title || "Recognize actions";
  [names, T] = [class_names, sampling.num_frames];
  chart = new Chart($("timeline"), names, time => { if (!video.srcObject) video.currentTime = time; });
  live = new Live(model, header, showLive, error => problem(`The model stopped: ${error.message}`));
  document.title = $("title").textContent = title[0].toUpperCase() + title.slice(1);
  $("about").textContent = `A model of ${names.length} classes that looks at ${T} frames of ${width} × ${height} pixels` +
    `${fit === "squash" ? "" : " (the middle of the image)"}. ${model.place}`;
  $("promise").textContent = model.promise;
  const shown = names.slice(0, CLASSES).map(name => made("li", name));
  if (names.length > CLASSES) shown.push(made("li", `and ${names.length - CLASSES} more`));
  $("classes").replaceChildren(...shown);
  const facts = { "Accuracy": card?.figures, "Not for": card?.not_for, "Trained on": card?.data, "License of the model": license };
  $("footer").replaceChildren(...Object.entries(facts).flatMap(([what, text]) => text ? made("p", `${what}: ${text}.`) : []));
  showNothing();
  show($("classes"), true);
}

/** Start the model on a backend, on the CPU if the GPU fails; return whether it runs. */
async function startModel(where) {
  problem("");
  if (video.srcObject) stopCamera();
  live?.stop();
  try {
    busy("Loading the model", 0);
    introduce(await model.describe(where));
    await model.start(where);
  } catch (error) {
    if (error.message === "stopped") return false; // another start took its place
    if (where !== "webgpu") return problem(`The model cannot run here: ${error.message}`);
    backend.value = "wasm";
    return await startModel("wasm") && !problem(`The GPU cannot run this model (${error.message}); the CPU does.`);
  }
  if (!file) idle("Choose a clip for one answer; play it, or use the webcam, for scores over time. It knows:");
  return true;
}

/** Show a file and recognize it. */
async function openFile(chosen) {
  if (video.srcObject) stopCamera();
  const own = ++job;
  problem("");
  live?.stop();
  showNothing();
  video.pause();
  if (address) URL.revokeObjectURL(address);
  [file, clip, address] = [chosen, null, URL.createObjectURL(chosen)];
  const told = (text, share) => {
    if (own !== job) throw new Error("stopped");
    busy(text, share);
  };
  try {
    told(`Opening ${chosen.name}`, 0);
    if (!await ready || own !== job) return;
    const found = await model.read(chosen, address, told), { length } = found;
    if (own !== job) return;
    clip = found;
    show(video, Boolean(length));
    if (length) {
      Object.assign(video, { srcObject: null, src: address, controls: true });
      showTimeline(length, false, `Play the video to fill this in; click to jump. ${covers()}`);
    }
    const { scores, logits, frames, numFrames, ms, note } = await model.recognize(clip, told);
    if (own !== job) return;
    const [indices, times, shown] = ["index", "time", "shown"].map(what => frames.map(frame => frame[what]));
    globalThis.teinet.result = { path: chosen.name, scores: [...scores], logits: [...logits], labels: names, times, shown,
      frame_indices: indices, num_frames: numFrames, ms, read_ms: clip.ms, backend: model.backend };
    idle(length ? `${chosen.name}, ${clock(length)}` : chosen.name);
    showScores(scores);
    const images = frames.filter(frame => frame.image);
    if (images.length) showFilm(`The ${frames.length} frames that the model saw`, images);
    $("took").textContent = `${new Set(indices).size} of ${numFrames} frames, ${note}`;
    state.state = "done";
    if (length && !matchMedia("(prefers-reduced-motion: reduce)").matches) video.play().catch(() => {}); // scores over time come with it
  } catch (error) {
    if (own !== job) return;
    file = null;
    if (!clip) show(video, false);
    problem(`${chosen.name}: ${error.message}${clip ? "" : model.unread}`);
  }
}

async function startCamera() {
  const own = ++job;
  problem("");
  file = null;
  if (!navigator.mediaDevices) return problem("The webcam needs a page from https or localhost.");
  try {
    busy("Starting the webcam", 0);
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, height: { ideal: 480 } } });
    if (own !== job) return stream.getTracks().forEach(track => track.stop());
    clip = null;
    showNothing();
    stream.getVideoTracks()[0].onended = () => { stopCamera(); problem("The webcam was disconnected."); };
    Object.assign(video, { srcObject: stream, controls: false });
    show(video, true);
    const [, runs] = await Promise.all([video.play(), ready]);
    if (own !== job) return;
    if (!runs) return stopCamera();
    $("camera").textContent = "Stop the webcam";
    showTimeline(ROLLING, true, covers());
    showFilm(`The last ${T} frames that the model saw`, []);
    const began = performance.now();
    live.start(video, undefined, () => (performance.now() - began) / 1000);
    idle(live.steps ? "Webcam" : `Webcam: the first answer comes after ${T} frames`);
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
  live?.stop();
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
  $("took").textContent = `${ms.toFixed(0)} ms a ${live.steps ? "frame" : "window"} on ${model.device}, a frame every ${live.interval.toFixed(2)} s${slow}`;
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

ready = startModel(backend.value);
