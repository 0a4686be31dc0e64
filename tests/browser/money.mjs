// Money and failures on the real page, used as a user would; what came of it as JSON on standard
// output.
//
//   node money.mjs URL canvas|vue FOLDER     FOLDER: where screenshots are kept
import { add, badge, badges, clear, handle, set, until, words } from './hand.mjs';
import { withPage } from './page.mjs';

const [url, renderer, folder] = process.argv.slice(2);
const SMALL = { model: 'MAI-Image-2.6', width: 768, height: 768 };
const DEAR = { model: 'MAI-Image-2.7', width: 2048, height: 2048, batch_size: 64 };
const TAB = ":is(.mai-image-tab-button, [data-testid='mai-image-tab-button'])";

const seen = {};
const settings = {
  'Comfy.VueNodes.Enabled': renderer === 'vue',
  'Comfy.ColorPalette': 'dark',
  'Comfy.Locale': 'en',
  'Comfy.RightSidePanel.ShowErrorsTab': true,
};
await withPage(url, settings, async ({ page, problems }) => {
  await page.setViewportSize({ width: 1440, height: 900 });
  const shoot = (name) => page.screenshot({ path: `${folder}/${name}-${renderer}.png` });
  for (const [name, part] of Object.entries({
    prices, totals, subgraph, question, failure, failureInside, stopped,
  })) {
    await clear(page);
    seen[name] = await part(page, shoot);
    await shoot(name);
  }
  seen.light = await light(page, shoot);
  seen.problems = problems;
});
console.log(JSON.stringify(seen));

/** One node's price, its colour, and what the mouse finds on it. */
async function prices(page, shoot) {
  const node = await add(page, 'MAIGenerate', 500, 200);
  await set(page, node, DEAR);
  const dear = '$0.139 × 64 = $8.90';
  const told = { dear: await badge(page, renderer, node, dear), tip: '' };
  told.amber = await colour(page, node, dear);
  told.tip = await tip(page, node, dear);
  await shoot('amber');
  await keep(page, 'MAI.AmberAbove', 20);
  await until(async () => (await colour(page, node, dear)) !== told.amber);
  told.plain = await colour(page, node, dear);
  await keep(page, 'MAI.AmberAbove', 1);
  await set(page, node, { profile: 'emulator', batch_size: 2 });
  told.emulated = await badge(page, renderer, node, 'emulated; real ≈ $0.278');
  return told;
}

/** The graph's total on the tab's icon and in its name. */
async function totals(page) {
  const one = await add(page, 'MAIGenerate', 100, 200);
  const other = await add(page, 'MAIGenerate', 500, 200);
  const edit = await add(page, 'MAIEdit', 900, 200);
  await set(page, one, { ...SMALL, batch_size: 2 });
  await set(page, other, SMALL);
  const told = { edit: await onIcon(page, '≈$0.'), name: await nameOfTab(page) };
  const mode = async (id, value) =>
    page.evaluate(([node, wanted]) => { node.mode = wanted; }, [await handle(page, id), value]);
  await mode(edit, 4);
  told.bypassed = await onIcon(page, '$0.07');
  await mode(one, 2);
  told.muted = await onIcon(page, '$0.02');
  await set(page, other, { profile: 'emulator' });
  told.emulated = await onIcon(page, '');
  told.emulatedName = await nameOfTab(page);
  return told;
}

/** The same of what is in a subgraph, on the subgraph's node too. */
async function subgraph(page) {
  const node = await add(page, 'MAIGenerate', 500, 200);
  await set(page, node, DEAR);
  const host = await wrap(page, node);
  const told = { badge: await badge(page, renderer, host, '$8.90'), icon: await onIcon(page, '$8.9') };
  await page.evaluate((id) => { window.app.graph.getNodeById(id).mode = 2; }, host);
  told.muted = await onIcon(page, '');
  return told;
}

/** The question before a run that costs much. */
async function question(page, shoot) {
  let sent = 0;
  await page.route('**/prompt', (route) => {
    if (route.request().method() !== 'POST') return route.continue();
    sent += 1;
    return route.fulfill({ json: { prompt_id: 'none', number: 1, node_errors: {} } });
  });
  const node = await add(page, 'MAIGenerate', 300, 200);
  const unused = await add(page, 'MAIGenerate', 1100, 200);
  const save = await add(page, 'PreviewImage', 800, 200);
  await connect(page, node, save);
  await set(page, unused, DEAR);
  await set(page, node, SMALL);
  const told = {};
  const run = (count = 1) => {
    const ended = page.evaluate((times) => window.app.queuePrompt(0, times), count);
    ended.catch(() => {});
    return ended;
  };
  await run();
  told.cheap = sent;
  const dialog = page.getByRole('dialog').filter({ hasText: 'This run costs' });
  await set(page, node, DEAR);
  const cancelled = run();
  await dialog.waitFor();
  told.asked = (await dialog.innerText()).replace(/\s+/g, ' ');
  await shoot('asked');
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  told.cancelled = [await cancelled, sent];
  const agreed = run();
  await dialog.getByRole('button', { name: 'Confirm' }).click();
  await agreed;
  told.agreed = sent;
  await set(page, node, { ...SMALL, batch_size: 64 });
  await run();
  told.under = sent;
  const many = run(5);
  await dialog.waitFor();
  told.many = (await dialog.innerText()).replace(/\s+/g, ' ');
  await page.keyboard.press('Escape');
  await many;
  told.closed = sent;
  await page.unroute('**/prompt');
  return told;
}

/** A run that fails, and the next one. */
async function failure(page, shoot) {
  const node = await runnable(page, 'blockprompt, please');
  await queue(page, 'execution_error');
  const notice = page.locator('.mai-failure');
  await notice.waitFor();
  const told = { notice: await words(page, '.mai-failure') };
  told.toast = await toast(page);
  told.heights = await heights(page, node);
  await shoot('failed');
  await set(page, node, { prompt: `a quiet harbour, ${renderer}`, profile: 'emulator' });
  await queue(page, 'execution_success');
  await notice.waitFor({ state: 'detached' });
  told.after = await notice.count();
  told.stays = await progress(page, node);
  told.tip = await tipOnText(page, told.stays);
  // An error before the first request leaves nothing of the run before.
  await set(page, node, { width: 160 });
  await queue(page, 'execution_error');
  await notice.waitFor();
  told.size = await words(page, '.mai-failure');
  told.text = await progress(page, node);
  return told;
}

/** A node's height in a saved workflow, and as it is shown. */
async function heights(page, node) {
  return page.evaluate((id) => {
    const shown = window.app.graph.getNodeById(id);
    return [shown.serialize().size[1], shown.size[1]];
  }, node);
}

/** A failure within a subgraph, on the subgraph's node. */
async function failureInside(page) {
  const node = await runnable(page, 'blockprompt, once more');
  const host = await wrap(page, node);
  await queue(page, 'execution_error');
  const told = { blocked: await badge(page, renderer, host, 'Blocked') };
  await page.evaluate(([id, which]) => {
    const [inner] = window.app.graph.getNodeById(id).subgraph.nodes;
    inner.widgets.find(({ name }) => name === 'profile').value = 'emulator';
    inner.widgets.find(({ name }) => name === 'prompt').value = `a harbour within, ${which}`;
  }, [host, renderer]);
  await queue(page, 'execution_success');
  const emulated = (text) => text.startsWith('emulated; real ≈ $0.022 · ');
  await until(async () => (told.after = await badges(page, renderer, host)).some(emulated));
  return told;
}

/** A run that the user stops while it waits. */
async function stopped(page) {
  // A new one for each run: what was sent before is kept.
  const node = await runnable(page, `a slow harbour [[latency 20]] ${Date.now()}`);
  const ended = queue(page, 'execution_interrupted');
  await until(async () => /^sent 1 of 1/.test(await progress(page, node)));
  await page.evaluate(() => window.app.api.interrupt());
  await ended;
  await until(async () => !/^sent/.test(await progress(page, node)));
  return { text: await progress(page, node) };
}

async function light(page, shoot) {
  await keep(page, 'Comfy.ColorPalette', 'light');
  await clear(page);
  await runnable(page, 'blockprompt in the light');
  await queue(page, 'execution_error');
  await page.locator('.mai-failure').waitFor();
  await page.waitForTimeout(500);
  await shoot('light');
  await keep(page, 'Comfy.ColorPalette', 'dark');
}

/** A node whose images are previewed. */
async function runnable(page, prompt) {
  const node = await add(page, 'MAIGenerate', 300, 150);
  const save = await add(page, 'PreviewImage', 800, 150);
  await set(page, node, { ...SMALL, prompt });
  await connect(page, node, save);
  return node;
}

async function connect(page, from, to) {
  await page.evaluate(([one, other]) => one.connect(0, other, 0), [
    await handle(page, from), await handle(page, to),
  ]);
}

/** Run the graph, and wait for that event of the page. */
async function queue(page, event) {
  await page.evaluate((name) => new Promise((resolve) => {
    window.app.api.addEventListener(name, resolve, { once: true });
    window.app.queuePrompt(0);
  }), event);
}

/** Make a subgraph of a node; gives the id of its node. */
function wrap(page, id) {
  return page.evaluate((wanted) => {
    const { graph } = window.app;
    const { node } = graph.convertToSubgraph(new Set([graph.getNodeById(wanted)]));
    return node.id;
  }, id);
}

function keep(page, name, value) {
  return page.evaluate(([id, wanted]) => window.app.extensionManager.setting.set(id, wanted), [
    name, value,
  ]);
}

/** The background of a badge with that text. */
async function colour(page, id, text) {
  if (renderer === 'vue') {
    const drawn = page.locator(`[data-node-id="${id}"] *:not(:has(*))`, { hasText: text });
    const all = await drawn.evaluateAll((found) => found.flatMap((one) => {
      const colours = [one, one.parentElement].map((each) => getComputedStyle(each).backgroundColor);
      return colours.filter((each) => each !== 'rgba(0, 0, 0, 0)');
    }));
    return all[0];
  }
  return page.evaluate(([node, wanted]) => {
    const all = node.badges.map((one) => (typeof one === 'function' ? one() : one));
    return all.find((one) => one.text === wanted)?.bgColor;
  }, [await handle(page, id), text]);
}

/** The tooltip of a badge, found with the mouse. */
async function tip(page, id, text) {
  if (renderer === 'vue') return tipOnText(page, text);
  const [x, y] = await page.evaluate(([node, wanted]) => {
    const { canvas, ds } = window.app.canvas;
    const all = node.badges.map((one) => (typeof one === 'function' ? one() : one));
    const { place } = all.find((one) => one.text === wanted);
    const box = canvas.getBoundingClientRect();
    return [0, 1].map((i) =>
      (node.pos[i] + place[i] + 5 + ds.offset[i]) * ds.scale + [box.left, box.top][i]);
  }, [await handle(page, id), text]);
  await page.mouse.move(x, y);
  return page.evaluate(() => window.app.canvas.canvas.title);
}

async function tipOnText(page, text) {
  const found = page.getByText(text, { exact: true }).last();
  await found.hover();
  return found.getAttribute('title');
}

/** What stands on the icon of the pack's tab, once it begins so. */
async function onIcon(page, start) {
  const read = async () => (await page.locator(`${TAB} .sidebar-icon-badge`).allInnerTexts()).join('');
  const matches = (text) => (start ? text.startsWith(start) : text === '');
  await until(async () => matches(await read()));
  return read();
}

async function nameOfTab(page) {
  return page.locator(TAB).first().getAttribute('aria-label');
}

async function toast(page) {
  const overlay = page.locator('[data-testid=error-overlay-messages]');
  if (await overlay.count()) return (await overlay.innerText()).replace(/\s+/g, ' ').trim();
  return (await words(page, '.comfy-error-report')).trim();
}

async function progress(page, id) {
  return page.evaluate((node) => String(
    node.widgets.find(({ name }) => name === '$$node-text-preview')?.value ?? '',
  ), await handle(page, id));
}
