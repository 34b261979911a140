// What a page in TypeScript may write; `tsc` checks it against index.d.ts.
import {AlbertEdgeError, ModelFile, compile, load, tokenizerFromFiles} from '../index.js';
import type {ClassificationResult, QuestionAnsweringResult, Run} from '../index.js';

export async function classify(blob: Blob, litert: unknown): Promise<string> {
  const file = await ModelFile.open(blob);
  const {run, isFullyAccelerated} = await compile(file, litert, {accelerator: 'webgpu'});
  const pipe = load<ClassificationResult>(file, run);
  const {label, scores} = await pipe('a quiet, moving film', {pair: null, threshold: 0.9});
  return isFullyAccelerated ? `${label} ${scores?.positive}` : '';
}

export async function answer(file: ModelFile, run: Run): Promise<[number, number]> {
  const pipe = load<QuestionAnsweringResult>(file, run);
  const {start, end} = await pipe({question: 'Who?', context: 'It was Ada.', top_k: 3});
  return [start, end];
}

export function count(files: Record<string, Uint8Array>): number {
  try {
    return tokenizerFromFiles(files).encode('a', 'b', {max_length: 9}).input_ids.length;
  } catch (error) {
    return error instanceof AlbertEdgeError && error.kind === 'file' ? 0 : 1;
  }
}
