/*
 * The process behind `node.py`: calls functions of this file that a test names.
 *
 * Requests and answers are lines of JSON. `{"call": "decode", "arguments": {...}}` calls a function
 * with the arguments; the answer is `{"result": ...}`, or `{"error": {"kind": "file", "message":
 * ...}}` of an AlbertEdgeError, or `{"exception": ...}` with the trace of any other. Before it there
 * may be requests for the outputs of a model, `{"run": ...}`, which the next line is.
 */

import {createHash} from 'node:crypto';
import fs from 'node:fs';
import readline from 'node:readline';

import {
  AlbertEdgeError,
  Model,
  ModelFile,
  compile,
  cosineSimilarity,
  load,
  tokenizerFromFiles,
} from '../../web/src/index.js';

const kept = [];
const lines = readline.createInterface({input: process.stdin})[Symbol.asyncIterator]();

const keep = (value) => kept.push(value) - 1;

const PROPERTIES = [
  'vocab_size',
  'piece_count',
  'cls_id',
  'sep_id',
  'pad_id',
  'unk_id',
  'mask_id',
  'do_lower_case',
  'truncation_side',
  'model_max_length',
];

function decoded(files) {
  const entries = Object.entries(files);
  return Object.fromEntries(entries.map(([name, text]) => [name, Buffer.from(text, 'base64')]));
}

/** Returns what a function returns, or the AlbertEdgeError that it throws. */
function attempt(call) {
  try {
    return call();
  } catch (error) {
    return shownError(error);
  }
}

function shownError(error) {
  if (!(error instanceof AlbertEdgeError)) throw error;
  return {kind: error.kind, message: error.message};
}

/** Returns the CPU time of this process, of all its threads. */
function cpuSeconds() {
  const {user, system} = process.cpuUsage();
  return (user + system) / 1e6;
}

const list = (numbers) => Array.from(numbers);
const tokens = (found) => [list(found.ids), list(found.starts), list(found.ends)];
const encoding = ({input_ids, starts, ends, token_type_ids}) =>
  [input_ids, starts, ends, token_type_ids].map(list);

const readBytes = (path) => new Uint8Array(fs.readFileSync(path));
const openFile = (path) => ModelFile.open(readBytes(path), path);

/** Asks the test for the outputs of a model. */
async function run(signature, inputs) {
  const shown = Object.entries(inputs).map(([name, values]) => [name, list(values)]);
  write({run: {signature, inputs: Object.fromEntries(shown)}});
  const {value: line} = await lines.next();
  const outputs = Object.entries(JSON.parse(line)).map(([name, {type, base64}]) => {
    const {buffer} = Uint8Array.from(Buffer.from(base64, 'base64'));
    return [name, type === 'int32' ? new Int32Array(buffer) : new Float32Array(buffer)];
  });
  return Object.fromEntries(outputs);
}

/** Returns a result with its vectors in base64. */
function encoded(value) {
  if (value instanceof Float32Array) {
    return {float32: Buffer.from(value.slice().buffer).toString('base64')};
  }
  if (Array.isArray(value)) return value.map(encoded);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, encoded(one)]));
}

const FUNCTIONS = {
  /** Makes a tokenizer of `files`, in base64 by name; returns a handle and its properties. */
  loadTokenizer({files}) {
    const contents = decoded(files);
    const begin = cpuSeconds();
    const tokenizer = tokenizerFromFiles(contents);
    const milliseconds = 1000 * (cpuSeconds() - begin);
    const properties = Object.fromEntries(PROPERTIES.map((name) => [name, tokenizer[name]]));
    return {handle: keep(tokenizer), milliseconds, properties};
  },

  tokenize: ({handle, texts}) =>
    texts.map((text) => attempt(() => tokens(kept[handle].tokenize(text)))),

  tokenizePart: ({handle, texts, most}) =>
    texts.map((text) => tokens(kept[handle].tokenizePart(text, most))),

  encode: ({handle, calls}) =>
    calls.map(({text, pair = null, ...options}) =>
      attempt(() => encoding(kept[handle].encode(text, pair, options))),
    ),

  windows: ({handle, calls}) =>
    calls.map(({question, context, ...options}) =>
      attempt(() => kept[handle].windows(question, context, options).map(encoding)),
    ),

  pieces: ({handle}) =>
    Array.from({length: kept[handle].vocab_size}, (_, id) => kept[handle].idToPiece(id)),

  decode: ({handle, lists}) => lists.map((ids) => attempt(() => kept[handle].decode(ids))),

  /** Tokenizes a text by each of `candidates`, files; returns the ids, or the file error's message. */
  tryAll: ({candidates, text}) =>
    candidates.map((files) => {
      try {
        return list(tokenizerFromFiles(decoded(files)).tokenize(text).ids);
      } catch (error) {
        const {kind, message} = shownError(error);
        if (kind !== 'file') throw error;
        return message;
      }
    }),

  /** Opens files; returns the error of each, or null. */
  async openErrors({paths}) {
    const errors = [];
    for (const path of paths) {
      errors.push(await openFile(path).then(() => null, shownError));
    }
    return errors;
  },

  /** Opens a file in each of the forms in which a page has one; returns what they say of it. */
  async openForms({path}) {
    const bytes = readBytes(path);
    const forms = [bytes, bytes.buffer, new Blob([bytes]), new Response(bytes)];
    const within = new Uint8Array(bytes.length + 3);
    within.set(bytes, 3);
    forms.push(within.subarray(3));
    const files = await Promise.all(forms.map((form) => ModelFile.open(form)));
    return files.map(({name, task, size_bytes, model}) => [name, task, size_bytes, model.length]);
  },

  /** Returns the error of opening what is no file. */
  async openOdd() {
    const missing = new Response('', {status: 404, statusText: 'Not Found'});
    const broken = {name: 'a file', arrayBuffer: () => Promise.reject(new Error('it is gone'))};
    const odd = ['model.tflite', null, 3, missing, broken];
    return Promise.all(odd.map((one) => ModelFile.open(one).then(() => null, shownError)));
  },

  async describe({path}) {
    const {tokenizer_files, model, ...described} = await openFile(path);
    const file = await openFile(path);
    const sizes = Object.entries(tokenizer_files).map(([name, content]) => [name, content.length]);
    return {
      ...described,
      model_bytes: model.length,
      tokenizer_files: Object.fromEntries(sizes),
      members: Object.fromEntries(
        file.member_names.map((name) => [name, Buffer.from(file.member(name)).toString('base64')]),
      ),
    };
  },

  /** Opens a file as a function from text to its result. */
  openPipeline: async ({path, task}) => keep(load(await openFile(path), run, {task})),

  /** Calls it: each input is its arguments, the last of them options. */
  async callPipeline({handle, inputs}) {
    const results = [];
    for (const given of inputs) {
      results.push(await kept[handle](...given).then(encoded, (e) => ({error: shownError(e)})));
    }
    return results;
  },

  /** Runs a model on ids whose runtime returns `outputs`, numbers by name. */
  async runModel({path, outputs, ids, types}) {
    const arrays = Object.entries(outputs).map(([name, one]) => [name, Float32Array.from(one)]);
    const model = new Model(await openFile(path), () => Object.fromEntries(arrays));
    const found = await model.run(ids, types);
    return Object.fromEntries(Object.entries(found).map(([name, one]) => [name, list(one)]));
  },

  /** Calls a pipeline at once; returns how many calls were in the runtime at the same time. */
  async callAtOnce({path, texts}) {
    let [inside, most] = [0, 0];
    const file = await openFile(path);
    const pipe = load(file, async () => {
      most = Math.max(most, ++inside);
      await new Promise((resolve) => setTimeout(resolve, 1));
      inside--;
      return {logits: Float32Array.of(1, 2), layers_used: Int32Array.of(1)};
    });
    await Promise.all(texts.map((text) => pipe(text)));
    return most;
  },

  /** Returns why a file cannot be compiled for a page. */
  compileError: async ({path, ...options}) =>
    compile(await openFile(path), {}, options).then(() => null, shownError),

  cosine: ({first, second}) => cosineSimilarity(first, second),

  /** Tokenizes texts in rounds of at least a second; returns the seconds that each took for them. */
  timeTokenizer({handle, texts, rounds}) {
    const tokenizer = kept[handle];
    const seconds = Array.from({length: rounds}, () => {
      const begin = cpuSeconds();
      let passes = 0;
      for (; passes === 0 || cpuSeconds() - begin < 1; passes++) {
        for (const text of texts) tokenizer.tokenize(text);
      }
      return (cpuSeconds() - begin) / passes;
    });
    const hash = createHash('sha256');
    let tokens = 0;
    for (const text of texts) {
      const {ids} = tokenizer.tokenize(text);
      hash.update(Buffer.from(ids.buffer).swap32());
      tokens += ids.length;
    }
    return {seconds, tokens, sha256: hash.digest('hex')};
  },
};

async function answer({call, arguments: given}) {
  try {
    return {result: (await FUNCTIONS[call](given)) ?? null};
  } catch (error) {
    if (error instanceof AlbertEdgeError) return {error: shownError(error)};
    return {exception: error.stack};
  }
}

/** Writes ASCII only: a half of a surrogate pair has no other form. */
function write(message) {
  const escape = (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
  process.stdout.write(`${JSON.stringify(message).replace(/[\u007f-\uffff]/g, escape)}\n`);
}

for (;;) {
  const {value: line, done} = await lines.next();
  if (done) break;
  write(await answer(JSON.parse(line)));
}
