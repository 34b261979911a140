import {deviceError, fileError} from './errors.js';

const SCALARS = ['patience', 'threshold', 'max_layers'];

/**
 * A model that LiteRT.js has compiled.
 *
 * @typedef {object} Compiled
 * @property {import('./model.js').Run} run What `load` takes.
 * @property {boolean} isFullyAccelerated Whether the accelerator runs all of it, as LiteRT.js says.
 * @property {() => void} delete Frees its memory, which no garbage collector does.
 */

/**
 * Compiles a file's model by LiteRT.js.
 *
 * ```js
 * import * as litert from '@litertjs/core';
 * await litert.loadLiteRt('node_modules/@litertjs/core/wasm/');
 * const {run} = await compile(await ModelFile.open(await fetch('m.tflite')), litert);
 * ```
 *
 * @param {import('./file/model_file.js').ModelFile} file One of fixed lengths.
 * @param {any} litert The module `@litertjs/core`, whose `loadLiteRt` has ended.
 * @param {object} [options] Those of its `loadAndCompile`, such as `accelerator`: `wasm` (the
 *   default), or `webgpu`, which runs all of a file of `--target web`.
 * @returns {Promise<Compiled>}
 * @throws {AlbertEdgeError} The file is for another target, or LiteRT.js does not compile it.
 */
export async function compile(file, litert, options = {}) {
  const chosen = {accelerator: 'wasm', ...options};
  checkForm(file, chosen.accelerator);
  let model;
  try {
    model = await litert.loadAndCompile(file.model, chosen);
  } catch (error) {
    throw deviceError(`LiteRT.js cannot compile ${file.name}: ${lineOf(error)}.`, error);
  }
  const run = async (signature, inputs) => {
    try {
      return await runOnce(litert, model, signature, inputs);
    } catch (error) {
      const {length} = inputs.input_ids;
      throw deviceError(`LiteRT.js failed on ${length} tokens: ${lineOf(error)}.`, error);
    }
  };
  return {run, isFullyAccelerated: model.isFullyAccelerated, delete: () => model.delete()};
}

const AGAIN = 'Convert the checkpoint again: albert-edge convert CHECKPOINT --target web';

function checkForm(file, accelerator) {
  let form = null;
  if (file.layout === 'split') form = 'its layout is split';
  else if (file.seq_lens.length === 0) form = 'it takes inputs of any length';
  if (form !== null) {
    throw fileError(
      `${file.name} cannot run in a web page: ${form}, and LiteRT.js runs whole files of fixed ` +
        `lengths. ${AGAIN}.`,
    );
  }
  if (file.target === 'mediapipe') {
    throw fileError(
      `${file.name} was made with --target mediapipe, for MediaPipe Tasks and Task Library, which ` +
        `read other outputs. ${AGAIN}.`,
    );
  }
  if (accelerator === 'wasm') return;
  // GPUs compute the graph for CPUs wrong, without an error.
  const isRight = ['web', 'gpu'].includes(file.target) && file.layout === 'unrolled';
  if (isRight) return;
  const what = `layout ${file.layout}, for the target ${file.target}`;
  throw fileError(
    `${file.name} runs in web pages on WebAssembly only: it has ${what}. ${AGAIN}, or choose the ` +
      'accelerator wasm.',
  );
}

/** Runs a signature; copies the outputs, and frees all tensors. */
async function runOnce(litert, model, signature, inputs) {
  const tensors = {};
  let outputs = {};
  try {
    for (const [name, values] of Object.entries(inputs)) {
      const shape = SCALARS.includes(name) ? [1] : [1, values.length];
      tensors[name] = new litert.Tensor(values, shape);
    }
    const runner = model.signatures[signature] ?? model;
    outputs = await runner.run(tensors);
    const found = {};
    for (const [name, tensor] of Object.entries(outputs)) found[name] = (await tensor.data()).slice();
    return found;
  } finally {
    for (const tensor of [...Object.values(tensors), ...Object.values(outputs)]) {
      if (!tensor.deleted) tensor.delete();
    }
  }
}

/** A message of another program: on one line, without its full stop. */
function lineOf(error) {
  const text = error instanceof Error ? error.message : String(error);
  return text.trim().replace(/\s+/g, ' ').replace(/\.$/, '');
}
