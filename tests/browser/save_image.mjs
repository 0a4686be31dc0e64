// Save an image in every format by MAI Save Image in the real page, drop each file onto an empty
// graph, and see what opens; as JSON on standard output.
//
//   node save_image.mjs URL     URL: a ComfyUI whose "default" is an emulator
import { run, withPage } from './page.mjs';

const [url] = process.argv.slice(2);

const PREFIX = 'dropped/%date:yyyy%_%The maker.seed%_';
const PROMPT = 'a quiet harbour [[fault credentials=yes]]';
const TYPES = { png: 'image/png', webp: 'image/webp', jpg: 'image/jpeg', avif: 'image/avif' };

await withPage(url, {}, async ({ page, problems }) => {
  const files = {};
  for (const format of ['png', 'webp', 'jpeg', 'avif']) {
    await page.evaluate(build, { format, prefix: PREFIX, prompt: PROMPT });
    await run(page);
    await page.waitForFunction(() => Object.keys(window.app.nodeOutputs).length > 0);
    const [image] = await page.evaluate(() => Object.values(window.app.nodeOutputs)
      .flatMap((output) => output.images ?? []));
    files[format] = image;
  }
  const stems = Object.entries(files).map(([format, { filename }]) => [format, filename]);
  const asked = [...stems, ...stems.map(([format, name]) => [`${format}.json`, name.replace(/\.\w+$/, '.json')])];
  const seen = {};
  for (const [label, name] of asked) {
    seen[label] = await page.evaluate(drop, { name, types: TYPES });
  }
  console.log(JSON.stringify({ files, seen, problems }));
});

/** In the page: one node that makes an image and one that saves it. */
async function build({ format, prefix, prompt }) {
  const { app, LiteGraph } = window;
  await app.loadGraphData({ last_node_id: 0, last_link_id: 0, nodes: [], links: [], version: 0.4 });
  app.nodeOutputs = {};
  const add = (type, values) => {
    const node = LiteGraph.createNode(type);
    app.graph.add(node);
    for (const [name, value] of Object.entries(values)) {
      node.widgets.find((widget) => widget.name === name).value = value;
    }
    return node;
  };
  const make = add('MAIGenerate', { prompt, seed: 71, width: 768, height: 768 });
  make.title = 'The maker';
  const save = add('MAISaveImage', { filename_prefix: prefix + format, format });
  make.connect(0, save, 0);
  make.connect(1, save, save.inputs.findIndex((input) => input.name === 'info'));
}

/** In the page: drop a saved file onto an empty graph; gives the types of the nodes that open. */
async function drop({ name, types }) {
  const { app } = window;
  await app.loadGraphData({ last_node_id: 0, last_link_id: 0, nodes: [], links: [], version: 0.4 });
  const answer = await app.api.fetchApi(
    `/view?subfolder=dropped&type=output&filename=${encodeURIComponent(name)}`);
  if (!answer.ok) return `HTTP ${answer.status}`;
  const ending = name.split('.').pop();
  const type = types[ending] ?? 'application/json';
  const file = new File([await answer.arrayBuffer()], name, { type });
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(file);
  const event = new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true });
  app.canvas.canvas.dispatchEvent(event);
  await new Promise((resolve) => setTimeout(resolve, 2000));
  return app.graph._nodes.map((node) => node.type).sort();
}
