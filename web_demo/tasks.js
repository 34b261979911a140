// What the page shows for each task: its fields, its examples, what it asks the worker, and how it
// shows the answer.
import {element, percent} from './dom.js';

/**
 * A field: one line of text, several, or a box to tick.
 *
 * @typedef {{name: string, label: string, kind: 'line' | 'text' | 'tick', rows?: number}} Field
 *
 * @typedef {object} Task
 * @property {string} title
 * @property {Field[]} fields
 * @property {Record<string, string>[]} examples Values of the fields.
 * @property {(values: Record<string, any>) => object | null} message What the worker is asked; null
 *   while a field that is needed is empty.
 * @property {(result: any, values: Record<string, any>, info: object) => Shown} show
 *
 * @typedef {{parts: Node[], spoken: string}} Shown What the page shows, and what a screen reader
 *   says.
 */

const text = (label = 'Text') => ({name: 'text', label, kind: 'text'});
const pair = (label, rows = 5) => ({name: 'pair', label, kind: 'text', rows});

/** Asks for the answer to one text, or to two. */
function askText({text: first, pair: second}, options = {}) {
  if (isBlank(first)) return null;
  const pairs = isBlank(second) ? {} : {pair: second};
  return {kind: 'ask', input: first, options: {...pairs, ...options}};
}

const askPair = (values) => (isBlank(values.pair) ? null : askText(values));

const isBlank = (value) => value === undefined || value.trim() === '';


/** @type {Record<string, Task>} */
const TASKS = {
  classification: {
    title: 'Classification',
    fields: [text(), pair('Second text, only for models that compare two', 2)],
    examples: [
      {text: 'a warm, funny film that earns its tears'},
      {text: 'two hours of stale jokes and a plot that goes nowhere'},
      {text: 'not the masterpiece they promised, but I would see it again'},
    ],
    message: askText,
    show: showClass,
  },
  'question-answering': {
    title: 'Question answering',
    fields: [
      {name: 'question', label: 'Question', kind: 'line'},
      {name: 'context', label: 'Passage', kind: 'text'},
      {name: 'allow_null', label: 'Allow “no answer”', kind: 'tick'},
    ],
    examples: [
      {
        question: 'Who wrote the first program?',
        context:
          'Charles Babbage designed the Analytical Engine, a machine that was never built. Ada ' +
          'Lovelace wrote the first program for it in 1843, in the notes to a translation.',
      },
      {
        question: 'When was the bridge opened?',
        context:
          'The bridge crosses the river north of the old town. Work on it began in 1889, and it ' +
          'was opened in 1894, two years late.',
      },
    ],
    message: askQuestion,
    show: showSpan,
  },
  'token-classification': {
    title: 'Words',
    fields: [text()],
    examples: [
      {text: 'Ada Lovelace met Charles Babbage in London in June 1833.'},
      {text: 'Tim Cook presented the new phone at Apple in Cupertino.'},
    ],
    message: (values) => askText(values, {entities: true}),
    show: showWords,
  },
  'feature-extraction': {
    title: 'Similar sentences',
    fields: [
      {name: 'query', label: 'Sentence', kind: 'line'},
      {name: 'texts', label: 'Sentences to compare it with, one a line', kind: 'text'},
    ],
    examples: [
      {
        query: 'How do I get my money back?',
        texts:
          'Refunds are paid within five days.\nOur shop opens at nine in the morning.\n' +
          'You can change your password in the settings.\nThe parcel is on its way to you.',
      },
    ],
    message: askRank,
    show: showRank,
  },
  'fill-mask': {
    title: 'Masked words',
    fields: [text('Text with [MASK] where a word is missing')],
    examples: [{text: 'Paris is the [MASK] of France.'}, {text: 'She drank a cup of [MASK].'}],
    message: askText,
    show: (result) => ({parts: result.masks.map(candidates), spoken: result.text}),
  },
  'sentence-order': {
    title: 'Order of two texts',
    fields: [text('First text'), pair('Second text')],
    examples: [{text: 'She opened the door.', pair: 'Then she went in.'}],
    message: askPair,
    show: showClass,
  },
  pretraining: {
    title: 'Masked words, and the order of two texts',
    fields: [text('Text with [MASK] where a word is missing'), pair('Second text')],
    examples: [{text: 'She opened the [MASK].', pair: 'Then she went in.'}],
    message: askText,
    show: showPretraining,
  },
  summarization: {
    title: 'Summary',
    fields: [text('Article')],
    examples: [
      {
        text:
          'The council met on Monday to discuss the new bridge. Rain had delayed the work by two ' +
          'months. The bridge will open in May and carry trams as well as cars. Several members ' +
          'asked about the noise. The mayor said that the budget would not be exceeded.',
      },
    ],
    message: askText,
    show: showSummary,
  },
};

/** Returns the record of the task of an open file. */
export const taskOf = ({task}) => TASKS[task];

function askQuestion({question, context, allow_null}) {
  if (isBlank(question) || isBlank(context)) return null;
  return {kind: 'ask', input: {question, context, allow_null, top_k: 3}};
}

const linesOf = (value) => value.split('\n').filter((line) => !isBlank(line));

function askRank({query, texts}) {
  if (isBlank(query) || isBlank(texts)) return null;
  return {kind: 'rank', query, texts: linesOf(texts)};
}

// What is shown.

/** A list of names with bars, whose length is a share in [0, 1]. */
function bars(rows) {
  const items = rows.map(({name, share, value = percent(share), isBest = false}) => {
    const bar = element('span', {class: 'bar'});
    bar.style.width = `${100 * Math.min(Math.max(share, 0), 1)}%`;
    return element(
      'li',
      {class: isBest ? 'best' : null},
      element('span', {class: 'name'}, name),
      element('span', {class: 'value'}, value),
      element('span', {class: 'track', 'aria-hidden': 'true'}, bar),
    );
  });
  return element('ol', {class: 'bars'}, ...items);
}

const note = (content) => element('p', {class: 'note'}, content);

const cutNote = ({truncated}) =>
  truncated ? [note('The end of the text was not read: it is longer than the model takes.')] : [];

function ranked(scores) {
  return Object.entries(scores).sort(([, one], [, other]) => other - one);
}

function showClass(result, _values, _info) {
  const {scores, values} = result;
  if (scores === undefined) {
    const numbers = values ?? {value: result.value};
    const shown = Object.entries(numbers).map(([name, value]) => `${name}: ${value.toFixed(3)}`);
    return {parts: [...shown.map(note), ...cutNote(result)], spoken: shown.join(', ')};
  }
  const chosen = result.labels ?? [result.label];
  const rows = ranked(scores).map(([name, share]) => {
    return {name, share, isBest: chosen.includes(name)};
  });
  const best = rows.filter(({isBest}) => isBest);
  const said = best.map(({name, share}) => `${name}, ${percent(share)}`);
  return {parts: [bars(rows), ...cutNote(result)], spoken: said.join('; ') || 'no label'};
}

/** The text in one paragraph, with places in it marked: `mark` makes the element of one. */
function marked(whole, places, mark) {
  const parts = [];
  let done = 0;
  for (const place of [...places].sort((one, other) => one.start - other.start)) {
    parts.push(whole.slice(done, place.start), mark(place, whole.slice(place.start, place.end)));
    done = place.end;
  }
  return element('p', {class: 'passage'}, ...parts, whole.slice(done));
}

function showSpan(result, {context}) {
  const {answers, windows} = result;
  const [best] = answers;
  const rows = answers.map(({answer, score}, at) => {
    return {name: answer || '(no answer)', share: score, isBest: at === 0};
  });
  const places = best.answer === '' ? [] : [best];
  const passage = marked(context, places, (_, words) => element('mark', {class: 'span'}, words));
  const parts = [passage, bars(rows)];
  if (windows > 1) parts.push(note(`The passage was read in ${windows} parts.`));
  if (result.truncated) parts.push(note('The end of the question was not read: it is too long.'));
  const spoken = best.answer === '' ? 'no answer' : best.answer;
  return {parts, spoken: `${spoken}, ${percent(best.score)}`};
}

function showWords(result, {text: whole}, {labels}) {
  const types = [...new Set(labels.map((label) => label.replace(/^[A-Z]-/, '')))];
  const mark = ({label, score}, words) =>
    element(
      'mark',
      {class: `entity color-${types.indexOf(label) % 6}`, title: percent(score)},
      words,
      element('span', {class: 'label'}, label),
    );
  const found = result.entities;
  const parts = [marked(whole, found, mark), ...cutNote(result)];
  if (found.length === 0) parts.push(note('No word has a label other than O.'));
  const said = found.map(({text: words, label}) => `${words}: ${label}`);
  return {parts, spoken: said.join('; ') || 'no labelled word'};
}

function showRank(result) {
  const rows = result.map(({text: name, cosine}, at) => {
    return {name, share: cosine, value: cosine.toFixed(3), isBest: at === 0};
  });
  const parts = [bars(rows), note('The number is the cosine of the mean vectors.')];
  return {parts, spoken: `the most similar one: ${result[0].text}`};
}

function candidates(mask) {
  const rows = mask.candidates.map(({token, score}, at) => {
    return {name: token, share: score, isBest: at === 0};
  });
  return bars(rows);
}

function showPretraining(result, values, info) {
  const parts = (result.masks ?? []).map(candidates);
  if (result.order === undefined) return {parts, spoken: result.text};
  const order = showClass({...result.order, truncated: result.truncated}, values, info);
  return {parts: [...parts, ...order.parts], spoken: order.spoken};
}

function showSummary(result, {text: whole}) {
  const {bullets} = result;
  const passage = marked(whole, bullets, (_, words) => element('mark', {class: 'span'}, words));
  return {
    parts: [passage, ...cutNote(result)],
    spoken: bullets.map(({text: sentence}) => sentence).join(' '),
  };
}
