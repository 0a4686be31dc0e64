// A user's hand on the graph, in either renderer.

/** Put an empty graph there, seen at its own size. */
export async function clear(page) {
  await page.evaluate(async () => {
    const empty = { last_node_id: 0, last_link_id: 0, nodes: [], links: [], groups: [] };
    await window.app.loadGraphData({ ...empty, config: {}, extra: {}, version: 0.4 });
    Object.assign(window.app.canvas.ds, { scale: 1, offset: [0, 0] });
    window.app.canvas.setDirty(true, true);
  });
}

/** Add a node of that type; gives its id. */
export async function add(page, type, x, y) {
  const id = await page.evaluate(
    ([kind, left, top]) => {
      const node = window.LiteGraph.createNode(kind);
      node.pos = [left, top];
      window.app.graph.add(node);
      return node.id;
    },
    [type, x, y],
  );
  await page.waitForTimeout(300);
  return id;
}

/** Set widgets as the renderers do: the value, then the callback. */
export async function set(page, id, values) {
  await page.evaluate(
    ([node, wanted]) => {
      for (const [name, value] of Object.entries(wanted)) {
        const widget = node.widgets.find((one) => one.name === name);
        widget.value = value;
        widget.callback?.(value, window.app.canvas, node);
      }
    },
    [await handle(page, id), values],
  );
}

/** Press the + of a number, with the mouse. */
export async function increase(page, renderer, id, name) {
  if (renderer === 'vue') {
    const row = page.locator(`[data-node-id="${id}"] .lg-node-widget`, { hasText: name });
    await row.locator('button').last().click();
    return;
  }
  const [x, y] = await page.evaluate(
    ([node, widget]) => {
      const { canvas, ds } = window.app.canvas;
      const found = node.widgets.find((one) => one.name === widget);
      const box = canvas.getBoundingClientRect();
      const at = [node.pos[0] + node.size[0] - 22, node.pos[1] + found.last_y + 10];
      return at.map((value, i) => (value + ds.offset[i]) * ds.scale + [box.left, box.top][i]);
    },
    [await handle(page, id), name],
  );
  await page.mouse.click(x, y);
}

/** Wait until a badge of the node, as it is drawn, is this text; gives what it is in the end. */
export async function badge(page, renderer, id, text) {
  let seen = [];
  await until(async () => (seen = await badges(page, renderer, id)).includes(text));
  return seen.includes(text) ? text : seen;
}

/** @returns {Promise<string[]>} the texts of a node's badges, in Vue those of its widgets too */
export function badges(page, renderer, id) {
  return renderer === 'vue' ? inVue(page, id) : onCanvas(page, id);
}

/** Undo by the keyboard, as slowly as a hand: the page looks at its keys once a frame. */
export async function undo(page) {
  const frame = () => page.evaluate(() => new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go))));
  await frame();
  await page.keyboard.down('Control');
  await frame();
  await page.keyboard.down('z');
  await frame();
  await page.keyboard.up('z');
  await page.keyboard.up('Control');
}

/** Wait until something is so; after half a minute it won't be. */
export async function until(isSo) {
  const end = Date.now() + 30_000;
  while (!(await isSo()) && Date.now() < end) await new Promise((go) => setTimeout(go, 100));
}

/** @returns {Promise<string>} all that is to be read in the part of a node that HTML draws */
export async function words(page, selector) {
  return (await page.locator(selector).allInnerTexts()).join(' | ').replace(/\s+/g, ' ');
}

/** @returns the node of that id in the graph, or subgraph, that is open */
export function handle(page, id) {
  return page.evaluateHandle((wanted) => window.app.canvas.graph.getNodeById(wanted), id);
}

async function inVue(page, id) {
  const texts = await page.locator(`[data-node-id="${id}"] *:not(:has(*))`).allTextContents();
  return texts.map((text) => text.trim());
}

/** The canvas draws what the badge functions give. */
async function onCanvas(page, id) {
  return page.evaluate(
    (node) => node.badges.map((one) => (typeof one === 'function' ? one() : one).text),
    await handle(page, id),
  );
}
