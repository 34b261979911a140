import {fileError, inputError} from './errors.js';
import {Model} from './model.js';
import {Classification, SentenceOrder} from './pipelines/classification.js';
import {FeatureExtraction} from './pipelines/feature_extraction.js';
import {FillMask, Pretraining} from './pipelines/fill_mask.js';
import {QuestionAnswering} from './pipelines/question_answering.js';
import {Summarization} from './pipelines/summarization.js';
import {TokenClassification} from './pipelines/token_classification.js';
import {tokenizerFromFiles} from './tokenizer/index.js';

const PIPELINES = {
  classification: Classification,
  'feature-extraction': FeatureExtraction,
  'fill-mask': FillMask,
  pretraining: Pretraining,
  'question-answering': QuestionAnswering,
  'sentence-order': SentenceOrder,
  summarization: Summarization,
  'token-classification': TokenClassification,
};
// Tasks that a file of another task can serve: the pipeline, and the tasks of the files that fit.
const DERIVED_TASKS = {summarize: [Summarization, ['summarization', 'feature-extraction']]};

/**
 * Makes a file and its runtime a function from text to the task's result, `albert_edge.load`'s in
 * Python with `start` and `end` in UTF-16 code units.
 *
 * ```js
 * const pipe = load(file, run);
 * await pipe('a quiet, moving film'); // {label: "positive", score: 0.98, ...}
 * ```
 *
 * @param {import('./file/model_file.js').ModelFile} file
 * @param {import('./model.js').Run} run Runs the model once.
 * @param {object} [options]
 * @param {'summarize' | null} [options.task] "summarize", to select sentences by an encoder's
 *   embeddings; null for the file's own task.
 * @returns A function, with the properties `model`, `tokenizer` and `max_tokens`.
 * @throws {AlbertEdgeError} The file does not support the task, or its tokenizer is damaged.
 */
export function load(file, run, {task = null} = {}) {
  const Kind = pipelineClass(file.task, task);
  const tokenizer = tokenizerOf(file);
  const pipeline = new Kind(new Model(file, run), tokenizer);
  const {model, max_tokens} = pipeline;
  return Object.assign((...given) => pipeline.call(...given), {model, tokenizer, max_tokens});
}

function pipelineClass(fileTask, task) {
  if (task === null) return PIPELINES[fileTask];
  if (!Object.hasOwn(DERIVED_TASKS, task)) {
    const choices = Object.keys(DERIVED_TASKS).join(', ');
    throw inputError(`task is '${task}'; choose from ${choices}, or leave it out.`);
  }
  const [Kind, fileTasks] = DERIVED_TASKS[task];
  if (fileTasks.includes(fileTask)) return Kind;
  throw inputError(
    `${task} takes a file for ${fileTasks.join(' or ')}; this file is for ${fileTask}.`,
  );
}

function tokenizerOf(file) {
  if (Object.keys(file.tokenizer_files).length === 0) return null;
  const tokenizer = tokenizerFromFiles(file.tokenizer_files, file.name);
  if (tokenizer.vocab_size > file.vocab_size) {
    throw fileError(
      `${file.name} contradicts itself: its tokenizer has ${tokenizer.vocab_size} tokens, its model ` +
        `${file.vocab_size}.`,
    );
  }
  return tokenizer;
}
