import {DamagedError} from '../errors.js';

const LENGTH_DELIMITED = 2;
const SIZES = {1: 8, 5: 4};

/**
 * A field of a protocol buffer message: its number in the schema, and its value: a whole number, or
 * the bytes of a string, a message or a number of 4 or 8 bytes.
 *
 * @typedef {{number: number, value: number | Uint8Array, isFixed32: boolean, isBytes: boolean}} Field
 */

/**
 * Yields the fields of a message, in the order of the file.
 *
 * @param {Uint8Array} message
 * @returns {Generator<Field>}
 * @throws {DamagedError} The bytes are not a message.
 */
export function* parseFields(message) {
  let at = 0;
  while (at < message.length) {
    const start = at;
    const [tag, behindTag] = readVarint(message, at);
    const number = Math.floor(tag / 8);
    const type = tag % 8;
    if (number === 0 || tag >= 2 ** 32) throw new DamagedError('a field has no number');
    let value;
    if (type === 0) {
      [value, at] = readVarint(message, behindTag);
    } else {
      let size = SIZES[type];
      at = behindTag;
      if (type === LENGTH_DELIMITED) [size, at] = readVarint(message, at);
      if (size === undefined) throw new DamagedError(`there is no valid field at byte ${start}`);
      if (size > message.length - at) throw new DamagedError('a field is cut short');
      value = message.subarray(at, at + size);
      at += size;
    }
    yield {number, value, isFixed32: type === 5, isBytes: type === LENGTH_DELIMITED};
  }
}

/** Reads a whole number; one of more than 53 bits is not exact, which no caller needs. */
function readVarint(message, start) {
  let value = 0;
  let scale = 1;
  for (let at = start; at < message.length && at < start + 10; at++) {
    value += (message[at] & 127) * scale;
    if (message[at] < 128) return [value, at + 1];
    scale *= 128;
  }
  throw new DamagedError('a number is cut short');
}
