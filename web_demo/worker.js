// The worker that runs a model, so that the page answers to keys and clicks meanwhile. It is a
// classic worker: LiteRT.js loads its WebAssembly by `importScripts`, which modules do not support.
const engine = import('./engine.js');

addEventListener('message', async ({data}) => {
  try {
    postMessage({id: data.id, result: await (await engine).answer(data)});
  } catch (error) {
    const {name, kind, message} = error;
    postMessage({id: data.id, error: {kind: name === 'AlbertEdgeError' ? kind : 'bug', message}});
  }
});
