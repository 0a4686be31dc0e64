// What the real page makes of the example workflows, as JSON on standard output.
//
//   node look.mjs URL canvas|vue FOLDER WIDTHxHEIGHT account|none name …
//
// FOLDER is where screenshots are kept. Each workflow is opened as the Templates dialog does it,
// looked at, run and looked at again; where the server has no account, it is run as its note says.
import { load, run, withPage } from './page.mjs';

const [url, renderer, folder, size, account, ...names] = process.argv.slice(2);
const [width, height] = size.split('x').map(Number);

// The button of a MAI node where no account is set up.
const TRY_IT = 'Try it free';

const seen = {};
const settings = {
  'Comfy.VueNodes.Enabled': renderer === 'vue',
  'Comfy.Locale': 'en',
  'Comfy.ColorPalette': 'dark',
};
await withPage(url, settings, async ({ page, problems }) => {
  await page.setViewportSize({ width, height });
  for (const name of names) {
    const before = problems.length;
    await load(page, name);
    if (account === 'none') await page.getByRole('button', { name: TRY_IT }).first().waitFor();
    seen[name] = { opened: await page.evaluate(look, renderer) };
    await page.screenshot({ path: `${folder}/${name}-${renderer}-${size}.png` });
    if (account === 'none') await tryIt(page);
    await run(page);
    await page.waitForFunction(hasPreviews);
    seen[name].ran = await page.evaluate(look, renderer);
    await page.screenshot({ path: `${folder}/${name}-${renderer}-${size}-ran.png` });
    seen[name].problems = problems.slice(before);
  }
});
console.log(JSON.stringify(seen));

/** Press the button that lets all nodes use the emulator, and wait until the page shows that. */
async function tryIt(page) {
  await page.getByRole('button', { name: TRY_IT }).first().click();
  await page.getByRole('button', { name: 'Back to my account' }).first().waitFor();
}

/** In the page: whether each node that saves images shows one. */
function hasPreviews() {
  const { app } = window;
  return app.graph._nodes
    .filter((node) => node.type.endsWith('SaveImage'))
    .every((node) => app.nodeOutputs[node.id]?.images?.length);
}

/** In the page: the facts that a test asks for. Boxes are left, top, right, bottom in the graph. */
async function look(kind) {
  const { app, LiteGraph } = window;
  const { graph, canvas } = app;
  const title = LiteGraph.NODE_TITLE_HEIGHT;
  const nodes = graph._nodes;
  const inputs = nodes.flatMap((node) => node.inputs);
  const links = inputs.map((input) => graph.getLink(input.link)).filter(Boolean);
  const ends = links.map((link) => ({
    from: graph.getNodeById(link.origin_id)?.outputs[link.origin_slot],
    to: graph.getNodeById(link.target_id)?.inputs[link.target_slot],
    id: link.id,
  }));
  const fits = ({ from, to }) => from && to && LiteGraph.isValidConnection(from.type, to.type);
  const onCanvas = ({ pos, size }) => [pos[0], pos[1] - title, pos[0] + size[0], pos[1] + size[1]];
  const frame = ({ pos, size }) => [pos[0], pos[1], pos[0] + size[0], pos[1] + size[1]];
  const inVue = (node) => {
    const box = document.querySelector(`[data-node-id="${node.id}"]`).getBoundingClientRect();
    const corner = canvas.canvas.getBoundingClientRect();
    const { scale, offset } = canvas.ds;
    const x = (value) => (value - corner.left) / scale - offset[0];
    const y = (value) => (value - corner.top) / scale - offset[1];
    return [x(box.left), y(box.top), x(box.right), y(box.bottom)];
  };
  const box = kind === 'vue' ? inVue : onCanvas;
  const drawn = () => JSON.stringify([nodes.map(box), canvas.ds.scale, canvas.ds.offset]);
  // The page moves the view and lays nodes out for a while after a workflow was loaded.
  let [before, now] = ['', drawn()];
  for (let looks = 0; before !== now && looks < 20; looks += 1) {
    await new Promise((resolve) => setTimeout(resolve, 400));
    [before, now] = [now, drawn()];
  }
  return {
    zoom: canvas.ds.scale,
    nodes: nodes.length,
    missing: nodes.filter((n) => !(n.type in LiteGraph.registered_node_types)).map((n) => n.type),
    faulty: nodes.filter((node) => node.has_errors).map((node) => node.type),
    links: links.length,
    broken: ends.filter((end) => !fits(end)).map((end) => end.id),
    dialogs: [...document.querySelectorAll('[role=dialog]')].map((d) => d.innerText.slice(0, 200)),
    boxes: nodes.map((node) => [node.title, node.type, box(node)]),
    badges: kind === 'vue' ? [] : nodes.map(badgesOf).filter(Boolean),
    groups: graph._groups.map((group) => [
      group.title, frame(group), [...group.pos, group.size[0], group.titleHeight],
      [...nodes].filter((node) => isIn(node, group)).map((node) => node.title),
    ]),
    undrawn: links.filter((link) => !paths(link).length).map((link) => link.id),
    cut: kind === 'vue' ? modelsCut() : [],
    behind: links.flatMap((link) => nodesOver(link)),
    titles: links.flatMap((link) => titlesUnder(link)),
    notes: nodes.filter((n) => n.type === 'MarkdownNote').map((n) => n.widgets[0].value),
    prompt: (await app.graphToPrompt()).output,
  };

  /** The names of models that Vue shows with an ellipsis. */
  function modelsCut() {
    return [...document.querySelectorAll('[data-node-id] [role=combobox]')]
      .flatMap((choice) => [choice, ...choice.querySelectorAll('*')])
      .filter((part) => /^MAI-Image/.test(part.textContent) && part.scrollWidth > part.clientWidth)
      .map((part) => part.textContent);
  }

  /** Whether the group is this node's: its saved place decides. */
  function isIn(node, group) {
    const [left, top, right, bottom] = frame(group);
    const [x, y] = node.pos;
    return left <= x && x <= right && top <= y && y <= bottom;
  }

  /** The badges that the canvas draws above a node's title, as a box. */
  function badgesOf(node) {
    if (!node.badges.length) return null;
    const [left, top, right] = onCanvas(node);
    return [node.title, [left, top - 22, right, top]];
  }

  /** The page's own paths of a wire: to each point that it goes through, and on to its input. */
  function paths(link) {
    const points = link.constructor.getReroutes(graph, link);
    return [...points, link].map(({ path }) => path).filter(Boolean);
  }

  /** A wire as it is drawn, small, to see whether it is in a box. */
  function drawing(link) {
    const [x, y] = [-400, -400];
    const small = new OffscreenCanvas(700, 500).getContext('2d', { willReadFrequently: true });
    small.scale(0.25, 0.25);
    small.translate(-x, -y);
    small.lineWidth = 6;
    paths(link).forEach((path) => small.stroke(path));
    return ([left, top, right, bottom]) => {
      const [from, to] = [[left - x, top - y], [right - x, bottom - y]].map((at) => at.map((v) => v / 4));
      const [w, h] = [to[0] - from[0], to[1] - from[1]];
      if (w < 1 || h < 1) return false;
      return small.getImageData(...from, w, h).data.some((value) => value > 60);
    };
  }

  /** The nodes that a wire runs behind; at its own two it may be as far in as their sockets are. */
  function nodesOver(link) {
    const own = [link.origin_id, link.target_id].map(String);
    const crosses = drawing(link);
    return nodes
      .filter((node) => {
        const [left, top, right, bottom] = box(node);
        const inset = own.includes(String(node.id)) ? 24 : 0;
        return crosses([left + inset, top, right - inset, bottom]);
      })
      .map((node) => [link.id, node.title]);
  }

  /** The groups whose written title a wire crosses. */
  function titlesUnder(link) {
    const context = new OffscreenCanvas(1, 1).getContext('2d');
    const crosses = drawing(link);
    return graph._groups
      .filter((group) => {
        context.font = `${group.font_size}px Inter`;
        const wide = Math.min(context.measureText(group.title).width + 12, group.size[0]);
        const [x, y] = group.pos;
        return crosses([x + 4, y + 4, x + wide, y + group.titleHeight - 4]);
      })
      .map((group) => [link.id, group.title]);
  }
}
