/** An error of the worker, with the `kind` of an `AlbertEdgeError`, or `bug`. */
export class ModelError extends Error {
  constructor({kind, message}) {
    super(message);
    this.kind = kind;
  }
}

/** A worker that has one model open. */
export class ModelWorker {
  #worker = new Worker(new URL('worker.js', import.meta.url));
  #waiting = new Map();
  #lastId = 0;

  constructor() {
    this.#worker.addEventListener('message', ({data}) => {
      const {resolve, reject} = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if (data.error) reject(new ModelError(data.error));
      else resolve(data.result);
    });
    this.#worker.addEventListener('error', (event) => {
      event.preventDefault();
      this.#failAll(event.message || 'its files cannot be loaded');
    });
  }

  /** Sends a message that `engine.js` answers. */
  call(message) {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, {resolve, reject});
      this.#worker.postMessage({id, ...message});
    });
  }

  /** Ends the worker, which frees the model's memory. */
  end() {
    this.#worker.terminate();
    this.#waiting.clear();
  }

  #failAll(problem) {
    const message = `the worker that runs the model failed: ${problem}.`;
    for (const {reject} of this.#waiting.values()) reject(new ModelError({kind: 'bug', message}));
    this.#waiting.clear();
  }
}

/**
 * Returns a function that calls another with the last value that it was given: one call at a time,
 * and none with a value that a newer one has replaced meanwhile.
 *
 * @template T
 * @param {(value: T) => Promise<void>} call
 * @returns {(value: T) => void}
 */
export function lastOnly(call) {
  let next = null;
  let isRunning = false;
  const run = async () => {
    if (isRunning) return;
    isRunning = true;
    while (next !== null) {
      const [value] = next;
      next = null;
      await call(value);
    }
    isRunning = false;
  };
  return (value) => {
    next = [value];
    run();
  };
}
