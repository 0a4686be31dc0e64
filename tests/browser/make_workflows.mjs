// Write the example workflows' page format from their API-format twins, by the real page.
//
//   node make_workflows.mjs URL [name …]     URL: a running ComfyUI with this pack
//
// The page itself fills in what a twin lacks (inputs that are new since it was written), so the twin
// is written again too: after a change of a node's inputs this is all that has to be run.
import { readFileSync, writeFileSync } from 'node:fs';

import { LAYOUTS } from './layouts.mjs';
import { ROOT, withPage } from './page.mjs';

const EXAMPLES = `${ROOT}example_workflows/`;

const [url, ...names] = process.argv.slice(2);

await withPage(url, {}, async ({ page }) => {
  for (const name of names.length ? names : Object.keys(LAYOUTS)) {
    const twin = `${EXAMPLES}api/${name}.json`;
    const graph = JSON.parse(readFileSync(twin, 'utf8'));
    const made = await page.evaluate(arrange, { graph, name, layout: LAYOUTS[name] });
    write(`${EXAMPLES}${name}.json`, tidy(made.workflow, LAYOUTS[name].id));
    write(twin, made.prompt);
    console.log(name);
  }
});

function write(file, data) {
  writeFileSync(file, JSON.stringify(data, null, 2) + '\n');
}

/** In the page: load the twin, put everything in its place, give both formats. */
async function arrange({ graph, name, layout }) {
  const { app, LiteGraph } = window;
  await app.loadApiJson(graph, name);
  await new Promise((resolve) => setTimeout(resolve, 500));
  for (const [id, [x, y, width, height]] of Object.entries(layout.nodes)) {
    const node = app.graph.getNodeById(Number(id));
    node.pos = [x, y];
    const least = node.computeSize();
    node.setSize([Math.max(width, least[0]), Math.max(height, least[1])]);
    // "randomize" would buy new images with every run.
    const seed = node.widgets?.find((widget) => widget.name === 'seed');
    for (const control of seed?.linkedWidgets ?? []) control.value = 'fixed';
    // A text that comes through a link is not typed here; the page shows one of another graph.
    for (const { name, widget, link } of node.inputs) {
      const typed = widget && node.widgets.find((one) => one.name === name);
      if (link != null && typeof typed?.value === 'string') typed.value = '';
    }
  }
  const note = LiteGraph.createNode('MarkdownNote');
  const [x, y, width, height] = layout.note.box;
  note.pos = [x, y];
  note.title = layout.note.title;
  app.graph.add(note);
  // Before it is added, the page gives it the text of the last note with this id.
  note.widgets[0].value = layout.note.text;
  note.setSize([width, height]);
  // A wire that would run behind a node goes round it.
  for (const [end, points] of Object.entries(layout.wires ?? {})) {
    const [, id, input] = end.match(/^(\d+)\.(.+)$/);
    const target = app.graph.getNodeById(Number(id));
    const link = app.graph.getLink(target.inputs.find((slot) => slot.name === input).link);
    for (const point of points) app.graph.createReroute(point, link);
  }
  // A group's frame runs around its nodes and their titles, and leaves room for its own and
  // for the badges that the canvas draws above a node's.
  const boxes = (ids) =>
    ids.map((id) => {
      const { pos, size } = app.graph.getNodeById(id);
      return [pos[0] - 15, pos[1] - 90, pos[0] + size[0] + 15, pos[1] + size[1] + 15];
    });
  for (const { title, nodes, color } of layout.groups) {
    const group = new LiteGraph.LGraphGroup(title);
    group.color = color;
    app.graph.add(group);
    group.pos = [0, 1].map((axis) => Math.min(...boxes(nodes).map((box) => box[axis])));
    const ends = [0, 1].map((axis) => Math.max(...boxes(nodes).map((box) => box[axis + 2])));
    group.size = [ends[0] - group.pos[0], ends[1] - group.pos[1]];
  }
  const prompt = (await app.graphToPrompt()).output;
  return { workflow: app.graph.serialize(), prompt };
}

/** The same file for the same graph: ids of our own, links counted from 1, no view of this page. */
function tidy(workflow, id) {
  const renumbered = new Map(workflow.links.map((link, index) => [link[0], index + 1]));
  for (const node of workflow.nodes) {
    for (const input of node.inputs ?? []) {
      if (input.link != null) input.link = renumbered.get(input.link);
    }
    for (const output of node.outputs ?? []) {
      output.links = output.links?.map((link) => renumbered.get(link)) ?? null;
    }
  }
  const links = workflow.links.map(([link, ...rest]) => [renumbered.get(link), ...rest]);
  const nodes = workflow.nodes.toSorted((a, b) => a.id - b.id);
  const extra = renumberReroutes(workflow.extra, renumbered);
  return { ...workflow, id, nodes, links, last_link_id: links.length, extra };
}

/** The points that links go through, and which link starts at which, with the links' new numbers. */
function renumberReroutes({ reroutes, linkExtensions }, renumbered) {
  if (!reroutes?.length) return {};
  return {
    linkExtensions: linkExtensions.map((one) => ({ ...one, id: renumbered.get(one.id) })),
    reroutes: reroutes.map(({ id, parentId, pos, linkIds }) => ({
      id, parentId, pos, linkIds: linkIds.map((link) => renumbered.get(link)),
    })),
  };
}
