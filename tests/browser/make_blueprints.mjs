// Write the blueprints of subgraphs/ from blueprints.mjs, by the real page.
//
//   node make_blueprints.mjs URL [name …]     URL: a running ComfyUI with this pack
import { writeFileSync } from 'node:fs';

import { BLUEPRINTS } from './blueprints.mjs';
import { ROOT, withPage } from './page.mjs';

const [url, ...names] = process.argv.slice(2);

await withPage(url, {}, async ({ page }) => {
  for (const name of names.length ? names : Object.keys(BLUEPRINTS)) {
    const blueprint = BLUEPRINTS[name];
    const workflow = await page.evaluate(pack, { name, blueprint });
    const text = JSON.stringify(tidy(workflow, blueprint.id), null, 2);
    writeFileSync(`${ROOT}subgraphs/${name}.json`, text + '\n');
    console.log(name);
  }
});

/** In the page: load the nodes, make them one, give it the inputs and outputs that it shall have. */
async function pack({ name, blueprint }) {
  const { app } = window;
  const graph = Object.entries(blueprint.nodes).map(([id, { class_type, inputs }]) => [
    id, { class_type, inputs, _meta: {} },
  ]);
  await app.loadApiJson(Object.fromEntries(graph), name);
  await new Promise((resolve) => setTimeout(resolve, 500));
  for (const [id, { box: [x, y, width, height] }] of Object.entries(blueprint.nodes)) {
    const node = app.graph.getNodeById(Number(id));
    node.title = window.LiteGraph.registered_node_types[node.type].title;
    node.pos = [x, y];
    const least = node.computeSize();
    node.setSize([Math.max(width, least[0]), Math.max(height, least[1])]);
    // "randomize" would buy new images with every run.
    const seed = node.widgets?.find((widget) => widget.name === 'seed');
    for (const control of seed?.linkedWidgets ?? []) control.value = 'fixed';
    // A linked prompt's text is that of the last graph: see make_workflows.mjs.
    for (const widget of node.widgets ?? []) {
      const wanted = blueprint.nodes[id].inputs[widget.name];
      if (typeof wanted === 'string') widget.value = wanted;
    }
  }
  const { subgraph, node } = app.graph.convertToSubgraph(new Set(app.graph._nodes));
  const inside = ([id]) => subgraph.getNodeById(id);
  for (const [input, targets] of Object.entries(blueprint.inputs)) {
    const slots = targets.map((one) => inside(one).inputs.find((slot) => slot.name === one[1]));
    const added = subgraph.addInput(input, String(slots[0].type));
    targets.forEach((one, index) => added.connect(slots[index], inside(one)));
  }
  for (const [output, source] of Object.entries(blueprint.outputs)) {
    const slot = inside(source).outputs[source[1]];
    subgraph.addOutput(output, String(slot.type)).connect(slot, inside(source));
  }
  subgraph.name = name;
  subgraph.description = blueprint.description;
  node.title = name;
  node.pos = [0, 0];
  node.setSize(blueprint.size);
  // The places at which inputs come in and outputs go out, left and right of the nodes.
  const right = Math.max(...Object.values(blueprint.nodes).map(({ box }) => box[0] + box[2]));
  subgraph.inputNode.pos = [-220, 0];
  subgraph.outputNode.pos = [right + 80, 0];
  await new Promise((resolve) => setTimeout(resolve, 500));
  return app.graph.serialize();
}

/** The form that ComfyUI's own blueprints have, with ids of our own, and no view of this page. */
function tidy({ nodes, definitions }, id) {
  const [subgraph] = definitions.subgraphs;
  // "-1": a widget that an input of the subgraph makes. The page's own way of writing it, by the
  // node inside, leaves the node without widgets in ComfyUI 0.14.
  const widgets = nodes[0].inputs.filter((input) => input.widget);
  nodes[0].properties.proxyWidgets = widgets.map(({ name }) => ['-1', name]);
  const own = new Map([[subgraph.id, id]]);
  [...subgraph.inputs, ...subgraph.outputs].forEach((slot, index) => {
    own.set(slot.id, `${id.slice(0, -4)}${id.slice(-2)}${String(index + 1).padStart(2, '0')}`);
  });
  const graph = {
    revision: 0,
    last_node_id: nodes[0].id,
    last_link_id: 0,
    nodes,
    links: [],
    version: 0.4,
    definitions: { subgraphs: [{ ...subgraph, category: 'MAI Image', extra: {} }] },
    extra: {},
  };
  let text = JSON.stringify(graph);
  for (const [made, kept] of own) text = text.replaceAll(made, kept);
  return JSON.parse(text);
}
