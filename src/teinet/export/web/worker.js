// Runs the model in a thread of its own, so that the page stays alive. Answers { id, result } or { id, error }.

import { meanScores } from "./sampling.js";

const RUNTIMES = {
  wasm: { script: "runtime/ort.wasm.min.js", module: "runtime/ort-wasm-simd-threaded.js",
    binary: "runtime/ort-wasm-simd-threaded.wasm" },
  webgpu: { script: "runtime/ort.webgpu.min.js", module: "runtime/ort-wasm-simd-threaded.asyncify.js",
    binary: "runtime/ort-wasm-simd-threaded.asyncify.wasm" },
};
let ort, session, state;

const actions = {
  /** Load the runtime and the model. */
  async load({ backend, model }) {
    const files = RUNTIMES[backend], here = file => new URL(file, import.meta.url).href;
    ort = await import(here(files.script));
    const [binary, weights] = await download([files.binary, "model.onnx"].map(here), model.bytes);
    ort.env.wasm.wasmPaths = { mjs: here(files.module) };
    ort.env.wasm.wasmBinary = binary;
    session = await ort.InferenceSession.create(weights, { executionProviders: [backend], logSeverityLevel: 3 });
    return { threads: ort.env.wasm.numThreads };
  },

  /** Return the scores of one clip (1, T, H, W, 3). */
  async clip({ pixels, shape }) {
    if (session.inputNames.length > 1) {
      const { rows } = await advance(pixels, shape, initState());
      return { logits: rows.flatMap(row => [...row]), scores: meanScores(rows) };
    }
    const { scores, logits } = await session.run({ frames: new ort.Tensor("uint8", pixels, shape) });
    return { scores: scores.data, logits: logits.data };
  },

  /** Take the next K frames (1, K, H, W, 3) of a stream; return the logits of each. */
  async step({ pixels, shape, reset }) {
    const { rows, next } = await advance(pixels, shape, reset || !state ? initState() : state);
    state = next;
    return { rows };
  },
};

/** Return the logits of each of the K frames after a state, and the next state. */
async function advance(pixels, [, count, ...size], before) {
  const next = session.outputNames.filter(name => name.startsWith("next_")), at = pixels.length / count, rows = [];
  for (let k = 0; k < count; k++) {
    const frames = new ort.Tensor("uint8", pixels.subarray(k * at, (k + 1) * at), [1, ...size]);
    const outputs = await session.run({ frames, ...before });
    rows.push(outputs.logits.data);
    before = Object.fromEntries(session.inputNames.slice(1).map((name, i) => [name, outputs[next[i]]]));
  }
  return { rows, next: before };
}

/** Return the state before the first frame, zeros. */
function initState() {
  const zeros = shape => new ort.Tensor("float32", new Float32Array(shape.reduce((a, b) => a * b)), shape);
  return Object.fromEntries(session.inputMetadata.slice(1).map(({ name, shape: [, ...rest] }) => [name, zeros([1, ...rest])]));
}

/** Fetch files at once and tell the page how much of them is here; `sizes` in bytes by name. */
async function download(addresses, sizes) {
  const known = addresses.map(address => sizes[address.split("/").at(-1)]), total = known.reduce((a, b) => a + b);
  let got = 0;
  return Promise.all(addresses.map(async (address, i) => {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(`${address.split("/").at(-1)} is missing on the server (${answer.status})`);
    const bytes = new Uint8Array(known[i]), reader = answer.body.getReader();
    for (let at = 0, part; !(part = await reader.read()).done; at += part.value.length) {
      if (at + part.value.length > bytes.length) throw new Error(`${address.split("/").at(-1)} is not that of this page`);
      bytes.set(part.value, at);
      postMessage({ progress: (got += part.value.length) / total });
    }
    return bytes;
  }));
}

let turn = Promise.resolve(); // one at a time, in order
onmessage = ({ data: { id, action, ...values } }) => {
  turn = turn.then(async () => {
    const began = performance.now();
    try {
      const result = await actions[action](values);
      postMessage({ id, result: { ...result, ms: performance.now() - began } });
    } catch (error) {
      postMessage({ id, error: String(error?.message ?? error) });
    }
  });
};
