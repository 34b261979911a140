import {DamagedError} from '../errors.js';

const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

/**
 * Reads the fields of a protocol buffer message, in the order of the file.
 *
 * After `next`, `number` is the field's number in the schema; `value` a whole number, if it is one;
 * and `start` and `end` are where the bytes of a string, a message or a number of 4 or 8 bytes are.
 */
export class FieldReader {
  #at;
  #stop;
  #type = VARINT;
  number = 0;
  value = 0;
  start = 0;
  end = 0;

  /**
   * @param {Uint8Array} bytes
   * @param {number} [start]
   * @param {number} [stop]
   */
  constructor(bytes, start = 0, stop = bytes.length) {
    this.bytes = bytes;
    this.#at = start;
    this.#stop = stop;
  }

  get isVarint() {
    return this.#type === VARINT;
  }

  get isFixed32() {
    return this.#type === FIXED32;
  }

  get isBytes() {
    return this.#type === LENGTH_DELIMITED;
  }

  /**
   * Goes to the next field; returns whether there is one.
   *
   * @throws {DamagedError} The bytes are not a message.
   */
  next() {
    if (this.#at === this.#stop) return false;
    const begin = this.#at;
    const tag = this.#varint();
    this.number = Math.floor(tag / 8);
    this.#type = tag % 8;
    if (this.number === 0 || tag >= 2 ** 32) throw new DamagedError('a field has no number');
    if (this.#type === VARINT) this.value = this.#varint();
    else this.#skip(this.#sizeOf(begin));
    return true;
  }

  /** Returns the bytes of this field. */
  content() {
    return this.bytes.subarray(this.start, this.end);
  }

  /** Returns a reader of the message in this field. */
  message() {
    return new FieldReader(this.bytes, this.start, this.end);
  }

  #sizeOf(begin) {
    if (this.#type === LENGTH_DELIMITED) return this.#varint();
    if (this.#type === FIXED32) return 4;
    if (this.#type === FIXED64) return 8;
    throw new DamagedError(`there is no valid field at byte ${begin}`);
  }

  #skip(size) {
    if (size > this.#stop - this.#at) throw new DamagedError('a field is cut short');
    this.start = this.#at;
    this.end = this.#at + size;
    this.#at = this.end;
  }

  /** Reads a whole number; one of more than 53 bits is not exact, which no caller needs. */
  #varint() {
    let value = 0;
    let scale = 1;
    const most = Math.min(this.#stop, this.#at + 10);
    while (this.#at < most) {
      const byte = this.bytes[this.#at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
      scale *= 128;
    }
    throw new DamagedError('a number is cut short');
  }
}
