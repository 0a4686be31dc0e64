// The sidebar tab used as a user would; what came of it as JSON on standard output.
//
//   node sidebar.mjs URL canvas|vue FOLDER     FOLDER: where screenshots are kept
import { add, clear, handle, set, until, words } from './hand.mjs';
import { withPage } from './page.mjs';

const [url, renderer, folder] = process.argv.slice(2);
const SMALL = { width: 768, height: 768, seed: 41 };
const PROMPT = `a harbour in the sidebar, ${renderer}`;

const seen = {};
const settings = {
  'Comfy.VueNodes.Enabled': renderer === 'vue', 'Comfy.ColorPalette': 'dark', 'Comfy.Locale': 'en',
};
await withPage(url, settings, async ({ page, problems }) => {
  await page.setViewportSize({ width: 1440, height: 900 });
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  const shoot = (name) => page.screenshot({ path: `${folder}/${name}-${renderer}.png` });
  await clear(page);
  await make(page);
  await page.evaluate(() => window.app.extensionManager.sidebarTab.toggleSidebarTab('mai-image'));
  await card(page, PROMPT).waitFor();
  for (const [name, part] of Object.entries({
    search, viewer, insert, reuse, drag, copied, settle,
  })) {
    await clear(page);
    seen[name] = await part(page, shoot);
    await shoot(name);
  }
  seen.problems = problems;
});
console.log(JSON.stringify(seen));

/** Four images of two profiles, two of them paid, and two calls that were perhaps billed. */
async function make(page) {
  await run(page, { ...SMALL, prompt: PROMPT, profile: 'default', model: 'MAI-Image-2.6' });
  await run(page, { ...SMALL, prompt: `a red fox, ${renderer}`, profile: 'emulator', batch_size: 2 });
  await run(page, { ...SMALL, prompt: `a green hill, ${renderer}`, profile: 'default' });
  await run(page, { ...SMALL, prompt: `lost ${renderer} [[fault status=408]]`, profile: 'default' });
  await run(page, { ...SMALL, prompt: `lost again ${renderer} [[fault status=408]]`, profile: 'default' });
}

async function run(page, values) {
  const node = await add(page, 'MAIGenerate', 700, 100);
  const show = await add(page, 'PreviewImage', 1200, 100);
  await set(page, node, values);
  await page.evaluate(([one, other]) => one.connect(0, other, 0), [
    await handle(page, node), await handle(page, show),
  ]);
  await page.evaluate(() => new Promise((resolve) => {
    const { api, app } = window.comfyAPI ? { api: window.comfyAPI.api.api, app: window.app } : window;
    for (const event of ['execution_success', 'execution_error']) {
      api.addEventListener(event, resolve, { once: true });
    }
    app.queuePrompt(0);
  }));
  await page.keyboard.press('Escape');
  await clear(page);
}

function card(page, text) {
  return page.locator('.mai-image', { hasText: text }).first();
}

async function search(page, shoot) {
  const images = page.locator('.mai-image');
  const prompts = () => page.locator('.mai-image p').allInnerTexts();
  const told = { all: await prompts(), sums: await words(page, '.mai-numbers') };
  await shoot('history');
  await page.getByRole('searchbox').fill(`FOX ${renderer}`);
  await card(page, PROMPT).waitFor({ state: 'detached' });
  told.words = await prompts();
  await page.getByRole('searchbox').fill('nothing like this');
  await page.getByText('No image fits.').waitFor();
  told.none = await images.count();
  await page.getByRole('searchbox').fill('');
  await card(page, PROMPT).waitFor();
  await page.getByRole('button', { name: 'Emulated', exact: true }).click();
  await card(page, PROMPT).waitFor({ state: 'detached' });
  told.emulated = await words(page, '.mai-image small');
  await page.getByRole('button', { name: 'Paid', exact: true }).click();
  await card(page, PROMPT).waitFor();
  told.paid = await words(page, '.mai-image small');
  await page.getByRole('button', { name: 'All', exact: true }).click();
  await card(page, 'fox').waitFor();
  await page.getByRole('combobox', { name: 'Model' }).selectOption('MAI-Image-2.6');
  await card(page, 'fox').waitFor({ state: 'detached' });
  told.model = await words(page, '.mai-image small');
  await page.getByRole('combobox', { name: 'Model' }).selectOption('');
  await page.getByRole('combobox', { name: 'Date' }).selectOption('days');
  await page.getByLabel('Last day').fill('2020-01-01');
  await page.getByText('No image fits.').waitFor();
  await page.getByLabel('Last day').fill('');
  await page.getByRole('combobox', { name: 'Date' }).selectOption('today');
  await card(page, PROMPT).waitFor();
  await page.getByRole('combobox', { name: 'Date' }).selectOption('any');
  return told;
}

/** With the keyboard alone: open, go on, close; the focus comes back. */
async function viewer(page, shoot) {
  const open = page.locator('.mai-thumb').first();
  await open.focus();
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog', { name: 'Enlarged image' });
  await dialog.waitFor();
  const image = dialog.locator('img');
  const look = async () => ({
    counter: await dialog.locator('.mai-counter').innerText(),
    alt: await image.getAttribute('alt'),
  });
  const told = { first: await look(), prompt: (await page.locator('.mai-image p').allInnerTexts())[0] };
  await page.keyboard.press('ArrowRight');
  told.second = await look();
  await page.waitForFunction(() => document.querySelector('.mai-viewer img').naturalWidth > 0);
  told.width = await image.evaluate((one) => one.naturalWidth);
  await shoot('viewer-open');
  await page.keyboard.press('ArrowLeft');
  await page.keyboard.press('ArrowLeft');
  told.start = await look();
  for (let times = 0; times < 8; times += 1) await page.keyboard.press('Tab');
  told.inside = await dialog.evaluate((one) => one.contains(document.activeElement) || document.activeElement === document.body);
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  told.focus = await open.evaluate((one) => one === document.activeElement);
  return told;
}

async function insert(page) {
  const there = await add(page, 'MAIGenerate', 500, 150);
  await card(page, PROMPT).locator('.mai-plus').click();
  return { ...(await placed(page, 'LoadImage', there)), file: await loaded(page) };
}

async function reuse(page) {
  const there = await add(page, 'MAIGenerate', 500, 150);
  await card(page, PROMPT).locator('.mai-sliders-h').click();
  const place = await placed(page, 'MAIGenerate', there);
  const values = await page.evaluate((old) => {
    const node = window.app.graph.nodes.find((one) => one.id !== old);
    const value = (name) => node.widgets.find((one) => one.name === name).value;
    return Object.fromEntries(
      ['prompt', 'model', 'width', 'height', 'seed', 'profile'].map((name) => [name, value(name)]),
    );
  }, there);
  return { ...place, values };
}

/** Whether the new node lies over no other, and wholly beside the sidebar, when it has its place. */
async function placed(page, type, there) {
  await page.waitForFunction(() => window.app.graph.nodes.length === 2);
  let found = {};
  await until(async () => Object.values(found = await place(page, type, there)).every(Boolean));
  return found;
}

function place(page, type, there) {
  return page.evaluate(([kind, old]) => {
    const { graph, canvas } = window.app;
    const box = (node) => [...node.pos, node.pos[0] + node.size[0], node.pos[1] + node.size[1]];
    const node = graph.nodes.find((one) => one.type === kind && one.id !== old);
    const [a, b] = [box(node), box(graph.getNodeById(old))];
    const { ds } = canvas;
    const frame = canvas.canvas.getBoundingClientRect();
    const left = (a[0] + ds.offset[0]) * ds.scale + frame.left;
    const top = (a[1] - 30 + ds.offset[1]) * ds.scale + frame.top;
    return {
      apart: a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] - 30 || b[3] <= a[1] - 30,
      seen: left >= document.querySelector('.mai-tab').getBoundingClientRect().right && top >= frame.top
        && left + (a[2] - a[0]) * ds.scale <= frame.right,
      selected: Object.values(canvas.selected_nodes ?? {}).includes(node),
    };
  }, [type, there]);
}

async function loaded(page) {
  let name = '';
  await until(async () => (name = await fileOf(page))?.startsWith('mai_'));
  const file = new URLSearchParams({ filename: name, type: 'input' });
  return { name, status: (await page.request.get(`${url}/view?${file}`)).status() };
}

/** The file that the Load Image node names. */
function fileOf(page) {
  return page.evaluate(() => {
    const node = window.app.graph.nodes.find((one) => one.type === 'LoadImage');
    return node?.widgets.find((one) => one.name === 'image').value;
  });
}

/** An image dragged onto the graph, then another onto the node that came of it. */
async function drag(page) {
  await drop(page, card(page, PROMPT), [900, 450]);
  const first = await loaded(page);
  await drop(page, card(page, 'hill'), await placeOfLoader(page));
  await until(async () => (await fileOf(page)) !== first.name);
  return { first, second: await loaded(page), nodes: await page.evaluate(() => window.app.graph.nodes.length) };
}

/** Near the top of the Load Image node: its image comes later, and makes it higher. */
function placeOfLoader(page) {
  return page.evaluate(() => {
    const { canvas, ds } = window.app.canvas;
    const { pos, size } = window.app.graph.nodes.find((one) => one.type === 'LoadImage');
    const box = canvas.getBoundingClientRect();
    const at = [pos[0] + size[0] / 2, pos[1] + 60];
    return at.map((value, i) => (value + ds.offset[i]) * ds.scale + [box.left, box.top][i]);
  });
}

async function drop(page, from, [x, y]) {
  await from.locator('.mai-thumb').scrollIntoViewIfNeeded();
  const box = await from.locator('.mai-thumb').boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.down();
  await page.mouse.move(x - 40, y - 40, { steps: 8 });
  await page.mouse.move(x, y, { steps: 4 });
  await page.mouse.up();
}

async function copied(page) {
  await card(page, PROMPT).locator('.mai-copy').click();
  const read = () => page.evaluate(() => navigator.clipboard.readText());
  await until(async () => (await read()) === PROMPT);
  return read();
}

/** By the keyboard: a first Enter asks, a second one settles. */
async function settle(page, shoot) {
  // Of many calls only the first are listed; the heading counts them all.
  const count = async () => {
    const heading = await words(page, 'section:has(> .mai-doubtful) h3');
    return Number(/\((\d+)\)/.exec(heading)?.[1] ?? 0);
  };
  const told = { before: await count(), text: await words(page, '.mai-doubtful') };
  await page.getByRole('button', { name: /^Free/ }).first().focus();
  await page.keyboard.press('Enter');
  await page.getByText("This can't be undone.").waitFor();
  told.asked = await page.evaluate(() => document.activeElement.innerText);
  told.still = await count();
  await shoot('settle-asked');
  await page.keyboard.press('Enter');
  await until(async () => (await count()) < told.before);
  told.after = await count();
  return told;
}
