export {AlbertEdgeError} from './errors.js';
export {ModelFile} from './file/model_file.js';
export {compile} from './litert.js';
export {load} from './load.js';
export {Model} from './model.js';
export {cosineSimilarity} from './pipelines/feature_extraction.js';
export {
  SentencePieceTokenizer,
  Tokenizer,
  Tokens,
  WordPieceTokenizer,
  tokenizerFromFiles,
} from './tokenizer/index.js';
