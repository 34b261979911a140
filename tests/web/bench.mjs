/*
 * The process behind `node.py`: calls functions of this file that a test names.
 *
 * Requests and answers are lines of JSON. `{"call": "decode", "arguments": {...}}` calls a function
 * with the arguments; the answer is `{"result": ...}`, or `{"error": {"kind": "file", "message":
 * ...}}` of an AlbertEdgeError, or `{"exception": ...}` with the trace of any other. Before it there
 * may be requests for the outputs of a model, `{"run": ...}`, which the next line is.
 */

import {webcrypto} from 'node:crypto';
import fs from 'node:fs';
import readline from 'node:readline';

import {AlbertEdgeError, tokenizerFromFiles} from '../../web/src/index.js';

globalThis.crypto ??= webcrypto; // Node.js 18 has it behind an option

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

const list = (numbers) => Array.from(numbers);
const tokens = (found) => [list(found.ids), list(found.starts), list(found.ends)];
const encoding = ({input_ids, starts, ends, token_type_ids}) =>
  [input_ids, starts, ends, token_type_ids].map(list);

const FUNCTIONS = {
  /** Makes a tokenizer of `files`, in base64 by name; returns a handle and its properties. */
  loadTokenizer({files}) {
    const tokenizer = tokenizerFromFiles(decoded(files));
    const properties = Object.fromEntries(PROPERTIES.map((name) => [name, tokenizer[name]]));
    return {handle: keep(tokenizer), properties};
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

  /** Returns the seconds that tokenizing a file's text takes, `rounds` times. */
  timeTokenizer({handle, path, rounds}) {
    const text = fs.readFileSync(path, 'utf8');
    return Array.from({length: rounds}, () => {
      const begin = performance.now();
      kept[handle].tokenize(text);
      return (performance.now() - begin) / 1000;
    });
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
