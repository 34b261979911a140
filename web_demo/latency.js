import {byId, drawn, milliseconds} from './dom.js';

const MOST_RUNS = 50;
const [HEIGHT, LEFT, EDGE] = [120, 40, 8]; // pixels: of the drawing, of its scale, around it

let runsMs = [];

/** Draws anew whenever the page's width changes. */
export function watchWidth() {
  new ResizeObserver(draw).observe(byId('plot'));
}

/** Forgets all runs, as another model is open. */
export function clearRuns() {
  runsMs = [];
  draw();
}

/**
 * Adds runs of the model, and draws the last 50 with their median.
 *
 * @param {number[]} moreMs
 */
export function addRuns(moreMs) {
  if (moreMs.length === 0) return;
  runsMs = [...runsMs, ...moreMs].slice(-MOST_RUNS);
  draw();
}

function draw() {
  const text = describe();
  byId('latency-line').textContent = text;
  const plot = byId('plot');
  plot.setAttribute('aria-label', text);
  plot.replaceChildren();
  if (runsMs.length === 0) return;
  const {width} = plot.getBoundingClientRect();
  if (width <= LEFT) return; // it is not on the screen yet
  const bars = runsMs.map((ms, at) => bar(ms, at, width));
  plot.replaceChildren(...scale(width), ...bars, median(width));
}

function describe() {
  if (runsMs.length === 0) return `The last ${MOST_RUNS} runs of the model.`;
  const runs = runsMs.length === 1 ? 'one run' : `the last ${runsMs.length} runs`;
  const [median, least, most] = [medianOf(runsMs), Math.min(...runsMs), Math.max(...runsMs)];
  return (
    `Milliseconds of ${runs} of the model: median ${milliseconds(median)}, fastest ` +
    `${milliseconds(least)}, slowest ${milliseconds(most)}.`
  );
}

function medianOf(values) {
  const sorted = [...values].sort((one, other) => one - other);
  const middle = sorted.length / 2;
  return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle) - 1]) / 2;
}

/** The end of the scale: the least of 1, 2, 5 times a power of ten that no run exceeds. */
function topMs() {
  const most = Math.max(...runsMs);
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map((step) => step * power).find((top) => top >= most);
}

const yOf = (ms) => HEIGHT - EDGE - (ms / topMs()) * (HEIGHT - 2 * EDGE);

function bar(ms, at, width) {
  const step = (width - LEFT) / MOST_RUNS;
  const [x, y] = [LEFT + (at + 0.15) * step, yOf(ms)];
  return drawn('rect', {class: 'run', x, y, width: 0.7 * step, height: yOf(0) - y, rx: 1});
}

function scale(width) {
  return [0, topMs() / 2, topMs()].flatMap((ms) => {
    const y = yOf(ms);
    return [
      drawn('line', {class: 'grid', x1: LEFT, x2: width, y1: y, y2: y}),
      drawn('text', {class: 'tick-label', x: LEFT - 8, y: y + 4}, `${ms}`),
    ];
  });
}

function median(width) {
  const y = yOf(medianOf(runsMs));
  return drawn('line', {class: 'median', x1: LEFT, x2: width, y1: y, y2: y});
}
