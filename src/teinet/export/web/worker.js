// Runs the model in a thread of its own, so that the page stays alive. Answers { id, result } or { id, error }.

const RUNTIMES = {
  wasm: { script: "runtime/ort.wasm.min.js", module: "runtime/ort-wasm-simd-threaded.js",
    binary: "runtime/ort-wasm-simd-threaded.wasm" },
  webgpu: { script: "runtime/ort.webgpu.min.js", module: "runtime/ort-wasm-simd-threaded.asyncify.js",
    binary: "runtime/ort-wasm-simd-threaded.asyncify.wasm" },
};
let ort, session, header, states;

const actions = {
  /** Load the runtime and the model. */
  async load({ backend, model }) {
    header = model;
    const files = RUNTIMES[backend], here = file => new URL(file, import.meta.url).href;
    ort = await import(here(files.script));
    const [binary, weights] = await download([files.binary, "model.onnx"].map(here), header.bytes);
    ort.env.logLevel = "error";
    ort.env.wasm.wasmPaths = { mjs: here(files.module) };
    ort.env.wasm.wasmBinary = binary;
    session = await ort.InferenceSession.create(weights, { executionProviders: [backend] });
    return { threads: ort.env.wasm.numThreads };
  },

  /** Return the scores of one clip (1, T, H, W, 3). */
  async clip({ pixels, shape }) {
    const feeds = { frames: new ort.Tensor("uint8", pixels, shape) };
    const { scores, logits } = await session.run(header.export.kind === "step" ? { ...feeds, ...initState() } : feeds);
    return { scores: scores.data, logits: logits.data };
  },

  /** Take the next K frames (1, K, H, W, 3) of a stream; return the logits (K, classes), flat. */
  async step({ pixels, shape, reset }) {
    if (reset || !states) states = initState();
    const outputs = await session.run({ frames: new ort.Tensor("uint8", pixels, shape), ...states });
    states = Object.fromEntries(Object.keys(states).map(name => [name, outputs[name.replace("state", "next")]]));
    return { logits: outputs.logits.data };
  },
};

/** Return the state before the first frame. */
function initState() {
  const zeros = shape => new ort.Tensor("float32", new Float32Array(shape.reduce((a, b) => a * b, 1)), [1, ...shape]);
  return Object.fromEntries(header.export.states.map((shape, i) => [`state_${i}`, zeros(shape)]));
}

/** Fetch files at once and tell the page how much of them is here; `sizes` in bytes by name. */
async function download(addresses, sizes) {
  const known = addresses.map(address => sizes[address.split("/").at(-1)]);
  const total = known.reduce((a, b) => a + b);
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
