// A server without an account, as a new user meets it; what came of it as JSON on standard output.
//
//   node account.mjs URL canvas|vue FOLDER     FOLDER: where screenshots are kept
import { add, badge, clear, handle, set, undo, until } from './hand.mjs';
import { settingsOf, withPage } from './page.mjs';

const [url, renderer, folder] = process.argv.slice(2);
const NO_ACCOUNT = 'no account: try it free';
const MINE = 'use my account';

const seen = {};
await withPage(url, settingsOf(renderer), async ({ page, problems }) => {
  for (const [name, part] of Object.entries({
    fresh, everywhere, keys, unpriced, unknown, light,
  })) {
    await clear(page);
    seen[name] = await part(page);
    await page.screenshot({ path: `${folder}/account-${name}-${renderer}.png` });
  }
  seen.problems = [...problems];
});
console.log(JSON.stringify(seen));

/** A node as it comes: its seed, its prompt's lines, its badge. */
async function fresh(page) {
  const node = await add(page, 'MAIGenerate', 400, 100);
  const said = await badge(page, renderer, node, NO_ACCOUNT);
  const lines = await page.locator('textarea').first().evaluate((area) => {
    const style = getComputedStyle(area);
    const line = parseFloat(style.lineHeight) || 1.2 * parseFloat(style.fontSize);
    const padding = parseFloat(style.paddingTop) + parseFloat(style.paddingBottom);
    return Math.floor((area.clientHeight - padding) / line);
  });
  const control = await page.evaluate((one) => {
    const seed = one.widgets.find((widget) => widget.name === 'seed');
    return seed.linkedWidgets.map((widget) => widget.value);
  }, await handle(page, node));
  return { said, lines, control };
}

/** Nodes in the graph, in a subgraph of a subgraph, and one whose profile the outer nodes show. */
async function everywhere(page) {
  const node = await add(page, 'MAIGenerate', 500, 100);
  const edit = await add(page, 'MAIEdit', 1000, 100);
  const shown = await add(page, 'MAIGenerate', 1000, 600);
  await set(page, edit, { profile: 'studio' });
  await nest(page, [edit], null);
  await nest(page, [shown], 'profile');
  await page.waitForTimeout(500);
  const told = { before: await profiles(page) };
  await page.screenshot({ path: `${folder}/account-nested-${renderer}.png` });
  await clickBadge(page, node, NO_ACCOUNT);
  told.emulated = await profiles(page);
  told.badge = await badge(page, renderer, node, MINE);
  await page.screenshot({ path: `${folder}/account-emulated-${renderer}.png` });
  await undo(page);
  await until(async () => !Object.values(await profiles(page)).includes('emulator'));
  told.undone = await profiles(page);
  await badge(page, renderer, node, NO_ACCOUNT);
  await clickBadge(page, node, NO_ACCOUNT);
  await badge(page, renderer, node, MINE);
  await clickBadge(page, node, MINE);
  told.back = await profiles(page);
  return told;
}

/** The same by the button and the keyboard. */
async function keys(page) {
  const node = await add(page, 'MAIGenerate', 500, 100);
  await badge(page, renderer, node, NO_ACCOUNT);
  const button = page.getByRole('button', { name: 'Try it free', exact: true });
  await button.focus();
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'New image (free)' }).waitFor();
  const told = { emulated: await profiles(page) };
  await page.getByRole('button', { name: 'Back to my account' }).focus();
  await page.keyboard.press('Space');
  await button.waitFor();
  return { ...told, back: await profiles(page) };
}

/** A profile whose service asks a price of its own for one of two models. */
async function unpriced(page) {
  const profiles = [{ name: 'router', ready: true, unpriced: ['MAI-Image-2.6'] }];
  const accounts = (route) => route.fulfill({ json: { profiles, default: 'router' } });
  await page.route('**/mai-image/accounts', accounts);
  const node = await add(page, 'MAIGenerate', 500, 100);
  await set(page, node, { model: 'MAI-Image-2.6', width: 768, height: 768 });
  await page.evaluate(() => window.dispatchEvent(new Event('focus')));
  const about = await badge(page, renderer, node, '≈ $0.022');
  await set(page, node, { model: 'MAI-Image-2.7' });
  const exact = await badge(page, renderer, node, '$0.020');
  await page.unroute('**/mai-image/accounts', accounts);
  return { about, exact };
}

/** A page that may not ask says nothing of accounts. */
async function unknown(page) {
  await page.route('**/mai-image/accounts', (route) => route.fulfill({ status: 403, json: {} }));
  const node = await add(page, 'MAIGenerate', 500, 100);
  await page.evaluate(() => window.dispatchEvent(new Event('focus')));
  await page.waitForFunction(() => !document.querySelector('.mai-actions button:nth-child(2):not([hidden])'));
  return badge(page, renderer, node, '$0.035');
}

async function light(page) {
  await page.evaluate(() => window.app.extensionManager.setting.set('Comfy.ColorPalette', 'light'));
  await add(page, 'MAIGenerate', 500, 100);
  await page.waitForTimeout(800);
}

/** Put nodes into a subgraph of a subgraph; with a name, both show that widget on their own nodes. */
async function nest(page, ids, name) {
  await page.evaluate(([wanted, input]) => {
    const { canvas } = window.app;
    const inner = (nodes) => canvas.graph.convertToSubgraph(new Set(nodes));
    const promote = (subgraph, inside) => {
      const slot = inside.inputs.find((one) => one.name === input);
      subgraph.addInput(input, slot.type).connect(slot, inside);
    };
    const one = inner(wanted.map((id) => canvas.graph.getNodeById(id)));
    if (input) promote(one.subgraph, one.subgraph.nodes[0]);
    const two = inner([one.node]);
    if (input) promote(two.subgraph, two.subgraph.nodes[0]);
  }, [ids, name]);
}

/** Every profile of the graph, by the path of its node. */
async function profiles(page) {
  await page.waitForTimeout(300);
  return page.evaluate(() => {
    const found = {};
    const walk = (graph, path) => {
      for (const node of graph.nodes) {
        const widget = node.widgets?.find((one) => one.name === 'profile');
        const place = `${path}${node.subgraph ? 'subgraph' : node.type}`;
        if (widget) found[place] = widget.value;
        if (node.subgraph) walk(node.subgraph, `${place}${widget ? '*' : ''}/`);
      }
    };
    walk(window.app.graph, '');
    return found;
  });
}

/** Click a badge with the mouse where it is drawn. */
async function clickBadge(page, id, words) {
  await badge(page, renderer, id, words);
  // It is drawn with the next frame; and two clicks in a row would be a double click.
  await page.waitForTimeout(500);
  const [x, y] = await (renderer === 'vue' ? placeInVue(page, id) : placeOnCanvas(page, id, words));
  await page.mouse.click(x, y);
}

async function placeInVue(page, id) {
  const { x, y, width, height } = await page.locator(`[data-node-id="${id}"] .mai-badge`).boundingBox();
  return [x + width / 2, y + height / 2];
}

async function placeOnCanvas(page, id, words) {
  return page.evaluate(([node, wanted]) => {
    const { canvas, ds } = window.app.canvas;
    const badges = node.badges.map((one) => (typeof one === 'function' ? one() : one));
    const [left, top, width, height] = badges.find(({ text }) => text === wanted).boundingRect;
    const box = canvas.getBoundingClientRect();
    const at = [node.pos[0] + left + width / 2, node.pos[1] + top + height / 2];
    return at.map((value, i) => (value + ds.offset[i]) * ds.scale + [box.left, box.top][i]);
  }, [await handle(page, id), words]);
}
