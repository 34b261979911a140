import {fileError} from '../errors.js';
import {CharList, unitsOf} from '../lists.js';
import {isSpace, lower} from '../unicode.js';

/**
 * A token that is found in text before the text is split into pieces.
 *
 * @typedef {object} AddedToken
 * @property {string} content Its name in text.
 * @property {number | null} id Its id, or null for the id of the piece of this name, or else the
 *   next free one.
 * @property {boolean} special Whether `decode` omits it.
 * @property {boolean} named Whether `additional_special_tokens` has it.
 * @property {boolean} normalized As in transformers; see `keepsCase`.
 * @property {boolean} lstrip Whether it includes the white space before it.
 * @property {boolean} rstrip Whether it includes the white space behind it.
 * @property {boolean} singleWord Whether it matches only between spaces.
 */

/** Returns an added token with the defaults of what is not given. */
export const addedToken = (options) => ({
  id: null,
  special: false,
  named: false,
  normalized: true,
  lstrip: false,
  rstrip: false,
  singleWord: false,
  ...options,
});

/**
 * Whether the name in text is not converted to lower case. If it is, a name with capitals is never
 * found by a tokenizer that converts text to lower case.
 */
const keepsCase = (token) => token.named || (token.normalized && !token.special);

/**
 * Gives an id to each added token that has none, as transformers' slow tokenizers do.
 *
 * @param {AddedToken[]} tokens
 * @param {(name: string) => number | undefined} find Returns the id of a piece.
 * @param {number} distinct The number of distinct pieces.
 * @param {(string | null | undefined)[]} unlisted The names of special tokens, for which
 *   transformers takes a new id if they are neither pieces nor added tokens.
 * @param {string} where The name of the file, for error messages.
 * @returns {Map<number, AddedToken>} The tokens by id, in their order.
 */
export function resolveAddedTokens(tokens, find, distinct, unlisted, where) {
  const taken = tokens.filter((token) => token.id !== null).map((token) => token.content);
  const free = [...taken, ...unlisted].filter((name) => name && find(name) === undefined);
  let next = distinct + new Set(free).size;
  const resolved = new Map();
  for (const token of tokens) {
    const id = token.id ?? find(token.content) ?? next++;
    if (resolved.has(id)) {
      const names = tokens.slice(0, 8).map((one) => one.content);
      throw fileError(`${where}: of the added tokens ${names.join(', ')} two have the same id.`);
    }
    resolved.set(id, {...token, id});
  }
  return resolved;
}

/**
 * A part of a text: the index in it of each of its UTF-16 code units, at least one; and its id if
 * it is a token, else undefined.
 *
 * @typedef {{places: number[], text: string, id: number | undefined}} TextPart
 */

/** Splits text at tokens, as `PreTrainedTokenizer.tokenize` of transformers does. */
export class TokenSplitter {
  /**
   * @param {Map<number, AddedToken>} tokens The tokens by id.
   * @param {boolean} doLowerCase Whether the tokenizer converts text to lower case. Then a name in
   *   lower case, such as `<pad>`, matches `<PAD>` too; a name that keeps its case does not.
   */
  constructor(tokens, doLowerCase) {
    this.doLowerCase = doLowerCase;
    this.ids = new Map(Array.from(tokens, ([id, token]) => [token.content, id]));
    this.byName = new Map(Array.from(tokens.values(), (token) => [token.content, token]));
    this.cased = new NameMatcher([...tokens.values()].filter(keepsCase).map((one) => one.content));
    const names = [...this.ids.keys()].sort((one, other) => other.length - one.length);
    this.all = new NameMatcher(names);
    this.longest = names.length === 0 ? 0 : names[0].length;
  }

  /**
   * Returns the parts of a text in order, tokens and what is between them.
   *
   * @param {string} text
   * @returns {TextPart[]}
   */
  split(text) {
    const lowered = this.doLowerCase ? this.#lowerAround(text) : text;
    const parts = [];
    let begin = 0;
    for (let at = 0; at < lowered.length; ) {
      const length = this.all.matchAt(lowered, at);
      if (length === 0) {
        at += unitsOf(lowered.codePointAt(at));
        continue;
      }
      parts.push(range(begin, at), range(at, at + length));
      at += length;
      begin = at;
    }
    parts.push(range(begin, text.length));
    const filled = parts.filter((part) => part.length > 0);
    this.#applyOptions(filled, lowered);
    return filled
      .filter((part) => part.length > 0)
      .map((places) => {
        const name = this.#nameOf(places, lowered);
        const id = name === undefined ? undefined : this.ids.get(name);
        return {places, text: take(text, places), id};
      });
  }

  /** Converts all of a text but some names to lower case; the length stays. */
  #lowerAround(text) {
    const lowered = new CharList(text.length);
    for (let at = 0; at < text.length; ) {
      const length = this.cased.matchAt(text, at);
      for (let index = at; index < at + length; index++) lowered.add(text.charCodeAt(index));
      at += length;
      if (length > 0) continue;
      const codePoint = text.codePointAt(at);
      lowered.addCodePoint(lower(codePoint));
      at += unitsOf(codePoint);
    }
    return lowered.toString();
  }

  /** Moves white space, and tokens that are no single word, to the neighbours of tokens. */
  #applyOptions(parts, text) {
    const isWhite = (place) => isSpace(text.charCodeAt(place));
    for (let at = 0; at < parts.length; at++) {
      const part = parts[at];
      const token = this.byName.get(this.#nameOf(part, text));
      if (token === undefined) continue;
      const left = parts[at - 1] ?? [];
      const right = parts[at + 1] ?? [];
      if (token.rstrip && right.length > 0) {
        const kept = right.findIndex((place) => !isWhite(place));
        parts[at + 1] = kept < 0 ? [] : right.slice(kept);
      }
      if (token.lstrip && left.length > 0) {
        let end = left.length;
        while (end > 0 && isWhite(left[end - 1])) end--;
        parts[at - 1] = left.slice(0, end);
      }
      if (token.singleWord && left.length > 0 && text[left[left.length - 1]] !== ' ') {
        parts[at - 1] = parts[at - 1].concat(part);
        parts[at] = [];
      } else if (token.singleWord && right.length > 0 && text[right[0]] !== ' ') {
        parts[at + 1] = part.concat(parts[at + 1]);
        parts[at] = [];
      }
    }
  }

  /** The text of a part that is short enough to be a token's name. */
  #nameOf(part, text) {
    return part.length <= this.longest ? take(text, part) : undefined;
  }
}

/** Finds names in text; of several that match, the first in the list. */
class NameMatcher {
  #byFirst = new Map();

  /** @param {string[]} names */
  constructor(names) {
    for (const name of names) {
      const first = name.charCodeAt(0);
      if (!this.#byFirst.has(first)) this.#byFirst.set(first, []);
      this.#byFirst.get(first).push(name);
    }
  }

  /** Returns the length of the name at `at`, 0 if there is none. */
  matchAt(text, at) {
    const candidates = this.#byFirst.get(text.charCodeAt(at));
    return candidates?.find((name) => text.startsWith(name, at))?.length ?? 0;
  }
}

const range = (start, end) => Array.from({length: end - start}, (_, at) => start + at);

function take(text, places) {
  const isWhole = places.length > 0 && places[places.length - 1] - places[0] === places.length - 1;
  if (isWhole) return text.slice(places[0], places[0] + places.length);
  return places.map((place) => text[place]).join('');
}
