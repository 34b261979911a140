// Opens files with Netron's reader and prints what it found: node netron.mjs PACKAGE FILE...
import {readFileSync} from 'node:fs';
import {pathToFileURL} from 'node:url';

const [, , root, ...files] = process.argv;
const load = (name) => import(pathToFileURL(`${root}/${name.replace('./', '')}.js`).href);
const {ModelFactoryService} = await load('view');
const {BinaryStream} = await load('base');
const host = {
  environment: () => null,
  require: load,
  request: async (name, encoding) => readFileSync(`${root}/${name}`, encoding),
  exception: (error) => {
    throw error;
  },
};

async function describe(file) {
  const content = new Uint8Array(readFileSync(file));
  const context = {
    ...host,
    identifier: 'model.tflite',
    stream: new BinaryStream(content),
    entries: new Map(),
    error: host.exception,
  };
  const {format, modules} = await new ModelFactoryService(host).open(context);
  const names = (values) => values.map(({name}) => name).sort();
  const graphs = modules.map(({nodes, inputs, outputs}) => ({
    nodes: nodes.length,
    inputs: names(inputs),
    outputs: names(outputs),
  }));
  return {format, graphs};
}

const found = [];
for (const file of files) {
  found.push(await describe(file).catch((error) => ({error: error.message})));
}
console.log(JSON.stringify(found));
