import {DamagedError, fileError} from './errors.js';
import {decodeUtf8} from './utf8.js';

const MAX_DEPTH = 100;
const SPACE = /[ \t\n\r]*/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?/y;
const WORD = /true|false|null/y;
const WORDS = {true: true, false: false, null: null};
const LONE_SURROGATE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

/**
 * Parses a JSON object as strictly as Python does: `JSON.parse` takes keys that occur twice and
 * halves of surrogate pairs.
 *
 * @param {Uint8Array} content
 * @param {string} where What to call the document in a message.
 * @returns {Record<string, any>}
 * @throws {AlbertEdgeError} It is not JSON, or no object.
 */
export function parseJson(content, where) {
  let value;
  try {
    value = new Parser(decodeUtf8(content)).document();
  } catch (error) {
    if (!(error instanceof DamagedError)) throw error;
    throw fileError(`${where} is not JSON: ${error.message}.`, error);
  }
  if (isObject(value)) return value;
  throw fileError(`${where}: expected a JSON object, got ${pythonType(value)}.`);
}

/** Whether a JSON value is an object. */
export function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function pythonType(value) {
  if (value === null) return 'NoneType';
  if (Array.isArray(value)) return 'list';
  if (typeof value === 'number') return Number.isInteger(value) ? 'int' : 'float';
  return typeof value === 'boolean' ? 'bool' : 'str';
}

class Parser {
  #at = 0;

  /** @param {string} text */
  constructor(text) {
    this.text = text;
  }

  document() {
    const value = this.#value(0);
    if (this.#peek() !== undefined) throw new DamagedError('more follows its end');
    return value;
  }

  /** Returns what a pattern matches here, and goes behind it. */
  #take(pattern) {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  /** Returns the next character behind white space. */
  #peek() {
    this.#take(SPACE);
    return this.text[this.#at];
  }

  #takeMark(mark) {
    if (this.#peek() !== mark) return false;
    this.#at++;
    return true;
  }

  #expect(mark) {
    if (!this.#takeMark(mark)) throw new DamagedError(`${mark} is missing at character ${this.#at}`);
  }

  #value(depth) {
    if (depth > MAX_DEPTH) throw new DamagedError(`it nests deeper than ${MAX_DEPTH}`);
    const next = this.#peek();
    if (next === '{') return this.#object(depth);
    if (next === '[') return this.#array(depth);
    if (next === '"') return this.#string();
    const word = this.#take(WORD);
    if (word !== undefined) return WORDS[word];
    const number = this.#take(NUMBER);
    if (number === undefined) throw new DamagedError(`no value begins at character ${this.#at}`);
    return Number(number);
  }

  #object(depth) {
    const values = Object.create(null);
    this.#expect('{');
    if (this.#takeMark('}')) return values;
    do {
      this.#peek();
      const key = this.#string();
      if (key in values) throw new DamagedError(`the key '${key}' occurs twice`);
      this.#expect(':');
      values[key] = this.#value(depth + 1);
    } while (this.#takeMark(','));
    this.#expect('}');
    return values;
  }

  #array(depth) {
    const values = [];
    this.#expect('[');
    if (this.#takeMark(']')) return values;
    do values.push(this.#value(depth + 1));
    while (this.#takeMark(','));
    this.#expect(']');
    return values;
  }

  #string() {
    const found = this.#take(STRING);
    if (found === undefined) throw new DamagedError(`no string begins at character ${this.#at}`);
    const text = JSON.parse(found);
    if (LONE_SURROGATE.test(text)) {
      throw new DamagedError('it contains a lone surrogate, which is not a character');
    }
    return text;
  }
}
