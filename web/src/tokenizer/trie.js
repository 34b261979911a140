import {DamagedError} from '../errors.js';

export const NONE = -1;
export const ROOT = 0;
const MOST_NODES = 1 << 24;
const STRIDE = 4; // of an edge: its node, its unit, the node behind it (0 for none), and padding

/**
 * A trie over UTF-16 code units, in which texts have values of at least 0.
 *
 * Its edges are in one hash table with open addressing, so that a text is found with one look at
 * memory a unit, and 30,000 pieces are added in milliseconds.
 */
export class Trie {
  #edges;
  #mask;
  #values;
  #nodes = 1;

  /** @param {number} units About how many units all texts have. */
  constructor(units) {
    this.#allocate(Math.max(64, 2 ** Math.ceil(Math.log2(units + 1)) * 2));
    this.#values = new Int32Array(Math.max(16, units >> 1)).fill(NONE);
  }

  #allocate(size) {
    this.#edges = new Int32Array(STRIDE * size);
    this.#mask = size - 1;
  }

  /**
   * Gives a value to a text; returns the one that it had, or `NONE`.
   *
   * @param {string} text
   * @param {number} value
   * @throws {DamagedError} The texts are too many.
   */
  put(text, value) {
    this.#reserve(text.length);
    let node = ROOT;
    for (let at = 0; at < text.length; at++) node = this.#child(node, text.charCodeAt(at));
    const before = this.#values[node];
    this.#values[node] = value;
    return before;
  }

  /** Returns the node behind `node` by `unit`, made if there is none. */
  #child(node, unit) {
    const edges = this.#edges;
    const at = this.#find(node, unit);
    if (edges[at + 2] === 0) {
      edges[at] = node;
      edges[at + 1] = unit;
      edges[at + 2] = this.#nodes++;
    }
    return edges[at + 2];
  }

  /** Returns where the edge of `node` by `unit` is, or is to be. */
  #find(node, unit) {
    const edges = this.#edges;
    let slot = hash(node, unit) & this.#mask;
    for (;;) {
      const at = slot * STRIDE;
      if (edges[at + 2] === 0 || (edges[at] === node && edges[at + 1] === unit)) return at;
      slot = (slot + 1) & this.#mask;
    }
  }

  /** Returns the node behind `node` by `unit`, or `NONE`. */
  next(node, unit) {
    return this.#edges[this.#find(node, unit) + 2] || NONE;
  }

  /** Returns the value of the text that leads to `node`, or `NONE`. */
  value(node) {
    return this.#values[node];
  }

  /** Returns the node to which a text leads, or `NONE`. */
  find(text) {
    let node = ROOT;
    for (let at = 0; at < text.length && node !== NONE; at++) {
      node = this.next(node, text.charCodeAt(at));
    }
    return node;
  }

  /** Returns the value of a text, or `NONE`. */
  get(text) {
    const node = this.find(text);
    return node === NONE ? NONE : this.#values[node];
  }

  /** Makes room for so many nodes more; at least half of the edges stay empty. */
  #reserve(count) {
    const most = this.#nodes + count;
    if (most > MOST_NODES) throw new DamagedError('it has too many pieces');
    if (most > this.#values.length) {
      const larger = new Int32Array(Math.max(most, 2 * this.#values.length)).fill(NONE);
      larger.set(this.#values);
      this.#values = larger;
    }
    if (2 * most <= this.#mask + 1) return;
    const old = this.#edges;
    this.#allocate(2 ** Math.ceil(Math.log2(most)) * 4);
    for (let at = 0; at < old.length; at += STRIDE) {
      if (old[at + 2] === 0) continue;
      this.#edges.set(old.subarray(at, at + STRIDE), this.#find(old[at], old[at + 1]));
    }
  }
}

function hash(node, unit) {
  const mixed = Math.imul(node, 0x9e3779b1) ^ Math.imul(unit, 0x85ebca6b);
  return mixed ^ (mixed >>> 15);
}
