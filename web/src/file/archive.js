import {DamagedError, fileError, printable, shownBytes} from '../errors.js';
import {decodeUtf8} from '../utf8.js';

const MAX_ARCHIVE_BYTES = 2 ** 26; // 64 MiB, as in Python
const HEAD_BYTES = 2 ** 16; // contains everything that the writer puts before the model
const END_SIGNATURE = 0x06054b50;
const ENTRY_SIGNATURE = 0x02014b50;
const LOCAL_SIGNATURE = 0x04034b50;
const END_BYTES = 22;
const ENTRY_BYTES = 46;
const LOCAL_BYTES = 30;
const UTF8_NAMES = 0x800;

/**
 * The uncompressed zip archive behind a model, read as strictly as it is written: its files by name,
 * in the order of their names, and how many bytes stand before it: the model and its TFLite Metadata.
 *
 * @typedef {{members: Map<string, Uint8Array>, frontBytes: number}} Archive
 */

/**
 * Reads the archive of a whole file.
 *
 * @param {Uint8Array} content The file.
 * @param {string} where What to call it in a message.
 * @returns {Archive}
 * @throws {AlbertEdgeError} It is not one of our files, or is damaged.
 */
export function readArchive(content, where) {
  const view = new DataView(content.buffer, content.byteOffset, content.length);
  checkHead(content, view, where);
  try {
    return readMembers(content, view, where);
  } catch (error) {
    if (error instanceof RangeError) {
      throw fileError(`${where} is damaged: its archive points beyond the file.`, error);
    }
    throw error;
  }
}

function checkHead(content, view, where) {
  const begins = content.subarray(0, 8);
  if (latin1(begins.subarray(4)) !== 'TFL3') {
    throw fileError(`${where} is not a .tflite file: it begins with ${shownBytes(begins)}.`);
  }
  const end = content.length - END_BYTES;
  if (end >= 0 && view.getUint32(end, true) === END_SIGNATURE) return;
  if (latin1(content.subarray(0, HEAD_BYTES)).includes('TFLITE_METADATA')) {
    throw fileError(`${where} is cut short: the files behind its model are missing.`);
  }
  throw fileError(
    `${where} has no configuration in it (no TFLite Metadata archive): it is cut short or was not ` +
      'made by albert_edge. Convert the checkpoint with albert_edge.',
  );
}

const latin1 = (bytes) => new TextDecoder('latin1').decode(bytes);

function readMembers(content, view, where) {
  const end = content.length - END_BYTES;
  const count = view.getUint16(end + 10, true);
  const directory = view.getUint32(end + 16, true);
  const isWhole =
    view.getUint32(end + 4, true) === 0 && // of one disk
    view.getUint16(end + 8, true) === count &&
    view.getUint16(end + 20, true) === 0 && // no comment
    directory + view.getUint32(end + 12, true) === end;
  const entries = [];
  let at = directory;
  for (let left = isWhole ? count : 0; left > 0; left--) {
    const entry = readEntry(content, view, at, where);
    entries.push(entry);
    at += ENTRY_BYTES + entry.rawName.length;
  }
  if (!isWhole || at !== end) {
    throw fileError(`${where} is damaged: the directory of its archive is.`);
  }
  checkMembers(entries, where);
  const frontBytes = entries[0]?.at ?? directory;
  let next = frontBytes;
  const members = [];
  for (const entry of entries) {
    // One behind the other, as they are written.
    if (entry.at !== next) throw fileError(`${where} is damaged: its archive has a gap.`);
    members.push([entry.name, readMember(content, view, entry, where)]);
    next += LOCAL_BYTES + entry.rawName.length + entry.size;
  }
  if (next !== directory) throw fileError(`${where} is damaged: its archive has a gap.`);
  return {members: new Map(members.sort(([one], [other]) => compareNames(one, other))), frontBytes};
}

/** Reads an entry of the central directory. */
function readEntry(content, view, at, where) {
  const size = view.getUint32(at + 24, true);
  const rawName = bytesAt(content, at + ENTRY_BYTES, view.getUint16(at + 28, true));
  const isPlain =
    view.getUint32(at, true) === ENTRY_SIGNATURE &&
    (view.getUint16(at + 8, true) & ~UTF8_NAMES) === 0 && // not encrypted
    view.getUint16(at + 30, true) === 0 && // no extra fields
    view.getUint16(at + 32, true) === 0 && // no comment
    view.getUint16(at + 34, true) === 0;
  if (!isPlain) throw fileError(`${where} is damaged: the directory of its archive is.`);
  const name = decodeName(rawName, where);
  if (view.getUint16(at + 10, true) !== 0 || view.getUint32(at + 20, true) !== size) {
    throw fileError(
      `${where}: ${printable(name)} is compressed; TFLite Metadata files are stored plain.`,
    );
  }
  const crc = view.getUint32(at + 16, true);
  return {name, rawName, crc, size, at: view.getUint32(at + 42, true)};
}

function decodeName(rawName, where) {
  try {
    return decodeUtf8(rawName);
  } catch (error) {
    if (!(error instanceof DamagedError)) throw error;
    throw fileError(`${where} is damaged: a name in its archive is not UTF-8.`, error);
  }
}

function checkMembers(entries, where) {
  const names = entries.map((entry) => entry.name);
  const twice = new Set(names.filter((name, at) => names.indexOf(name) !== at));
  if (twice.size > 0) {
    const listed = [...twice].sort(compareNames).map(printable).join(', ');
    throw fileError(`${where} is damaged: it holds ${listed} twice.`);
  }
  const total = entries.reduce((sum, entry) => sum + entry.size, 0);
  if (total > MAX_ARCHIVE_BYTES) {
    throw fileError(
      `${where} holds ${total} bytes of files; at most ${MAX_ARCHIVE_BYTES} are read.`,
    );
  }
}

function readMember(content, view, entry, where) {
  const {at, rawName, size, crc} = entry;
  const name = bytesAt(content, at + LOCAL_BYTES, rawName.length);
  const isSame =
    view.getUint32(at, true) === LOCAL_SIGNATURE &&
    (view.getUint16(at + 6, true) & ~UTF8_NAMES) === 0 &&
    view.getUint16(at + 8, true) === 0 &&
    view.getUint32(at + 14, true) === crc &&
    view.getUint32(at + 18, true) === size &&
    view.getUint32(at + 22, true) === size &&
    view.getUint16(at + 26, true) === rawName.length &&
    view.getUint16(at + 28, true) === 0 &&
    rawName.every((byte, index) => byte === name[index]);
  if (!isSame) {
    throw fileError(`${where} is damaged: its archive contradicts itself on ${printable(entry.name)}.`);
  }
  const member = bytesAt(content, at + LOCAL_BYTES + rawName.length, size);
  if (crc32(member) !== crc) {
    throw fileError(`${where} is damaged: Bad CRC-32 for file '${printable(entry.name)}'.`);
  }
  return member.slice();
}

function bytesAt(content, at, size) {
  if (at + size > content.length) throw new RangeError('the bytes are beyond the file');
  return content.subarray(at, at + size);
}

/** Compares names by their code points, as Python does. */
export function compareNames(one, other) {
  const [a, b] = [Array.from(one), Array.from(other)];
  const at = a.findIndex((char, index) => char !== b[index]);
  if (at < 0) return a.length - b.length;
  return at < b.length ? a[at].codePointAt(0) - b[at].codePointAt(0) : 1;
}

const CRC_TABLE = Int32Array.from({length: 256}, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}
