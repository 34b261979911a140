// What the worker does: it opens one model, and answers questions about texts.
import {
  AlbertEdgeError,
  ModelFile,
  compile,
  cosineSimilarity,
  load,
} from './albert-edge/src/index.js';
import * as litert from './litert/core/index.js';

const WASM_FOLDER = new URL('litert/core/wasm/', import.meta.url).href;
const MOST_THREADS = 4; // more make small models slower
const MOST_VECTORS = 500; // embeddings of texts that are kept

/** The opened model: its file, its pipeline and the embeddings that it has computed. */
let opened = null;
let runsMs = [];

/**
 * Answers a message of the page.
 *
 * @param {{kind: 'open' | 'ask' | 'rank'} & Record<string, any>} message
 * @returns `result`, and `runs_ms`, the time of each run of the model.
 */
export async function answer({kind, ...message}) {
  runsMs = [];
  const result = await {open, ask, rank}[kind](message);
  return {result, runs_ms: runsMs};
}

/**
 * Opens and compiles a model.
 *
 * @param {{source: string | Blob, name: string, accelerator: 'wasm' | 'webgpu'}} message `source`
 *   is an address or a file.
 * @returns What the page shows of the file, and what computes it.
 */
async function open({source, name, accelerator}) {
  const content = typeof source === 'string' ? await fetched(source) : source;
  const file = await ModelFile.open(content, name);
  if (accelerator === 'webgpu') await requireGpu();
  const runtime = await loadRuntime(accelerator);
  const compiled = await compile(file, watched, {accelerator, ...runtime.options});
  const pipe = load(file, timed(compiled.run));
  opened = {pipe, vectors: new Map()};
  return {
    ...{name, task: file.task, labels: file.labels, quantize: file.quantize, target: file.target},
    ...{size_bytes: file.size_bytes, seq_lens: file.seq_lens, max_tokens: pipe.max_tokens},
    computed: {
      accelerator: lastCompiled.options.accelerator,
      isFullyAccelerated: compiled.isFullyAccelerated,
      threads: runtime.threads,
      isCrossOriginIsolated: crossOriginIsolated,
      heap_bytes: litert.getGlobalLiteRt().liteRtWasm.HEAPU8.length,
    },
  };
}

/**
 * Returns a function that runs a model and notes the time; the first run of a signature, which is
 * slower, does not count.
 */
function timed(run) {
  const ran = new Set();
  return async (signature, inputs) => {
    if (!ran.has(signature)) await run(signature, inputs);
    ran.add(signature);
    const began = performance.now();
    const outputs = await run(signature, inputs);
    runsMs.push(performance.now() - began);
    return outputs;
  };
}

async function fetched(address) {
  try {
    return await fetch(address);
  } catch (error) {
    throw new AlbertEdgeError('file', `cannot load the model ${address}: ${error.message}.`);
  }
}

async function requireGpu() {
  if (await navigator.gpu?.requestAdapter()) return;
  const message = 'this browser does not support WebGPU, or finds no GPU for it: choose CPU.';
  throw new AlbertEdgeError('device', message);
}

let lastCompiled = null;

/** LiteRT.js, and the model that it compiled last: for WASM if it did not take WebGPU. */
const watched = {
  ...litert,
  async loadAndCompile(...given) {
    lastCompiled = await litert.loadAndCompile(...given);
    return lastCompiled;
  },
};

/**
 * Loads LiteRT.js: with threads where the page may share memory, with WebAssembly that may wait for
 * the GPU where the browser supports it.
 */
async function loadRuntime(accelerator) {
  const has = async (...names) =>
    (await Promise.all(names.map((name) => litert.supportsFeature(name)))).every(Boolean);
  const isGpu = accelerator === 'webgpu';
  const simd = await has('relaxedSimd');
  const threads = !isGpu && crossOriginIsolated && simd && (await has('threads'));
  const jspi = isGpu && simd && (await has('jspi'));
  const main = new URL('litert_wasm_threaded_internal.js', WASM_FOLDER).href;
  // Emscripten takes the worker's own address for its own unless it is told both.
  self.Module = {
    locateFile: (name) => WASM_FOLDER + name,
    mainScriptUrlOrBlob: main,
    print: (line) => console.debug(line),
    printErr: (line) => console.debug(line), // its log; what fails throws
  };
  await litert.loadLiteRt(WASM_FOLDER, {threads, jspi});
  const count = threads ? Math.min(MOST_THREADS, navigator.hardwareConcurrency) : 1;
  return {threads: count, options: isGpu ? {} : {cpuOptions: {numThreads: count}}};
}

/** Calls the pipeline: `input` is its text or, of a task with several, its options. */
function ask({input, options = {}}) {
  return typeof input === 'string' ? opened.pipe(input, options) : opened.pipe(input);
}

/**
 * Ranks texts by their similarity to another.
 *
 * @param {{query: string, texts: string[]}} message
 * @returns {Promise<{index: number, text: string, cosine: number}[]>} The most similar one first.
 */
async function rank({query, texts}) {
  const vector = await embedding(query);
  const ranked = [];
  for (const [index, text] of texts.entries()) {
    ranked.push({index, text, cosine: cosineSimilarity(vector, await embedding(text))});
  }
  return ranked.sort((one, other) => other.cosine - one.cosine);
}

async function embedding(text) {
  const {vectors} = opened;
  if (!vectors.has(text)) {
    if (vectors.size >= MOST_VECTORS) vectors.delete(vectors.keys().next().value);
    vectors.set(text, (await opened.pipe(text, {pooling: 'mean'})).embedding);
  }
  return vectors.get(text);
}
