/**
 * What a task's signature returns: the outputs by name, of which `pooler_output` is only there if
 * the encoder has a pooler; those with one row per token; and whether there is one logit per label.
 *
 * @typedef {{outputs: string[], perToken: string[], hasLabels: boolean}} Task
 */

export const POOLER_OUTPUT = 'pooler_output';

const task = (outputs, perToken = [], hasLabels = false) => ({outputs, perToken, hasLabels});

/**
 * The eight tasks, as `albert_edge.tasks` has them.
 *
 * @type {Record<string, Task>}
 */
export const TASKS = {
  'feature-extraction': task(['last_hidden_state', POOLER_OUTPUT], ['last_hidden_state']),
  classification: task(['logits'], [], true),
  'token-classification': task(['logits'], ['logits'], true),
  'question-answering': task(['start_logits', 'end_logits'], ['start_logits', 'end_logits']),
  summarization: task(['sentence_logits'], ['sentence_logits']),
  'fill-mask': task(['logits'], ['logits']),
  'sentence-order': task(['sop_logits']),
  pretraining: task(['prediction_logits', 'sop_logits'], ['prediction_logits']),
};

/**
 * The number of values of an output: of its one row, or of the row of each token.
 *
 * @param {import('./file/model_file.js').ModelFile} file
 * @param {string} output
 */
export function rowSize(file, output) {
  switch (output) {
    case 'last_hidden_state':
    case POOLER_OUTPUT:
      return file.hidden_size;
    case 'sop_logits':
      return 2;
    case 'prediction_logits':
      return file.vocab_size;
    case 'logits':
      return file.task === 'fill-mask' ? file.vocab_size : file.labels.length;
    default:
      return 1; // start_logits, end_logits, sentence_logits
  }
}
