import {DamagedError} from './errors.js';

const strict = new TextDecoder('utf-8', {fatal: true, ignoreBOM: true});
const encoder = new TextEncoder();
// The least code point of each length in UTF-8; a smaller one has a shorter form.
const LEAST = [0, 0, 0x80, 0x800, 0x10000];

/** @param {string} text @returns {Uint8Array} */
export const encodeUtf8 = (text) => encoder.encode(text);

/**
 * Decodes UTF-8; a byte order mark stays.
 *
 * @param {Uint8Array} bytes
 * @throws {DamagedError} It is not UTF-8.
 */
export function decodeUtf8(bytes) {
  try {
    return strict.decode(bytes);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new DamagedError(`byte ${badByte(bytes)} is not UTF-8 text`);
  }
}

/** @param {Uint8Array} bytes Which are not UTF-8. */
function badByte(bytes) {
  let at = 0;
  while (at < bytes.length) {
    const length = lengthAt(bytes, at);
    if (length === 0) return at;
    at += length;
  }
  return at;
}

/** Returns how many bytes the character at `at` has; 0 if it is none. */
function lengthAt(bytes, at) {
  const lead = bytes[at];
  if (lead < 0x80) return 1;
  const length = lead >> 5 === 6 ? 2 : lead >> 4 === 14 ? 3 : lead >> 3 === 30 ? 4 : 0;
  if (length === 0 || at + length > bytes.length) return 0;
  let codePoint = lead & (0x7f >> length);
  for (let next = at + 1; next < at + length; next++) {
    if ((bytes[next] & 0xc0) !== 0x80) return 0;
    codePoint = (codePoint << 6) | (bytes[next] & 0x3f);
  }
  const isSurrogate = codePoint >= 0xd800 && codePoint <= 0xdfff;
  return codePoint < LEAST[length] || codePoint > 0x10ffff || isSurrogate ? 0 : length;
}
