export {AlbertEdgeError} from './errors.js';
export {
  SentencePieceTokenizer,
  Tokenizer,
  Tokens,
  WordPieceTokenizer,
  tokenizerFromFiles,
} from './tokenizer/index.js';
