// Find each blueprint by the page's own search, put it into a graph, feed it and run it; what was
// seen, as JSON on standard output.
//
//   node use_blueprints.mjs URL name …     URL: a ComfyUI whose "default" is an emulator
import { withPage } from './page.mjs';

const [url, ...names] = process.argv.slice(2);

// Set on the node before the run; the model shows whether one widget reaches several nodes inside.
const SET = { prompt: 'A harbour', model: 'MAI-Image-2.5', target_width: 1000, target_height: 1500 };

const seen = {};
for (const name of names) {
  seen[name] = await withPage(url, {}, async ({ page, problems }) => {
    await page.evaluate(() => window.app.graph.clear());
    await page.mouse.dblclick(800, 500);
    await page.waitForTimeout(1000);
    await page.keyboard.type(name, { delay: 20 });
    await page.waitForTimeout(1500);
    await page.keyboard.press('Enter');
    await page.waitForTimeout(1000);
    // The newer search gives the node to the pointer; the older one puts it down itself.
    if (!(await page.evaluate(() => window.app.graph._nodes.length))) {
      await page.mouse.click(700, 300);
    }
    await page.waitForFunction(() => window.app.graph._nodes.length === 1);
    return { ...(await page.evaluate(use, SET)), problems };
  });
}
console.log(JSON.stringify(seen));

/** In the page: what the one node of the graph is; then connect what it needs, and press Run. */
async function use(wanted) {
  const { app, LiteGraph } = window;
  const [node] = app.graph._nodes;
  const widgets = Object.fromEntries(node.widgets.map(({ name, value }) => [name, value]));
  const missing = node.subgraph.nodes
    .map(({ type }) => type)
    .filter((type) => !(type in LiteGraph.registered_node_types));
  for (const widget of node.widgets) {
    if (widget.name in wanted) widget.value = wanted[widget.name];
  }
  const add = (type, values) => {
    const made = LiteGraph.createNode(type);
    app.graph.add(made);
    for (const [name, value] of Object.entries(values)) {
      made.widgets.find((widget) => widget.name === name).value = value;
    }
    return made;
  };
  const feeds = {
    image: () => add('EmptyImage', { width: 1600, height: 1200 }),
    mask: () => add('SolidMask', { width: 1600, height: 1200 }),
  };
  node.inputs.forEach((input, index) => {
    if (!input.widget) feeds[input.name]().connect(0, node, index);
  });
  node.connect(0, add('SaveImage', { filename_prefix: 'blueprint' }), 0);
  const { output } = await app.graphToPrompt();
  const ended = new Promise((resolve) => {
    const images = [];
    app.api.addEventListener('executed', ({ detail }) => images.push(...(detail.output?.images ?? [])));
    app.api.addEventListener('execution_success', () => resolve({ images, error: '' }));
    app.api.addEventListener('execution_error', ({ detail }) =>
      resolve({ images, error: detail.exception_message }),
    );
  });
  const prompt = Object.values(output).map(({ class_type, inputs }) => [class_type, inputs]);
  await app.queuePrompt(0, 1);
  return { title: node.title, widgets, missing, prompt, ...(await ended) };
}
