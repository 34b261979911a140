/** The package's only error: its message says what is wrong, and what to do. */
export class AlbertEdgeError extends Error {
  constructor(kind: ErrorKind, message: string, options?: {cause?: unknown});
  /** What is at fault. */
  readonly kind: ErrorKind;
}

/**
 * `file`: missing, damaged, of another program, for another task or target, or newer. `input`: a
 * text, its ids or an option does not suit the model. `device`: the runtime or the browser failed.
 */
export type ErrorKind = 'file' | 'input' | 'device';

export type TaskName =
  | 'classification'
  | 'feature-extraction'
  | 'fill-mask'
  | 'pretraining'
  | 'question-answering'
  | 'sentence-order'
  | 'summarization'
  | 'token-classification';

/** When a model with early exit stops: after the first pass that meets a condition. */
export interface EarlyExit {
  /** So many passes in a row have predicted the same as the pass before them. */
  patience: number;
  /** All that is predicted has at least this probability; above 1 for never. */
  threshold: number;
  /** So many passes ran; null for no limit. */
  max_layers: number | null;
}

/** An open `.tflite` file of `albert-edge convert`: the model, and all that is beside it. */
export class ModelFile {
  private constructor();
  /** Opens and checks a file: its archive, its manifest, and the SHA-256 of all of it. */
  static open(
    source: ArrayBuffer | Uint8Array | Blob | Response,
    name?: string,
  ): Promise<ModelFile>;
  /** What it is called in messages. */
  readonly name: string;
  readonly size_bytes: number;
  /** The model with its TFLite Metadata, without the archive, as a runtime takes it. */
  readonly model: Uint8Array;
  readonly task: TaskName;
  /** The label of each class; in files of tasks without labels they mean nothing. */
  readonly labels: string[];
  /** Where it is to run, such as `web`. */
  readonly target: string;
  /** How it runs the passes. */
  readonly layout: 'loop' | 'unrolled' | 'split';
  /** The recipe's name, such as `int8`. */
  readonly quantize: string;
  /** The fixed lengths in tokens, ascending; empty if it takes any length up to `max_tokens`. */
  readonly seq_lens: number[];
  /** The longest input in tokens, special tokens included. */
  readonly max_tokens: number;
  /** V, the number of token ids. */
  readonly vocab_size: number;
  readonly type_vocab_size: number;
  /** H, the width of the hidden states. */
  readonly hidden_size: number;
  readonly pad_token_id: number;
  /** `config.json`, in Hugging Face's form. */
  readonly config: Record<string, unknown>;
  /** `albert_edge.json`: how the file was made. */
  readonly manifest: Record<string, unknown>;
  /** The file's own rule; null if it always runs all passes. */
  readonly early_exit: EarlyExit | null;
  /** The tokenizer's files by name; empty if there is none. */
  readonly tokenizer_files: Record<string, Uint8Array>;
  /** The names of the files in the archive. */
  readonly member_names: string[];
  /** Returns the content of a file in the archive; undefined if there is none of this name. */
  member(name: string): Uint8Array | undefined;
}

/** Runs a model once: inputs [T] by name, outputs by name, row-major. */
export type Run = (
  signature: string,
  inputs: Record<string, Int32Array | Float32Array>,
) => Promise<Outputs> | Outputs;

export type Outputs = Record<string, Float32Array | Int32Array>;

/** A model that LiteRT.js has compiled. */
export interface Compiled {
  run: Run;
  /** Whether the accelerator runs all of it, as LiteRT.js says. */
  isFullyAccelerated: boolean;
  /** Frees its memory, which no garbage collector does. */
  delete(): void;
}

/** Compiles a file's model by the module `@litertjs/core`, whose `loadLiteRt` has ended. */
export function compile(
  file: ModelFile,
  litert: unknown,
  options?: {accelerator?: 'wasm' | 'webgpu'; [option: string]: unknown},
): Promise<Compiled>;

/** An open model: takes token ids and returns its head's outputs. */
export class Model {
  constructor(file: ModelFile, run: Run);
  readonly file: ModelFile;
  readonly max_tokens: number;
  run(
    inputIds: ArrayLike<number>,
    tokenTypeIds?: ArrayLike<number> | null,
    options?: {early_exit?: EarlyExit | null},
  ): Promise<Outputs>;
}

/** A function from text to the task's result. */
export interface Pipeline<Result = PipelineResult> {
  (text: string | string[], options?: PipelineOptions): Promise<Result>;
  (options: QuestionOptions): Promise<Result>;
  readonly model: Model;
  /** Null if the file carries none. */
  readonly tokenizer: Tokenizer | null;
  /** The number of tokens to which a text is truncated, special ones included. */
  readonly max_tokens: number;
}

/** Makes a file and its runtime a function from text to the task's result. */
export function load<Result = PipelineResult>(
  file: ModelFile,
  run: Run,
  options?: {task?: 'summarize' | null},
): Pipeline<Result>;

/** Options of the tasks; each takes those that its own documentation lists. */
export interface PipelineOptions {
  pair?: string | null;
  threshold?: number | null;
  patience?: number | null;
  max_layers?: number | null;
  aggregation?: 'first' | 'average' | 'max';
  entities?: boolean;
  top_k?: number;
  pooling?: 'mean' | 'cls' | 'pooler' | null;
  normalize?: boolean;
  bullets?: number;
  redundancy?: number;
}

export interface QuestionOptions {
  question: string;
  context: string;
  max_answer_length?: number;
  stride?: number;
  top_k?: number;
  allow_null?: boolean;
  null_threshold?: number;
}

export type PipelineResult =
  | ClassificationResult
  | QuestionAnsweringResult
  | TokenClassificationResult
  | FillMaskResult
  | FeatureExtractionResult
  | SummarizationResult
  | PretrainingResult;

interface Counts {
  /** The number of tokens that the model read. */
  tokens: number;
  /** Whether text was cut off. */
  truncated: boolean;
}

/** A place in a text, in UTF-16 code units: `text === whole.slice(start, end)`. */
interface Place {
  start: number;
  end: number;
}

/** Of `classification` and `sentence-order`. */
export interface ClassificationResult extends Counts {
  label?: string;
  score?: number;
  scores?: Record<string, number>;
  /** Of a multi-label model, the most probable first. */
  labels?: string[];
  /** Of a regression. */
  value?: number;
  values?: Record<string, number>;
  /** Of files with early exit: how many passes ran. */
  layers_used?: number;
}

export interface Answer extends Place {
  /** The part of the passage; empty for "no answer". */
  answer: string;
  score: number;
}

export interface QuestionAnsweringResult extends Answer {
  null_score: number;
  windows: number;
  truncated: boolean;
  /** Of files with early exit: how many passes ran, of several windows the mean. */
  layers_used?: number;
  answers?: Answer[];
}

export interface LabeledSpan extends Place {
  text: string;
  label: string;
  score: number;
}

export interface TokenClassificationResult extends Counts {
  words: LabeledSpan[];
  entities?: LabeledSpan[];
  /** Of files with early exit: how many passes ran. */
  layers_used?: number;
}

export interface FilledMask extends Place {
  /** Whether it is in the second text, if there are two. */
  in_pair?: boolean;
  /** The best first. */
  candidates: {token: string; id: number; score: number; text: string}[];
}

export interface FillMaskResult extends Counts {
  text: string;
  pair?: string;
  masks: FilledMask[];
}

export interface FeatureExtractionResult {
  /** A vector for each token, [T][H]. */
  last_hidden_state: Float32Array[];
  mean: Float32Array;
  pooler_output?: Float32Array;
  embedding?: Float32Array;
  /** The pieces, such as `[CLS]`. */
  tokens: string[];
  truncated: boolean;
}

export interface SummarizationResult {
  bullets: (Place & {text: string; score: number})[];
  sentences: number;
  truncated: boolean;
}

export interface PretrainingResult extends Counts {
  text?: string;
  pair?: string;
  masks?: FilledMask[];
  order?: {label: string; score: number; scores: Record<string, number>};
}

/** Returns the cosine of two vectors of the same size, in [-1, 1]; 0 if one is all zeros. */
export function cosineSimilarity(first: ArrayLike<number>, second: ArrayLike<number>): number;

/** The tokens of one text, without special ones. */
export class Tokens {
  constructor(ids: Int32Array, starts: Int32Array, ends: Int32Array);
  readonly ids: Int32Array;
  /** In UTF-16 code units. */
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  readonly length: number;
  slice(start: number, stop: number): Tokens;
}

/** The input of a model: `[CLS] a [SEP]` or `[CLS] a [SEP] b [SEP]`. */
export interface Encoding {
  input_ids: Int32Array;
  token_type_ids: Int32Array;
  /** In UTF-16 code units of `a` or `b`; -1 for special tokens. */
  starts: Int32Array;
  ends: Int32Array;
}

/** Converts text to token ids, those of `albert_edge.load_tokenizer` in Python. */
export abstract class Tokenizer {
  readonly vocab_size: number;
  readonly piece_count: number;
  readonly cls_id: number;
  readonly sep_id: number;
  readonly pad_id: number;
  readonly unk_id: number;
  readonly mask_id: number;
  readonly do_lower_case: boolean;
  readonly truncation_side: 'left' | 'right';
  readonly model_max_length: number | null;
  tokenize(text: string): Tokens;
  tokenizePart(text: string, most: number | null, allowSpecial?: boolean): Tokens;
  truncate(tokens: Tokens, count: number): Tokens;
  encode(
    text: string,
    pair?: string | null,
    options?: {
      max_length?: number | null;
      truncate?: 'longest_first' | 'only_second';
      allow_special?: boolean;
    },
  ): Encoding;
  windows(
    question: string,
    context: string,
    options: {max_length: number; stride: number; max_question?: number | null},
  ): Encoding[];
  idToPiece(id: number): string;
  decode(ids: ArrayLike<number>): string;
}

export class SentencePieceTokenizer extends Tokenizer {}
export class WordPieceTokenizer extends Tokenizer {}

/** Makes a tokenizer from the content of its files, such as `ModelFile.tokenizer_files`. */
export function tokenizerFromFiles(
  files: Record<string, Uint8Array>,
  where?: string,
): Tokenizer;
