import {deviceError, fileError, inputError} from '../errors.js';
import {encodeUtf8} from '../utf8.js';
import {readArchive} from './archive.js';
import {MANIFEST, readContents, storedDigest} from './contents.js';

/**
 * An open `.tflite` file of `albert-edge convert`: the model, and all that is in the file beside it.
 *
 * It is checked when it is opened: the archive behind the model, the manifest, and the SHA-256 of
 * all of it. So a damaged file, one of another program, or one of a newer version is refused before
 * a runtime reads it.
 *
 * ```js
 * const file = await ModelFile.open(await fetch('sentiment.tflite'));
 * file.task; // "classification"
 * ```
 */
export class ModelFile {
  #members;

  /** Use `ModelFile.open`. */
  constructor(name, content, archive, contents) {
    /** What it is called in messages. */
    this.name = name;
    /** The size of the file. */
    this.size_bytes = content.length;
    /** The model with its TFLite Metadata, without the archive, as a runtime takes it. */
    this.model = content.subarray(0, archive.frontBytes);
    /** One of the eight tasks, such as `classification`. */
    this.task = contents.task;
    /** The label of each class; in files of tasks without labels they mean nothing. */
    this.labels = contents.shape.labels;
    /** Where it is to run: `cpu`, `gpu`, `android`, `web`, or a target of a later version. */
    this.target = contents.target;
    /** How it runs the passes: `loop`, `unrolled` or `split`. */
    this.layout = contents.layout;
    /** The recipe's name, such as `int8`. */
    this.quantize = contents.quantize;
    /** The fixed lengths in tokens, ascending; empty if it takes any length up to `max_tokens`. */
    this.seq_lens = contents.seq_lens;
    /** The longest input in tokens, special tokens included. */
    this.max_tokens = contents.seq_lens.at(-1) ?? contents.shape.max_positions;
    /** V, the number of token ids. */
    this.vocab_size = contents.shape.vocab_size;
    /** The number of token type ids. */
    this.type_vocab_size = contents.shape.type_vocab_size;
    /** H, the width of the hidden states. */
    this.hidden_size = contents.shape.hidden_size;
    /** The id of padding. */
    this.pad_token_id = contents.shape.pad_token_id;
    /** `config.json`, in Hugging Face's form. */
    this.config = contents.config;
    /** `albert_edge.json`: how the file was made. */
    this.manifest = contents.manifest;
    /** The file's own rule of early exit; null if it always runs all passes. */
    this.early_exit = contents.early_exit;
    /** The tokenizer's files by name; empty if there is none. */
    this.tokenizer_files = contents.tokenizer_files;
    this.#members = archive.members;
  }

  /** Returns the content of a file in the archive, such as `config.json`; undefined if none. */
  member(name) {
    return this.#members.get(name)?.slice();
  }

  /** The names of the files in the archive. */
  get member_names() {
    return [...this.#members.keys()];
  }

  /**
   * Opens the content of a file.
   *
   * @param {ArrayBuffer | Uint8Array | Blob | Response} source A buffer, which must not be changed
   *   afterwards; a file that the user chose; or what `fetch` returns.
   * @param {string} [name] What to call it in messages; its own name or address if left out.
   * @returns {Promise<ModelFile>}
   * @throws {AlbertEdgeError} The file is missing, damaged, of another program or newer than this
   *   package; or the page cannot compute a SHA-256.
   */
  static async open(source, name = nameOf(source)) {
    const content = await bytesOf(source, name);
    const archive = readArchive(content, name);
    const contents = readContents(archive, name);
    const stored = storedDigest(contents.manifest, name);
    if (stored === null || (await digest(content, archive, stored)) !== stored) {
      throw fileError(
        `${name} is damaged: it is not as it was written (its SHA-256 differs). Copy or convert ` +
          'it again.',
      );
    }
    return new ModelFile(name, content, archive, contents);
  }
}

function nameOf(source) {
  const own = source?.url || source?.name;
  return typeof own === 'string' && own !== '' ? own : 'the model';
}

async function bytesOf(source, name) {
  if (source instanceof Uint8Array) return source;
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  if (typeof source?.arrayBuffer !== 'function') {
    throw inputError(
      'a model is given as an ArrayBuffer, a Uint8Array, a Blob or a Response of fetch.',
    );
  }
  if (source.ok === false) {
    const status = `${source.status} ${source.statusText}`.trim();
    throw fileError(`cannot read ${name}: the server answered ${status}.`);
  }
  try {
    return new Uint8Array(await source.arrayBuffer());
  } catch (error) {
    throw fileError(`cannot read ${name}: ${error.message}.`, error);
  }
}

/** Returns the SHA-256 as the writer computes it: zeros stand for the manifest's own digest. */
async function digest(content, {members, frontBytes}, stored) {
  if (globalThis.crypto?.subtle === undefined) {
    throw deviceError(
      'this page cannot compute a SHA-256, by which files are checked: serve it by https, or from ' +
        'localhost.',
    );
  }
  const parts = [content.subarray(0, frontBytes)];
  for (const [name, member] of members) {
    const hashed = name === MANIFEST ? unsealed(member, stored) : member;
    parts.push(encodeUtf8(`${name}\0${hashed.length}\0`), hashed);
  }
  const hash = await globalThis.crypto.subtle.digest('SHA-256', joined(parts));
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

function unsealed(manifest, stored) {
  const text = new TextDecoder().decode(manifest);
  return encodeUtf8(text.replace(stored, '0'.repeat(stored.length)));
}

function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
