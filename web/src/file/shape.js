import {fileError, shown} from '../errors.js';
import {isObject} from '../json.js';

const REQUIRED = [
  'vocab_size',
  'embedding_size',
  'hidden_size',
  'num_hidden_layers',
  'num_attention_heads',
  'intermediate_size',
];
const MAX_INT32 = 0x7fffffff;
const MAX_LABELS = 1_000_000;
const LINE_ENDS = /[\n\r\u000b\u000c\u001c\u001d\u001e\u0085\u2028\u2029]/; // of `str.splitlines`

/**
 * Reads the sizes in a `config.json`; the defaults are those of albert-base-v2.
 *
 * @param {Record<string, any>} config
 * @param {string} where What to call the file in a message.
 * @throws {AlbertEdgeError} A value is missing or out of range.
 */
export function readShape(config, where) {
  const fail = (problem) => {
    throw fileError(`${where}: ${problem}`);
  };
  const number = (name, standard, least = 1) => {
    const stored = config[name] ?? standard;
    if (Number.isInteger(stored) && stored >= least && stored <= MAX_INT32) return stored;
    return fail(`${name} must be a whole number in [${least}, ${MAX_INT32}], not ${shown(stored)}.`);
  };
  checkKind(config, fail);
  const early = config.early_exit ?? false;
  if (typeof early !== 'boolean') fail(`early_exit must be true or false, not ${shown(early)}.`);
  return {
    vocab_size: number('vocab_size', 30000),
    hidden_size: number('hidden_size', 768),
    layers: number('num_hidden_layers', 12),
    max_positions: number('max_position_embeddings', 512),
    type_vocab_size: number('type_vocab_size', 2),
    pad_token_id: config.pad_token_id === -1 ? 0 : number('pad_token_id', 0, 0),
    early_exit: early,
    labels: readLabels(config, number, fail),
  };
}

function checkKind(config, fail) {
  const kind = config.model_type ?? 'albert';
  if (kind !== 'albert') fail(`model_type is ${shown(kind)}, expected 'albert'.`);
  const positions = config.position_embedding_type ?? 'absolute';
  if (positions !== 'absolute') {
    fail(`position_embedding_type ${shown(positions)} is not supported.`);
  }
  const missing = REQUIRED.filter((name) => !(name in config));
  if (missing.length > 0) fail(`no ${missing.join(', ')}; is it an ALBERT's config.json?`);
}

function readLabels(config, number, fail) {
  const stored = config.id2label ?? [];
  const names = Array.isArray(stored) ? stored.map(String) : numbered(stored, fail);
  if (names.length === 0) {
    const count = number('num_labels', 2);
    if (count > MAX_LABELS) fail(`num_labels must be in [1, ${MAX_LABELS}], not ${count}.`);
    return Array.from({length: count}, (_, at) => `LABEL_${at}`);
  }
  if (new Set(names).size < names.length) {
    fail(`labels must be distinct and at least one: ${shown(names)}.`);
  }
  for (const label of names) {
    if (label === '' || LINE_ENDS.test(label)) {
      fail(`the label ${shown(label)} must be one line of text.`);
    }
  }
  return names;
}

function numbered(names, fail) {
  const problem = 'id2label must number the labels 0, 1, 2, ...';
  if (!isObject(names)) fail(problem);
  const byIndex = new Map(Object.entries(names).map(([key, name]) => [Number(key), String(name)]));
  return Array.from({length: Object.keys(names).length}, (_, at) => byIndex.get(at) ?? fail(problem));
}
