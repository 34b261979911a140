import {fileError} from '../errors.js';
import {
  SPIECE_FILE,
  VOCAB_FILE,
  readSentencePieceConfig,
  readWordPieceConfig,
} from './config.js';
import {SentencePieceTokenizer} from './sentencepiece.js';
import {WordPieceTokenizer} from './wordpiece.js';

export {SentencePieceTokenizer, WordPieceTokenizer};
export {Tokenizer, Tokens} from './tokenizer.js';

/**
 * Makes a tokenizer from the content of its files, such as `ModelFile.tokenizer_files`.
 *
 * @param {Record<string, Uint8Array>} files Contents by name: `spiece.model` or `vocab.txt`, of which
 *   the first in this order is used, and optionally `tokenizer_config.json`. Others are ignored.
 * @param {string} [where] The source of the files, for error messages.
 * @returns {import('./tokenizer.js').Tokenizer}
 * @throws {AlbertEdgeError} There is no tokenizer, or it is damaged or not supported.
 */
export function tokenizerFromFiles(files, where = 'these files') {
  const fileIn = (name) => (where.endsWith(name) ? where : `${name} in ${where}`);
  if (Object.hasOwn(files, SPIECE_FILE)) {
    const config = readSentencePieceConfig(files, where);
    return new SentencePieceTokenizer(files[SPIECE_FILE], config, fileIn(SPIECE_FILE));
  }
  if (Object.hasOwn(files, VOCAB_FILE)) {
    const config = readWordPieceConfig(files, where);
    return new WordPieceTokenizer(files[VOCAB_FILE], config, fileIn(VOCAB_FILE));
  }
  throw fileError(`no tokenizer in ${where}: expected one of ${SPIECE_FILE}, ${VOCAB_FILE}.`);
}
