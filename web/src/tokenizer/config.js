import {fileError} from '../errors.js';
import {isObject, parseJson} from '../json.js';
import {addedToken} from './added_tokens.js';

export const SPIECE_FILE = 'spiece.model';
export const VOCAB_FILE = 'vocab.txt';
export const CONFIG_FILE = 'tokenizer_config.json';
const ADDED_FILE = 'added_tokens.json';
const SPECIAL_FILE = 'special_tokens_map.json';
const EXTRA = 'additional_special_tokens';
const LEAST_LENGTH = 5; // of two texts, with three special tokens
const MAX_INT = 0x7fffffff;
const ALBERT_CLASSES = ['AlbertTokenizer', 'AlbertTokenizerFast', 'PreTrainedTokenizerFast'];
const NAMES = ['cls_token', 'sep_token', 'pad_token', 'mask_token', 'bos_token', 'eos_token'];

const SENTENCE_PIECE = {
  flags: ['do_lower_case', 'remove_space', 'keep_accents'],
  names: NAMES,
  classes: ALBERT_CLASSES,
  isFixed: {sp_model_kwargs: (value) => isObject(value) && Object.keys(value).length === 0},
  fixed: {sp_model_kwargs: '{}'},
  defaults: {
    cls_token: '[CLS]',
    sep_token: '[SEP]',
    pad_token: '<pad>',
    mask_token: '[MASK]',
    bos_token: '[CLS]',
    eos_token: '[SEP]',
  },
};

// The configuration of an ALBERT with a WordPiece vocabulary can name ALBERT's tokenizer.
const WORD_PIECE = {
  flags: ['do_lower_case', 'tokenize_chinese_chars', 'strip_accents'],
  names: [...NAMES, 'unk_token'],
  classes: ['BertTokenizer', 'BertTokenizerFast', ...ALBERT_CLASSES],
  isFixed: {
    do_basic_tokenize: (value) => value === true,
    never_split: (value) => Array.isArray(value) && value.length === 0,
  },
  fixed: {do_basic_tokenize: 'True', never_split: '[]'},
  defaults: {
    cls_token: '[CLS]',
    sep_token: '[SEP]',
    pad_token: '[PAD]',
    mask_token: '[MASK]',
    unk_token: '[UNK]',
  },
};

// Keys that change the ids in transformers, and the values with which they do not.
const FIXED = {
  split_special_tokens: [false],
  truncation_side: ['right', 'left'],
  padding_side: ['right'], // otherwise padding moves the positions of the tokens
};

/**
 * The options of a tokenizer: the entries of a `tokenizer_config.json` that change how text becomes
 * ids.
 *
 * They are read with the other files that can add or rename tokens, `special_tokens_map.json` and
 * `added_tokens.json`, in the order of the slow tokenizers of transformers 4:
 * `added_tokens_decoder`, if there is one, replaces both.
 *
 * @typedef {object} TokenizerConfig
 * @property {boolean} do_lower_case
 * @property {boolean} remove_space Whether to replace runs of white space by one space, and to strip
 *   both ends.
 * @property {boolean} keep_accents Whether to keep compatibility characters (NFKD) and combining
 *   marks.
 * @property {boolean} tokenize_chinese_chars Whether to treat every Chinese character as a word.
 * @property {boolean} strip_accents Whether WordPiece removes combining marks.
 * @property {Record<string, string>} names The names of special tokens by role, such as `cls_token`.
 * @property {'left' | 'right'} truncation_side The end at which a text that is too long is cut.
 * @property {number | null} model_max_length The number of tokens to which a text is truncated,
 *   special ones included; null for as many as the model has positions.
 * @property {import('./added_tokens.js').AddedToken[]} addedTokens The tokens that are found in text.
 */

/**
 * Reads the options of SentencePiece.
 *
 * @param {Record<string, Uint8Array>} files Contents by name; only those of JSON files are read.
 * @param {string} where
 * @returns {TokenizerConfig}
 * @throws {AlbertEdgeError} A file is invalid, or has an option that is not supported.
 */
export const readSentencePieceConfig = (files, where) => readConfig(files, where, SENTENCE_PIECE);

/** Reads the options of WordPiece; see `readSentencePieceConfig`. */
export const readWordPieceConfig = (files, where) => readConfig(files, where, WORD_PIECE);

function readConfig(files, where, kind) {
  const stated = readFile(files, CONFIG_FILE, where);
  const place = `${CONFIG_FILE} in ${where}`;
  checkSupported(stated, kind, place);
  checkSpelling(stated, kind, place);
  const decoder = stated.added_tokens_decoder ?? null;
  if (decoder === null) mergeSpecial(stated, readFile(files, SPECIAL_FILE, where));
  const extra = additionalTokens(stated, place);
  const flags = checkedAll(kind.flags, stated, 'boolean', 'true or false', place);
  const named = checkedAll(kind.names, stated, 'string', 'a string', place);
  const special = new Set([...Object.values(named), ...extra.keys()]);
  const found =
    decoder === null ? legacyAdded(files, where, special) : addedById(decoder, place);
  return {
    do_lower_case: true,
    remove_space: true,
    keep_accents: false,
    tokenize_chinese_chars: true,
    strip_accents: flags.do_lower_case ?? true,
    ...flags,
    names: {...kind.defaults, ...named},
    truncation_side: stated.truncation_side === 'left' ? 'left' : 'right',
    model_max_length: maxLength(stated.model_max_length ?? stated.max_len ?? null, place),
    addedTokens: allAdded(extra, found, where),
  };
}

function readFile(files, name, where) {
  return Object.hasOwn(files, name) ? parseJson(files[name], `${name} in ${where}`) : {};
}

function checkSupported(stated, kind, place) {
  const name = stated.tokenizer_class ?? '';
  if (name !== '' && !kind.classes.includes(name)) {
    throw fileError(
      `${place}: tokenizer_class is ${quoted(name)}, expected one of ${kind.classes.join(', ')}.`,
    );
  }
  for (const [key, isFixed] of Object.entries(kind.isFixed)) {
    const value = stated[key] ?? null;
    if (value !== null && !isFixed(value)) {
      throw fileError(
        `${place}: ${key} ${quoted(value)} is not supported, only ${kind.fixed[key]}.`,
      );
    }
  }
  for (const [key, values] of Object.entries(FIXED)) {
    const value = stated[key] ?? null;
    if (value !== null && !values.includes(value)) {
      const choices = values.map(quoted).join(' or ');
      throw fileError(`${place}: ${key} ${quoted(value)} is not supported, only ${choices}.`);
    }
  }
  const inputs = stated.model_input_names;
  if (Array.isArray(inputs) && !inputs.includes('token_type_ids')) {
    throw fileError(
      `${place}: model_input_names without token_type_ids is not supported: ALBERT's second text ` +
        'is of type 1.',
    );
  }
}

function checkSpelling(stated, kind, place) {
  const known = [...kind.flags, ...kind.names, 'truncation_side', 'model_max_length', 'added_tokens'];
  for (const key of Object.keys(stated)) {
    if (known.includes(key)) continue;
    const near = known.find((name) => !(name in stated) && similarity(key, name) >= 0.9);
    if (near !== undefined) {
      throw fileError(`${place}: unknown key '${key}'; did you mean '${near}'?`);
    }
  }
}

/** How similar two keys are, in [0, 1], as `difflib.SequenceMatcher.ratio` measures it. */
const similarity = (one, two) => (2 * matching(one, two)) / (one.length + two.length);

/** The number of characters in common: the longest common part, and those around it. */
function matching(one, two) {
  let best = 0;
  let first = 0;
  let second = 0;
  for (let a = 0; a < one.length; a++) {
    for (let b = 0; b < two.length; b++) {
      let size = 0;
      while (a + size < one.length && one[a + size] === two[b + size]) size++;
      if (size > best) [best, first, second] = [size, a, b];
    }
  }
  if (best === 0) return 0;
  const before = matching(one.slice(0, first), two.slice(0, second));
  return best + before + matching(one.slice(first + best), two.slice(second + best));
}

/** Lets the tokens of a `special_tokens_map.json` replace those of `tokenizer_config.json`. */
function mergeSpecial(stated, special) {
  for (const [key, value] of Object.entries(special)) {
    const before = Array.isArray(stated[EXTRA]) ? stated[EXTRA] : [];
    const isMerged = key === EXTRA && Array.isArray(value);
    stated[key] = isMerged ? [...before, ...value.filter((one) => !before.includes(one))] : value;
  }
}

function additionalTokens(stated, place) {
  const names = stated[EXTRA] ?? [];
  const extra = stated.extra_special_tokens ?? {};
  if (!Array.isArray(names) || !isObject(extra)) {
    const wrong = Array.isArray(names) ? extra : names;
    throw fileError(`${place}: ${EXTRA} must be a list: ${quoted(wrong)}.`);
  }
  const tokens = [...names, ...Object.values(extra)].map((value) => ({
    ...readToken(value, null, place, true),
    named: true,
  }));
  return new Map(tokens.map((token) => [token.content, token]));
}

/** Returns all added tokens; an entry with an id determines how a token matches. */
function allAdded(extra, found, where) {
  const byName = new Map(extra);
  for (const token of found) {
    byName.set(token.content, {...token, named: extra.has(token.content)});
  }
  if (new Set(found.map((token) => token.content)).size < found.length) {
    throw fileError(`${where}: two added tokens have the same name.`);
  }
  return [...byName.values()];
}

function addedById(decoder, place) {
  if (!isObject(decoder)) {
    throw fileError(`${place}: added_tokens_decoder must be an object: ${quoted(decoder)}.`);
  }
  const found = new Map();
  for (const [key, value] of Object.entries(decoder)) {
    const id = tokenId(key, place);
    found.set(id, readToken(value, id, place, false));
  }
  return [...found.values()];
}

/** Returns the tokens of `added_tokens.json`. */
function legacyAdded(files, where, special) {
  const place = `${ADDED_FILE} in ${where}`;
  const found = new Map();
  for (const [name, value] of Object.entries(readFile(files, ADDED_FILE, where))) {
    const id = tokenId(value, place);
    if (found.has(id)) throw fileError(`${place}: two tokens have the id ${id}.`);
    found.set(id, readToken(name, id, place, special.has(name)));
  }
  return [...found.values()];
}

function readToken(value, id, place, isSpecial) {
  const values = isObject(value) ? value : {content: value};
  const content = values.content;
  if (typeof content !== 'string') {
    throw fileError(`${place}: the name of an added token must be a string: ${quoted(content)}.`);
  }
  if (content === '') throw fileError(`${place}: an added token has an empty name.`);
  const special = isSpecial || isTrue(values.special);
  const normalized = values.normalized ?? null;
  return addedToken({
    content,
    id,
    special,
    normalized: normalized === null ? !special : isTrue(normalized),
    lstrip: isTrue(values.lstrip),
    rstrip: isTrue(values.rstrip),
    singleWord: isTrue(values.single_word),
  });
}

function tokenId(value, place) {
  const isName = typeof value === 'string' && /^[0-9]{1,10}$/.test(value);
  const id = isName ? Number(value) : value;
  if (!Number.isInteger(id) || id < 0 || id >= MAX_INT) {
    throw fileError(`${place}: ${quoted(value)} is not the id of an added token.`);
  }
  return id;
}

/** Returns a `model_max_length`; null for one without a limit, 1e30 in transformers. */
function maxLength(value, place) {
  if (value === null) return null;
  if (typeof value !== 'number' || value < LEAST_LENGTH) {
    throw fileError(
      `${place}: model_max_length must be a number of at least ${LEAST_LENGTH}, the special ` +
        `tokens included: ${quoted(value)}.`,
    );
  }
  return value < MAX_INT ? Math.floor(value) : null;
}

/** Returns the values of those `keys` that are stated. */
function checkedAll(keys, stated, type, kind, place) {
  const found = {};
  for (const key of keys) {
    // The value of a token is its name, or an object with its name and how it matches text.
    const value = (isObject(stated[key]) ? stated[key].content : stated[key]) ?? null;
    if (value === null) continue;
    if (typeof value !== type) {
      throw fileError(`${place}: ${key} must be ${kind}: ${quoted(value)}.`);
    }
    found[key] = value;
  }
  return found;
}

/** Whether a JSON value is true in Python. */
function isTrue(value) {
  if (Array.isArray(value)) return value.length > 0;
  return isObject(value) ? Object.keys(value).length > 0 : Boolean(value);
}

function quoted(value) {
  return typeof value === 'string' ? `'${value}'` : JSON.stringify(value);
}
