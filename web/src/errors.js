/** The package's only error: its message says what is wrong, and what to do. */
export class AlbertEdgeError extends Error {
  /**
   * @param {'file' | 'input' | 'device'} kind What is at fault: `file`, which is missing, damaged,
   *   of another program, for another task or target, or newer; `input`, a text, its ids or an
   *   option; `device`, the runtime or the browser.
   * @param {string} message
   * @param {{cause?: unknown}} [options]
   */
  constructor(kind, message, options) {
    super(message, options);
    this.name = 'AlbertEdgeError';
    this.kind = kind;
  }
}

/** @param {string} message @param {unknown} [cause] */
export const fileError = (message, cause) => new AlbertEdgeError('file', message, {cause});

/** @param {string} message @param {unknown} [cause] */
export const inputError = (message, cause) => new AlbertEdgeError('input', message, {cause});

/** @param {string} message @param {unknown} [cause] */
export const deviceError = (message, cause) => new AlbertEdgeError('device', message, {cause});

/** What is encoded is damaged; whoever knows the file's name makes a file error of it. */
export class DamagedError extends Error {}

/**
 * Returns the result of a function; a `DamagedError` becomes a file error.
 *
 * @template T
 * @param {string} beginning Of the message.
 * @param {() => T} read
 * @returns {T}
 */
export function orFileError(beginning, read) {
  try {
    return read();
  } catch (error) {
    if (error instanceof DamagedError) throw fileError(`${beginning}: ${error.message}.`, error);
    throw error;
  }
}

const ESCAPED = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g;
const SHORT = {'\n': '\\n', '\r': '\\r', '\t': '\\t'};

/**
 * Escapes what a screen would obey instead of show: control characters, line ends.
 *
 * @param {string} text
 */
export function printable(text) {
  return text.replace(ESCAPED, (char) => {
    const code = char.charCodeAt(0);
    const hex = code.toString(16);
    return SHORT[char] ?? (code < 256 ? `\\x${hex.padStart(2, '0')}` : `\\u${hex.padStart(4, '0')}`);
  });
}

/**
 * Returns a JSON value as Python writes it, for messages that are the same there.
 *
 * @param {unknown} value
 * @returns {string}
 */
export function shown(value) {
  if (value === null || value === undefined) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'string') return `'${printable(value)}'`;
  if (Array.isArray(value)) return `[${value.map(shown).join(', ')}]`;
  if (typeof value === 'object') {
    const entries = Object.entries(value).map(([key, one]) => `${shown(key)}: ${shown(one)}`);
    return `{${entries.join(', ')}}`;
  }
  return String(value);
}

/**
 * Returns bytes as Python writes them.
 *
 * @param {Uint8Array} bytes
 */
export function shownBytes(bytes) {
  const chars = Array.from(bytes, (code) => {
    const char = String.fromCharCode(code);
    if (char === "'" || char === '\\') return `\\${char}`;
    if (code >= 0x20 && code < 0x7f) return char;
    return SHORT[char] ?? `\\x${code.toString(16).padStart(2, '0')}`;
  });
  return `b'${chars.join('')}'`;
}
