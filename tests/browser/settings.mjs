// A server with an account: what a paid node's buttons, notices and menus do, and the node search.
//
//   node settings.mjs URL canvas|vue FOLDER     FOLDER: where screenshots are kept
import { readFileSync } from 'node:fs';
import { add, badge, clear, handle, set, undo, until, words } from './hand.mjs';
import { withPage } from './page.mjs';

const [url, renderer, folder] = process.argv.slice(2);

const seen = {};
const settings = {
  'Comfy.VueNodes.Enabled': renderer === 'vue',
  'Comfy.ColorPalette': 'dark',
  'Comfy.Locale': 'en',
};
await withPage(url, settings, async ({ page, problems }) => {
  for (const [name, part] of Object.entries({
    more, linkedSeed, option, missing, suggested, forAll, opened, search,
  })) {
    await clear(page);
    seen[name] = await part(page);
    await page.screenshot({ path: `${folder}/settings-${name}-${renderer}.png` });
  }
  seen.problems = problems;
});
console.log(JSON.stringify(seen));

/** "New image" and its price: of one, of a batch, emulated; then what it queues. */
async function more(page) {
  const node = await add(page, 'MAIGenerate', 500, 100);
  const label = async (wanted) => {
    await page.getByRole('button', { name: wanted, exact: true }).waitFor();
    return page.locator('.mai-actions button').first().innerText();
  };
  const told = { one: await label('New image ($0.035)') };
  await set(page, node, { batch_size: 4 });
  told.batch = await label('New images ($0.140)');
  await set(page, node, { width: 2048, height: 9000 });
  await label('New images');
  told.impossible = await page.locator('.mai-actions button').first().isDisabled();
  await set(page, node, { width: 768, height: 768, batch_size: 1, profile: 'emulator', prompt: 'a fox' });
  told.free = await label('New image (free)');
  const sent = page.waitForRequest((request) => request.url().endsWith('/prompt') && request.method() === 'POST');
  const save = await add(page, 'PreviewImage', 1100, 100);
  await page.evaluate(([one, other]) => one.connect(0, other, 0), [
    await handle(page, node), await handle(page, save),
  ]);
  await page.locator('.mai-actions button').first().focus();
  await page.keyboard.press('Enter');
  const { prompt } = (await sent).postDataJSON();
  told.sent = prompt[node].inputs.seed;
  told.seed = await value(page, node, 'seed');
  return told;
}

/** The seed over a link: from a primitive, which gets the new one, and from a node that computes. */
async function linkedSeed(page) {
  const node = await add(page, 'MAIGenerate', 500, 100);
  const number = await add(page, 'PrimitiveInt', 100, 100);
  const size = await add(page, 'GetImageSize', 100, 400);
  const link = async (from) => page.evaluate(([one, other]) => one.connect(0, other, 'seed'), [
    await handle(page, from), await handle(page, node),
  ]);
  await link(number);
  await page.evaluate(() => { window.app.queuePrompt = () => {}; });
  await page.getByRole('button', { name: /^New image/ }).click();
  const told = { primitive: await value(page, number, 'value') };
  await link(size);
  await page.locator('.mai-actions button:disabled').waitFor();
  return told;
}

/** Options that the model lacks: marked, seen, and switched off by their buttons. */
async function option(page) {
  const node = await add(page, 'MAIGenerate', 500, 100);
  await set(page, node, {
    model: 'MAI-Image-2.5', web_grounding: true, auto_aspect_ratio: true, background: 'transparent',
  });
  await badge(page, renderer, node, 'not possible');
  await page.locator('.mai-notice-wrong button').nth(2).waitFor();
  await page.waitForTimeout(300);
  const told = { marked: await labels(page, node), notice: await words(page, '.mai-notice') };
  told.rows = renderer === 'vue' ? await words(page, '.lg-node-widgets') : '⚠ web_grounding';
  await page.screenshot({ path: `${folder}/settings-marked-${renderer}.png` });
  for (const name of ['Switch off web_grounding', 'Switch off auto_aspect_ratio', 'Set background to opaque']) {
    await page.getByRole('button', { name }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name }).waitFor({ state: 'detached' });
  }
  told.left = await page.locator('.mai-notice-wrong').count();
  told.after = await labels(page, node);
  told.values = [];
  for (const name of ['web_grounding', 'auto_aspect_ratio', 'background']) {
    told.values.push(await value(page, node, name));
  }
  return told;
}

/** A profile that this server doesn't have, as a shared workflow brings it. */
async function missing(page) {
  const node = await add(page, 'MAIGenerate', 500, 100);
  await set(page, node, { profile: 'studio' });
  const told = { badge: await badge(page, renderer, node, 'no account: try it free') };
  await page.locator('.mai-notice').waitFor();
  told.notice = await words(page, '.mai-notice');
  told.marked = await labels(page, node);
  await page.waitForTimeout(300);
  await page.screenshot({ path: `${folder}/settings-profile-${renderer}.png` });
  await page.getByRole('button', { name: 'Use default' }).click();
  await page.locator('.mai-notice').waitFor({ state: 'detached' });
  return { ...told, value: await value(page, node, 'profile'), after: await labels(page, node) };
}

/** The names of this server's profiles, offered at the widget. */
async function suggested(page) {
  const node = await add(page, 'MAIGenerate', 500, 100);
  await page.waitForTimeout(500);
  await touchProfile(page, node);
  const menu = page.getByRole('menu');
  await menu.waitFor();
  const told = { offered: await menu.getByRole('menuitem').allInnerTexts() };
  await page.screenshot({ path: `${folder}/settings-menu-${renderer}.png` });
  await page.keyboard.press('ArrowDown');
  if (renderer === 'vue') await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await badge(page, renderer, node, 'emulated');
  told.chosen = await value(page, node, 'profile');
  told.closed = await menu.count();
  await touchProfile(page, node);
  await menu.waitFor();
  await page.keyboard.press('Escape');
  told.escaped = await menu.count();
  return told;
}

async function forAll(page) {
  const node = await add(page, 'MAIGenerate', 300, 100);
  const edit = await add(page, 'MAIEdit', 900, 100);
  await set(page, node, { profile: 'emulator' });
  await page.getByRole('button', { name: 'Use “emulator” for all MAI nodes' }).click();
  const told = { edit: await value(page, edit, 'profile') };
  await page.waitForFunction(() => !document.querySelector('.mai-actions button:nth-child(3):not([hidden])'));
  await undo(page);
  await until(async () => (await value(page, edit, 'profile').catch(() => '')) !== 'emulator');
  return { ...told, undone: await value(page, edit, 'profile') };
}

/** A workflow that an earlier version saved: every value by its place, and the node's size. */
async function opened(page) {
  const saved = JSON.parse(readFileSync(new URL('saved_before_fixed_seeds.json', import.meta.url)));
  await page.evaluate((workflow) => window.app.loadGraphData(workflow), saved);
  await page.waitForTimeout(1000);
  return page.evaluate(() => Object.fromEntries(window.app.graph.serialize().nodes.map(
    (node) => [node.type, { values: node.widgets_values, size: [...node.size] }],
  )));
}

/** The nodes that the page's own search finds, best first. */
async function search(page) {
  const found = {};
  for (const query of ['azure', 'mask edit', 'inpaint']) {
    await page.evaluate(() => window.app.extensionManager.command.execute('Workspace.SearchBox.Toggle'));
    const input = page.locator('[role=dialog] input, .invisible-dialog-root input').first();
    await input.waitFor();
    await input.fill(query);
    const read = async () =>
      (await page.locator('[role=option], [role=listbox] li').allInnerTexts()).map((text) => text.replace(/\s+/g, ' '));
    const isEdit = (text) => text.startsWith('MAI Edit');
    await until(async () => (found[query] = await read()).some(isEdit));
    await page.screenshot({ path: `${folder}/settings-search-${renderer}.png` });
    await page.keyboard.press('Escape');
    await page.waitForTimeout(300);
  }
  return found;
}

/** Click a node's profile: its input, or its row on the canvas. */
async function touchProfile(page, id) {
  if (renderer === 'vue') {
    await page.locator(`[data-node-id="${id}"] input[aria-label="profile"]`).click();
    return;
  }
  const [x, y] = await page.evaluate((node) => {
    const { canvas, ds } = window.app.canvas;
    const found = node.widgets.find((one) => one.name === 'profile');
    const box = canvas.getBoundingClientRect();
    const at = [node.pos[0] + node.size[0] / 2, node.pos[1] + found.last_y + 10];
    return at.map((value, i) => (value + ds.offset[i]) * ds.scale + [box.left, box.top][i]);
  }, await handle(page, id));
  await page.mouse.click(x, y);
}

async function value(page, id, name) {
  return page.evaluate(
    ([node, wanted]) => node.widgets.find((one) => one.name === wanted).value,
    [await handle(page, id), name],
  );
}

/** The widgets whose names are marked. */
async function labels(page, id) {
  return page.evaluate(
    (node) => node.widgets.map((one) => one.label ?? '').filter((label) => label.startsWith('⚠')),
    await handle(page, id),
  );
}
