/* What tests call in a page: `browser.mjs` passes requests to `answer`. */

import {AlbertEdgeError, ModelFile, compile, load, tokenizerFromFiles} from './albert-edge/src/index.js';
import * as litert from './litert/core/index.js';

const kept = [];
const keep = (value) => kept.push(value) - 1;
const list = (numbers) => Array.from(numbers);
const bytes = (base64) => Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));

/** Returns the bytes of an array in base64. */
function inBase64({buffer, byteOffset, byteLength}) {
  const content = new Uint8Array(buffer, byteOffset, byteLength);
  return btoa(Array.from(content, (byte) => String.fromCharCode(byte)).join(''));
}

/** Returns a result with its vectors in base64. */
function encoded(value) {
  if (value instanceof Float32Array) return {float32: inBase64(value)};
  if (Array.isArray(value)) return value.map(encoded);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, encoded(one)]));
}

const FUNCTIONS = {
  loadTokenizer({files}) {
    const contents = Object.entries(files).map(([name, text]) => [name, bytes(text)]);
    const tokenizer = tokenizerFromFiles(Object.fromEntries(contents));
    return {handle: keep(tokenizer), properties: {}};
  },

  tokenize: ({handle, texts}) =>
    texts.map((text) => {
      const {ids, starts, ends} = kept[handle].tokenize(text);
      return [ids, starts, ends].map(list);
    }),

  /** Compiles a file for an accelerator. */
  async open({url, accelerator}) {
    const file = await ModelFile.open(await fetch(url), url);
    const begin = performance.now();
    const compiled = await compile(file, litert, {accelerator});
    const milliseconds = performance.now() - begin;
    const handle = keep({compiled, pipe: load(file, compiled.run)});
    return {handle, isFullyAccelerated: compiled.isFullyAccelerated, milliseconds};
  },

  close: ({handle}) => kept[handle].compiled.delete(),

  /** Runs the model; returns the outputs by name, in base64. */
  async outputs({handle, ids, types}) {
    const outputs = await kept[handle].pipe.model.run(ids, types);
    const entries = Object.entries(outputs).map(([name, values]) => [name, inBase64(values)]);
    return Object.fromEntries(entries);
  },

  /** Calls the pipeline: each input is its arguments, the last of them options. */
  async callPipeline({handle, inputs}) {
    const results = [];
    for (const given of inputs) results.push(encoded(await kept[handle].pipe(...given)));
    return results;
  },

  /** Runs all tokens of the longest length some times; returns the median, and the heap. */
  async time({handle, ids, runs}) {
    const {pipe} = kept[handle];
    const took = [];
    for (let run = 0; run <= runs; run++) {
      const begin = performance.now();
      await pipe.model.run(ids);
      took.push(performance.now() - begin);
    }
    const [first, ...others] = took;
    others.sort((one, other) => one - other);
    const heapBytes = litert.getGlobalLiteRt().liteRtWasm.HEAPU8.byteLength;
    return {first, median: others[others.length >> 1], heapBytes};
  },
};

await litert.loadLiteRt(new URL('./litert/core/wasm/', location.href).href);
globalThis.answer = async ({call, arguments: given}) => {
  try {
    return {result: (await FUNCTIONS[call](given)) ?? null};
  } catch (error) {
    if (error instanceof AlbertEdgeError) return {error: {kind: error.kind, message: error.message}};
    return {exception: `${error.stack}`};
  }
};
