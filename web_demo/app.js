import {byId, element, megabytes} from './dom.js';
import {addRuns, clearRuns, watchWidth} from './latency.js';
import {ModelWorker, lastOnly} from './model_worker.js';
import {workOffline} from './offline.js';
import {taskOf} from './tasks.js';

const TYPING_MS = 120; // of quiet before the model runs
const SPEAKING_MS = 800; // of quiet before a screen reader hears the answer

/** What is open: its worker, what `engine.js` says of it, its task and where it came from. */
let opened = null;
let openings = 0; // begun, of which the last that succeeds stays
let pending = 0;
let typingTimer = 0;
let speakingTimer = 0;

async function start() {
  const listed = await (await fetch('models.json')).json();
  const options = listed.map(({name, path}) => element('option', {value: path}, name));
  byId('model').append(...options);
  listen();
  await workOffline();
  if (listed.length > 0) open(sourceOf(byId('model').selectedOptions[0]));
  else byId('computed-line').textContent = 'Open a file.';
}

const sourceOf = ({value, text}) => ({source: new URL(value, document.baseURI).href, name: text});

function listen() {
  watchWidth();
  byId('model').addEventListener('change', ({target}) => open(sourceOf(target.selectedOptions[0])));
  byId('file').addEventListener('change', ({target}) => openFiles(target.files));
  for (const radio of accelerators()) radio.addEventListener('change', () => open(opened?.origin));
  byId('form').addEventListener('submit', (event) => event.preventDefault());
  byId('form').addEventListener('input', () => {
    showError('error', null);
    clearTimeout(typingTimer);
    typingTimer = setTimeout(askNow, TYPING_MS);
  });
  for (const kind of ['dragenter', 'dragover', 'dragleave', 'drop']) {
    document.addEventListener(kind, drag);
  }
}

function drag(event) {
  if (!event.dataTransfer?.types.includes('Files')) return;
  event.preventDefault();
  const isOver = event.type === 'dragenter' || event.type === 'dragover';
  document.body.classList.toggle('dragging', isOver);
  if (event.type === 'drop') openFiles(event.dataTransfer.files);
}

function openFiles(files) {
  if (files.length > 0) open({source: files[0], name: files[0].name});
}

// Opening a model.

const accelerators = () => document.getElementsByName('accelerator');
const chosenAccelerator = () => [...accelerators()].find(({checked}) => checked).value;

/** Opens a model in a worker of its own; on an error, the one that was open stays. */
async function open(origin) {
  if (origin === undefined) return;
  const number = ++openings;
  const accelerator = chosenAccelerator();
  const worker = new ModelWorker();
  pending++;
  showError('error', null);
  showState(`Opening ${origin.name} …`);
  try {
    const {result: info} = await worker.call({kind: 'open', accelerator, ...origin});
    if (opened?.number > number) worker.end();
    else replaceModel({worker, info, origin, accelerator, number});
  } catch (error) {
    worker.end();
    if (number === openings) showError('error', error);
  }
  pending--;
  showState();
}

/** Shows what is open, in the controls too, or a line while something is being opened. */
function showState(line = null) {
  document.querySelector('main').setAttribute('aria-busy', pending > 0);
  if (line === null && pending > 0) return;
  const {info, accelerator, origin} = opened ?? {};
  const computed = opened === null ? 'No model is open.' : computedLine(info.computed, accelerator);
  byId('computed-line').textContent = line ?? computed;
  if (line !== null) return;
  byId('file').value = '';
  if (opened === null) return;
  byId('file-line').textContent = fileLine(info);
  for (const radio of accelerators()) radio.checked = radio.value === accelerator;
  select(origin);
}

function replaceModel(next) {
  opened?.worker.end();
  const isSameTask = opened?.info.task === next.info.task;
  const values = isSameTask ? readForm() : {};
  opened = {...next, task: taskOf(next.info), ask: lastOnly(ask)};
  byId('opened').hidden = false;
  byId('task').textContent = opened.task.title;
  clearRuns();
  showAnswer({parts: [], spoken: ''});
  makeForm({...opened.task.examples[0], ...values});
  askNow();
}

/** Shows which model is open; one from disk is added to the list. */
function select({source, name}) {
  const list = byId('model');
  let option = [...list.options].find((one) => one.value === source || one.origin === source);
  option ??= [...list.options].find((one) => sourceOf(one).source === source);
  if (option === undefined) {
    list.querySelector('.from-disk')?.remove();
    option = element('option', {class: 'from-disk', value: 'from disk', disabled: ''}, name);
    list.append(option);
  }
  option.selected = true;
}

function fileLine({task, quantize, size_bytes: size, seq_lens: lengths, target}) {
  const words = `For ${task}: ${quantize}, ${megabytes(size)}`;
  return `${words}, up to ${lengths.at(-1)} tokens, target ${target}.`;
}

function computedLine(computed, wanted) {
  const {accelerator, isFullyAccelerated, threads, isCrossOriginIsolated, heap_bytes} = computed;
  const heap = `WebAssembly's memory: ${megabytes(heap_bytes)}.`;
  if (accelerator === 'webgpu') {
    const part = isFullyAccelerated ? 'all of the model' : 'a part of the model, WASM the rest';
    return `Computed by WebGPU: ${part}. ${heap}`;
  }
  const count = threads === 1 ? '1 thread' : `${threads} threads`;
  const why = isCrossOriginIsolated
    ? 'The page is cross-origin isolated.'
    : 'The page is not cross-origin isolated, so there are no more threads.';
  const fallback = wanted === 'webgpu' ? ', as WebGPU cannot run all of the model' : '';
  return `Computed by WASM with ${count}${fallback}. ${why} ${heap}`;
}

function showError(place, error) {
  byId(place).hidden = error === null;
  byId(place).textContent = error === null ? '' : error.message;
}

// The form.

function makeForm(values) {
  const fields = opened.task.fields.map((field) => makeField(field, values[field.name]));
  byId('form').replaceChildren(...fields);
  const buttons = opened.task.examples.map((example, at) => {
    const button = element('button', {type: 'button'}, `Example ${at + 1}`);
    button.addEventListener('click', () => {
      makeForm(example);
      askNow();
    });
    return button;
  });
  byId('examples').replaceChildren(...buttons);
}

function makeField({name, label, kind, rows = 5}, value) {
  const id = `field-${name}`;
  const shared = {id, name, autocomplete: 'off'};
  if (kind === 'tick') {
    const box = element('input', {type: 'checkbox', ...shared});
    box.checked = value === true;
    return element('label', {class: 'tick'}, box, ` ${label}`);
  }
  const isLine = kind === 'line';
  const input = isLine
    ? element('input', {type: 'text', ...shared})
    : element('textarea', {rows, ...shared});
  input.value = value ?? '';
  return element('div', {class: 'control'}, element('label', {for: id}, label), input);
}

function readForm() {
  const inputs = [...byId('form').elements];
  return Object.fromEntries(
    inputs.map(({name, type, value, checked}) => [name, type === 'checkbox' ? checked : value]),
  );
}

// Asking.

function askNow() {
  clearTimeout(typingTimer);
  if (opened === null) return;
  const values = readForm();
  opened.ask({model: opened, values, message: opened.task.message(values)});
}

async function ask({model, values, message}) {
  if (model !== opened) return;
  if (message === null) return showAnswer({parts: [], spoken: ''});
  try {
    const {result, runs_ms: runsMs} = await model.worker.call(message);
    if (model !== opened) return;
    addRuns(runsMs);
    showAnswer(model.task.show(result, values, model.info));
  } catch (error) {
    if (model !== opened) return;
    showAnswer({parts: [], spoken: ''});
    showError('answer-error', error);
  }
}

function showAnswer({parts, spoken}) {
  showError('answer-error', null);
  byId('answer').replaceChildren(...parts);
  clearTimeout(speakingTimer);
  speakingTimer = setTimeout(() => {
    byId('spoken').textContent = spoken;
  }, SPEAKING_MS);
}

start();
