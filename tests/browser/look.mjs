// What the real page makes of the example workflows, as JSON on standard output.
//
//   node look.mjs URL canvas|vue FOLDER name …     FOLDER: where screenshots are kept
import { load, withPage } from './page.mjs';

const [url, renderer, folder, ...names] = process.argv.slice(2);

const seen = {};
await withPage(url, { 'Comfy.VueNodes.Enabled': renderer === 'vue' }, async ({ page, problems }) => {
  for (const name of names) {
    const before = problems.length;
    await load(page, name);
    seen[name] = await page.evaluate(look, renderer);
    seen[name].problems = problems.slice(before);
    await page.screenshot({ path: `${folder}/${name}-${renderer}.png` });
  }
});
console.log(JSON.stringify(seen));

/** In the page: the facts that a test asks for. */
async function look(kind) {
  const { app, LiteGraph } = window;
  const nodes = app.graph._nodes;
  const links = [...app.graph._links.values()].map((link) => ({
    from: app.graph.getNodeById(link.origin_id)?.outputs[link.origin_slot],
    to: app.graph.getNodeById(link.target_id)?.inputs[link.target_slot],
    id: link.id,
  }));
  const fits = ({ from, to }) => from && to && LiteGraph.isValidConnection(from.type, to.type);
  const title = LiteGraph.NODE_TITLE_HEIGHT;
  const onCanvas = (node) => [
    node.pos[0], node.pos[1] - title, node.pos[0] + node.size[0], node.pos[1] + node.size[1],
  ];
  const inVue = (node) => {
    const box = document.querySelector(`[data-node-id="${node.id}"]`).getBoundingClientRect();
    return [box.left, box.top, box.right, box.bottom];
  };
  const boxes = () => nodes.map((node) => [node.title, (kind === 'vue' ? inVue : onCanvas)(node)]);
  // The page moves the view and lays nodes out for a while after a workflow was loaded.
  let [before, now] = ['', JSON.stringify(boxes())];
  for (let looks = 0; before !== now && looks < 20; looks += 1) {
    await new Promise((resolve) => setTimeout(resolve, 400));
    [before, now] = [now, JSON.stringify(boxes())];
  }
  return {
    nodes: nodes.length,
    missing: nodes.filter((n) => !(n.type in LiteGraph.registered_node_types)).map((n) => n.type),
    faulty: nodes.filter((node) => node.has_errors).map((node) => node.type),
    links: links.length,
    broken: links.filter((link) => !fits(link)).map((link) => link.id),
    dialogs: [...document.querySelectorAll('[role=dialog]')].map((d) => d.innerText.slice(0, 200)),
    boxes: boxes(),
    notes: nodes.filter((n) => n.type === 'MarkdownNote').map((n) => n.widgets[0].value),
    prompt: (await app.graphToPrompt()).output,
  };
}
