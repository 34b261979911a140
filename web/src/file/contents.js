import {AlbertEdgeError, fileError, printable, shown} from '../errors.js';
import {earlyExit} from '../early_exit.js';
import {isObject, parseJson} from '../json.js';
import {TASKS} from '../tasks.js';
import {encodeUtf8} from '../utf8.js';
import {readShape} from './shape.js';

export const MANIFEST = 'albert_edge.json';
const CONFIG = 'config.json';
const LABELS = 'labels.txt';
const FORMAT_VERSION = 3; // of host graphs of the target edgetpu, which no page runs
const ALIGNMENT = 64;
const MAX_QUOTED = 200;
const LAYOUTS = ['loop', 'unrolled', 'split'];
const DIGEST = /^[0-9a-f]{64}$/;

/**
 * Reads what is in an archive, with the checks of `albert_edge.bundle` in Python.
 *
 * @param {import('./archive.js').Archive} archive
 * @param {string} where What to call the file in a message.
 * @throws {AlbertEdgeError} The file is damaged, incomplete, contradictory or newer.
 */
export function readContents({members, frontBytes}, where) {
  const manifest = parseJson(member(members, MANIFEST, where), `${where} is damaged: ${MANIFEST}`);
  checkVersion(manifest, where);
  const {offset, size_bytes: size} = extent(manifest, where);
  if (frontBytes !== offset + Math.ceil(size / ALIGNMENT) * ALIGNMENT) {
    throw fileError(`${where} is damaged: its model does not have the size in ${MANIFEST}.`);
  }
  const config = parseJson(member(members, CONFIG, where), `${where} is damaged: ${CONFIG}`);
  const tokenizer_files = readTokenizerFiles(manifest, members, where);
  const task = requiredText(manifest, 'task', where);
  if (!Object.hasOwn(TASKS, task)) {
    const choices = Object.keys(TASKS).join(', ');
    throw fileError(`${where}: unknown task ${shown(task)}; choose from ${choices}.`);
  }
  const shape = readShape(config, where);
  const contents = {
    task,
    layout: requiredText(manifest, 'layout', where),
    quantize: requiredText(manifest, 'quantize', where),
    target: 'target' in manifest ? requiredText(manifest, 'target', where) : 'cpu',
    seq_lens: readLengths(manifest, shape.max_positions, where),
    config,
    shape,
    manifest,
    early_exit: readEarlyExit(manifest, where),
    tokenizer_files,
  };
  checkAgreement(contents, where);
  if (TASKS[task].hasLabels) checkLabels(member(members, LABELS, where), shape.labels, where);
  return contents;
}

function member(members, name, where) {
  const found = members.get(name);
  if (found !== undefined) return found;
  throw fileError(
    `${where} is incomplete: there is no ${printable(name)} in it. Convert the model with ` +
      'albert_edge.',
  );
}

function checkVersion(manifest, where) {
  const version = manifest.format_version;
  if (!Number.isInteger(version)) {
    throw fileError(`${where} is damaged: its format version is ${shown(version)}.`);
  }
  if (version > FORMAT_VERSION) {
    throw fileError(
      `${where} was written by albert_edge ${printable(String(manifest.written_by))}, format ` +
        `${version}; this version reads formats up to ${FORMAT_VERSION}: upgrade the package ` +
        'albert-edge in this page.',
    );
  }
}

function extent(manifest, where) {
  const {model} = manifest;
  const isSize = (value) => Number.isSafeInteger(value) && value > 0;
  if (isObject(model) && isSize(model.offset) && isSize(model.size_bytes)) return model;
  throw fileError(`${where} is damaged: ${MANIFEST} does not state offset and size of the model.`);
}

/**
 * Returns the digest in a manifest.
 *
 * @throws {AlbertEdgeError} There is none.
 */
export function storedDigest(manifest, where) {
  const {sha256} = manifest.model;
  if (sha256 === undefined) {
    throw fileError(
      `${where} was written by albert_edge ${printable(String(manifest.written_by))} without a ` +
        'digest, so it cannot be checked here. Convert the checkpoint again: albert-edge convert ' +
        'CHECKPOINT --target web.',
    );
  }
  return typeof sha256 === 'string' && DIGEST.test(sha256) ? sha256 : null;
}

function readTokenizerFiles(manifest, members, where) {
  const names = manifest.tokenizer_files;
  if (!Array.isArray(names)) {
    throw fileError(`${where} is damaged: ${MANIFEST} does not list the tokenizer's files.`);
  }
  const found = Object.create(null);
  for (const name of names.map(String)) {
    const isReserved = [MANIFEST, CONFIG, LABELS, '', '.', '..'].includes(name);
    if (isReserved || /[/\\]/.test(name)) {
      throw fileError(`${where}: a tokenizer file cannot be called '${printable(name)}'.`);
    }
    found[name] = member(members, name, where);
  }
  return found;
}

function requiredText(manifest, key, where) {
  if (!(key in manifest)) throw fileError(`${where} is incomplete: ${MANIFEST} has no '${key}'.`);
  const value = manifest[key];
  const isEmpty = value === '' && key !== 'target';
  if (typeof value !== 'string' || isEmpty || printable(value) !== value) {
    throw fileError(`${where}: ${key} must be a name, not ${shown(value)}.`);
  }
  return value;
}

/** Returns the fixed lengths, ascending; none if the file takes any length. */
function readLengths(manifest, most, where) {
  if (!('seq_len' in manifest)) {
    throw fileError(`${where} is incomplete: ${MANIFEST} has no 'seq_len'.`);
  }
  const longest = manifest.seq_len;
  if (longest !== null && !(Number.isInteger(longest) && longest >= 1 && longest <= most)) {
    throw fileError(`${where}: seq_len must be None or in [1, ${most}], not ${shown(longest)}.`);
  }
  const several = manifest.seq_lens; // not in files of 0.1
  if (!Array.isArray(several) || several.length < 2) return longest === null ? [] : [longest];
  const ascends =
    several.every((length, at) => Number.isInteger(length) && length > (several[at - 1] ?? 0)) &&
    several[several.length - 1] === longest;
  if (ascends) return several;
  throw fileError(
    `${where}: seq_lens must ascend to seq_len ${shown(longest)}, not be ${shown(several)}.`,
  );
}

function readEarlyExit(manifest, where) {
  const stored = manifest.early_exit ?? null;
  if (stored === null) return null;
  const {patience, threshold} = isObject(stored) ? stored : {};
  if (typeof patience !== 'number' || typeof threshold !== 'number') {
    throw fileError(`${where}: early_exit cannot be ${shown(stored)}.`);
  }
  try {
    return earlyExit(stored);
  } catch (error) {
    if (error instanceof AlbertEdgeError) throw fileError(`${where}: ${error.message}`, error);
    throw error;
  }
}

function checkAgreement({layout, seq_lens, shape, manifest, early_exit}, where) {
  if (!LAYOUTS.includes(layout)) {
    const choices = LAYOUTS.join(', ');
    throw fileError(`${where}: unknown layout ${shown(layout)}; choose from ${choices}.`);
  }
  if (seq_lens.length > 1 && layout !== 'unrolled') {
    throw fileError(`${where}: layout ${layout} has one length, not ${shown(seq_lens)}.`);
  }
  const isExpected = shape.early_exit && layout !== 'unrolled';
  if ((early_exit !== null) !== isExpected) {
    throw fileError(
      `${where}: in layout ${layout} with early_exit ${shown(shape.early_exit)} in the ` +
        `configuration, early_exit cannot be ${shown(manifest.early_exit)}.`,
    );
  }
}

function checkLabels(content, labels, where) {
  const isContent = (names) => {
    const expected = encodeUtf8(names.map((name) => `${name}\n`).join(''));
    return (
      expected.length === content.length && expected.every((byte, at) => byte === content[at])
    );
  };
  if (isContent(labels.map(printable)) || isContent(labels)) return;
  const found = printable(new TextDecoder().decode(content).slice(0, MAX_QUOTED));
  const listed = labels.map(printable).join(', ').slice(0, MAX_QUOTED);
  throw fileError(
    `${where} contradicts itself: ${LABELS} says b'${found}', ${CONFIG} says ${listed}.`,
  );
}
