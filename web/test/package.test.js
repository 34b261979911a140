import assert from 'node:assert/strict';
import fs from 'node:fs';
import test from 'node:test';

import * as albertEdge from '../src/index.js';

const {AlbertEdgeError, tokenizerFromFiles} = albertEdge;
const SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];

/** Returns a WordPiece tokenizer of a few words. */
function tokenizerOf(words) {
  const lines = [...SPECIAL, ...words];
  return tokenizerFromFiles({'vocab.txt': new TextEncoder().encode(lines.join('\n'))});
}

test('what the types declare is what the module exports', () => {
  const types = fs.readFileSync(new URL('../index.d.ts', import.meta.url), 'utf8');
  const declared = types.matchAll(/^export (?:abstract )?(?:class|function) (\w+)/gm);
  assert.deepEqual(Array.from(declared, ([, name]) => name).sort(), Object.keys(albertEdge).sort());
});

test('the ids, types and places of two texts', () => {
  const {input_ids, token_type_ids, starts, ends} = tokenizerOf(['so', '##on', '😀', 'no']).encode(
    'Soon 😀',
    'no',
  );
  assert.deepEqual(Array.from(input_ids), [2, 5, 6, 7, 3, 8, 3]);
  assert.deepEqual(Array.from(token_type_ids), [0, 0, 0, 0, 0, 1, 1]);
  assert.deepEqual(Array.from(starts), [-1, 0, 2, 5, -1, 0, -1]);
  assert.deepEqual(Array.from(ends), [-1, 2, 4, 7, -1, 2, -1]);
});

test('an error says what is at fault', () => {
  assert.throws(
    () => tokenizerFromFiles({}),
    (error) => error instanceof AlbertEdgeError && error.kind === 'file',
  );
  assert.throws(
    () => tokenizerOf(['a']).tokenize('\ud800'),
    (error) => error instanceof AlbertEdgeError && error.kind === 'input',
  );
});

test('no module imports another package, nor uses what only Node.js has', () => {
  const folder = new URL('../src/', import.meta.url);
  const files = fs.readdirSync(folder, {recursive: true}).filter((name) => name.endsWith('.js'));
  assert.ok(files.length > 20);
  for (const name of files) {
    const text = fs.readFileSync(new URL(name, folder), 'utf8').replace(/^ *[/ ]\*.*$/gm, '');
    for (const [, from] of text.matchAll(/ from '([^']+)';/g)) assert.match(from, /^\.{1,2}\//, name);
    assert.doesNotMatch(text, /\b(?:process|Buffer|require)\b[.(]/, name);
  }
});
