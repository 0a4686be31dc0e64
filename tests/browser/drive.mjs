// The pack's parts of the page, used as a user would; what came of it as JSON on standard output.
//
//   node drive.mjs URL canvas|vue FOLDER     FOLDER: where screenshots are kept
import { add, badge, clear, handle, increase, set, undo, until, words } from './hand.mjs';
import { withPage } from './page.mjs';

const [url, renderer, folder] = process.argv.slice(2);
const SETTINGS = ['model', 'width', 'height'];
const FREE = { profile: 'emulator', width: 768, height: 768 };

const seen = {};
const settings = {
  'Comfy.VueNodes.Enabled': renderer === 'vue',
  'Comfy.ColorPalette': 'dark',
  'Comfy.Locale': 'en',
};
await withPage(url, settings, async ({ page, problems }) => {
  const asked = [];
  page.on('request', (request) => asked.push(request.url()));
  const shoot = (name) => page.screenshot({ path: `${folder}/${name}-${renderer}.png` });
  for (const [name, part] of Object.entries({
    prices, linked, wrong, retired, snapped, preview, saved, run,
  })) {
    await clear(page);
    seen[name] = await part(page, shoot, asked);
    await shoot(name);
  }
  seen.light = await light(page, shoot);
  seen.problems = problems;
});
console.log(JSON.stringify(seen));

async function prices(page, shoot, asked) {
  const before = asked.filter((address) => address.includes('/mai-image/'));
  const node = await add(page, 'MAIGenerate', 400, 100);
  const edit = await add(page, 'MAIEdit', 900, 100);
  const read = (id, text) => badge(page, renderer, id, text);
  const texts = { plain: await read(node, '$0.035'), edit: await read(edit, '≈ $0.139') };
  await increase(page, renderer, node, 'batch_size');
  texts.batch = await read(node, '$0.035 × 2 = $0.070');
  await set(page, node, { width: 2048, height: 2048 });
  texts.size = await read(node, '$0.139 × 2 = $0.278');
  await set(page, node, { model: 'MAI-Image-2.7-Flash' });
  texts.unpublished = await read(node, '≈ $0.139 × 2 = $0.278');
  await set(page, node, { auto_aspect_ratio: true, model: 'MAI-Image-2.6', batch_size: 1 });
  texts.auto = await read(node, '≤ $0.088');
  await set(page, node, { profile: 'emulator' });
  texts.emulator = await read(node, 'emulated; real ≈ $0.088');
  return { before, texts };
}

async function linked(page) {
  const helper = await add(page, 'MAISizeHelper', 300, 100);
  const node = await add(page, 'MAIGenerate', 700, 100);
  const unknown = await add(page, 'GetImageSize', 300, 650);
  const connect = async (from, output, input) =>
    page.evaluate(([one, slot, other, name]) => one.connect(slot, other, name), [
      await handle(page, from), output, await handle(page, node), input,
    ]);
  await connect(helper, 0, 'width');
  await connect(helper, 1, 'height');
  const texts = { square: await badge(page, renderer, node, '$0.139') };
  await set(page, helper, { model: 'MAI-Image-2.5', aspect_ratio: '16:9' });
  texts.wide = await badge(page, renderer, node, '$0.035');
  await connect(unknown, 0, 'width');
  texts.unknown = await badge(page, renderer, node, '≥ $0.020');
  return texts;
}

async function wrong(page, shoot) {
  const node = await add(page, 'MAIGenerate', 400, 100);
  const height = async () => (await page.evaluate((one) => one.size[1], await handle(page, node)));
  // What the node holds for good is laid out once its price is there.
  await badge(page, renderer, node, '$0.035');
  await page.waitForTimeout(600);
  const before = await height();
  await set(page, node, { model: 'MAI-Image-2.6', width: 2048, height: 1536 });
  const told = { badge: await badge(page, renderer, node, 'not possible') };
  told.notice = await words(page, '.mai-notice');
  told.labels = await labels(page, node);
  await page.waitForTimeout(300);
  await shoot('wrong-size');
  await page.locator('.mai-notice button').click();
  told.after = await badge(page, renderer, node, '$0.088');
  told.values = await values(page, node, ['width', 'height']);
  told.labelsAfter = await labels(page, node);
  told.notices = await page.locator('.mai-notice').count();
  await until(async () => Math.abs((await height()) - before) <= 1);
  told.grew = (await height()) - before;
  return told;
}

/** A retired model, on a node of the graph and on one within a subgraph. */
async function retired(page, shoot) {
  const told = {};
  const node = await add(page, 'MAIGenerate', 400, 100);
  await set(page, node, { model: 'MAI-Image-2.5' });
  told.badges = [
    await badge(page, renderer, node, '$0.048'),
    await badge(page, renderer, node, 'retired on 2026-10-01'),
  ];
  told.notice = await words(page, '.mai-notice');
  await page.waitForTimeout(300);
  await shoot('retired-model');
  told.successor = await useSuccessor(page, node);
  await undoModel(page, node);
  told.undone = await values(page, node, SETTINGS);
  await set(page, node, { width: 2048, height: 2048 });
  await badge(page, renderer, node, 'not possible');
  told.smaller = await useSuccessor(page, node);

  await clear(page);
  const edit = await add(page, 'MAIEdit', 400, 100);
  await set(page, edit, { model: 'MAI-Image-2.5-Flash' });
  const host = await enterSubgraph(page, edit);
  told.inside = [await badge(page, renderer, edit, 'retired on 2026-10-01')];
  await page.getByRole('button', { name: 'Use MAI-Image-2.6-Flash' }).click();
  told.inside.push(...(await values(page, edit, ['model'])));
  told.promoted = await page.evaluate(
    (node) => node.widgets.find((widget) => widget.name === 'model').value, host,
  );
  await shoot('retired-subgraph');
  return told;
}

async function useSuccessor(page, node) {
  await page.getByRole('button', { name: 'Use MAI-Image-2.6' }).click();
  return values(page, node, SETTINGS);
}

/** Take a change of the model back, and wait until it is. */
async function undoModel(page, node) {
  const [before] = await values(page, node, ['model']);
  await undo(page);
  await page.waitForFunction(([id, model]) => {
    const found = window.app.graph.getNodeById(id);
    return found && found.widgets.find((one) => one.name === 'model').value !== model;
  }, [node, before]);
}

/** Make a subgraph of a node, whose model its own node shows too, and open it. */
async function enterSubgraph(page, node) {
  const host = await page.evaluateHandle((one) => {
    const { canvas } = window.app;
    const { subgraph, node: outside } = canvas.graph.convertToSubgraph(new Set([one]));
    const [inside] = subgraph.nodes;
    const slot = inside.inputs.find((input) => input.name === 'model');
    subgraph.addInput('model', 'COMBO').connect(slot, inside);
    canvas.setGraph(subgraph);
    return outside;
  }, await handle(page, node));
  // The page moves the view to the subgraph first.
  await page.waitForTimeout(800);
  await page.evaluate(() => {
    Object.assign(window.app.canvas.ds, { scale: 1, offset: [0, 0] });
    window.app.canvas.setDirty(true, true);
  });
  await page.waitForTimeout(300);
  return host;
}

/** A size over a link that isn't made of multiples of 16. */
async function snapped(page) {
  const number = await add(page, 'PrimitiveInt', 100, 100);
  const node = await add(page, 'MAIGenerate', 500, 100);
  await set(page, number, { value: 1365 });
  await set(page, node, { width: 768 });
  await page.evaluate(([one, other]) => one.connect(0, other, 'height'), [
    await handle(page, number), await handle(page, node),
  ]);
  // The price of 1024 x 1024 is the same, so the badge doesn't show that the size has arrived.
  await page.locator('.mai-notice').first().waitFor();
  const told = { badge: await badge(page, renderer, node, '$0.035') };
  told.notice = await words(page, '.mai-notice');
  told.labels = await labels(page, node);
  return told;
}

async function preview(page, shoot) {
  const node = await add(page, 'MAISizeHelper', 400, 100);
  const read = async (wanted) => {
    let shown = '';
    await until(async () => (shown = await words(page, '.mai-preview')).includes(wanted));
    return { shown, values: await values(page, node, ['aspect_ratio', 'target_width', 'target_height']) };
  };
  const told = { first: await read('2048 x 2048') };
  await page.locator('.mai-chips button', { hasText: '16:9' }).click();
  await set(page, node, { target_width: 3840, model: 'MAI-Image-2.6' });
  told.wide = await read('to 3840 x 2160');
  await page.locator('.mai-swap').click();
  told.tall = await read('1152 x 2048');
  await set(page, node, { aspect_ratio: 'from target', target_width: 0 });
  told.missing = await read('Set both');
  await shoot('preview-missing');
  await set(page, node, { aspect_ratio: '9:16', model: 'MAI-Image-2.5', target_width: 2160 });
  told.last = await read('to 2160 x 3840');
  told.inside = await isInside(page, node);
  return told;
}

/** What is saved is what it would be without the pack's scripts, and comes back as it was. */
async function saved(page) {
  const node = await add(page, 'MAIGenerate', 400, 100);
  const helper = await add(page, 'MAISizeHelper', 900, 100);
  await set(page, node, { width: 160, seed: 7 });
  await set(page, helper, { aspect_ratio: '3:2' });
  await page.waitForTimeout(800);
  return page.evaluate(async () => {
    const { app } = window;
    const first = app.graph.serialize();
    await app.loadGraphData(structuredClone(first));
    await new Promise((resolve) => setTimeout(resolve, 800));
    const second = app.graph.serialize();
    const kept = ({ nodes }) => Object.fromEntries(nodes.map((one) => [one.type, one.widgets_values]));
    const prompt = (await app.graphToPrompt()).output;
    const sent = Object.values(prompt).map((one) => [one.class_type, Object.keys(one.inputs)]);
    return { first: kept(first), second: kept(second), sent: Object.fromEntries(sent) };
  });
}

/** A run on the emulator, and the sidebar before, during and after it. */
async function run(page, shoot) {
  const node = await add(page, 'MAIGenerate', 700, 100);
  const save = await add(page, 'PreviewImage', 1200, 100);
  await set(page, node, { ...FREE, prompt: `a harbour, drawn by ${renderer}`, batch_size: 2 });
  await page.evaluate(([one, other]) => one.connect(0, other, 0), [
    await handle(page, node), await handle(page, save),
  ]);
  await page.evaluate(() => window.app.extensionManager.sidebarTab.toggleSidebarTab('mai-image'));
  await page.locator('.mai-numbers h3').first().waitFor();
  const under = await words(page, '.mai-numbers');
  const before = await emulatedCalls(page);
  await page.evaluate(() => window.app.queuePrompt(0));
  const drawn = page.locator('.mai-image', { hasText: `drawn by ${renderer}` });
  await drawn.nth(1).waitFor({ timeout: 60_000 });
  await until(async () => (await emulatedCalls(page)) > before + 1);
  await page.getByText('Nothing is under way.').waitFor();
  const told = { under, after: await words(page, '.mai-tab') };
  told.emulated = (await emulatedCalls(page)) - before;
  await drawn.nth(1).scrollIntoViewIfNeeded();
  told.loaded = await Promise.all([0, 1].map((i) =>
    drawn.nth(i).locator('img').evaluate((image) => image.decode().then(() => image.naturalWidth > 0)),
  ));
  const lines = async () => page.evaluate(
    (one) => one.widgets.map((widget) => widget.value).filter((value) => / s\b/.test(String(value))),
    await handle(page, node),
  );
  await until(async () => (await lines()).length > 0);
  told.stays = await lines();
  await shoot('sidebar');
  await page.locator('.mai-image .mai-plus').first().click();
  const loader = () => page.evaluate(() => {
    const found = window.app.graph.nodes.find((one) => one.type === 'LoadImage');
    return found?.widgets.find((widget) => widget.name === 'image').value;
  });
  await until(async () => (await loader())?.startsWith('mai_'));
  told.inserted = await loader();
  const file = new URLSearchParams({ filename: told.inserted, type: 'input' });
  told.status = (await page.request.get(`${url}/view?${file}`)).status();
  return told;
}

/** How many emulated calls the sidebar counts. */
async function emulatedCalls(page) {
  const [, count] = /free calls: (\d+)/.exec(await words(page, '.mai-numbers')) ?? [];
  return Number(count ?? 0);
}

/** The same in the light theme, for the screenshots; the sums are still to be seen. */
async function light(page, shoot) {
  await page.evaluate(() => window.app.extensionManager.setting.set('Comfy.ColorPalette', 'light'));
  const node = await add(page, 'MAIGenerate', 700, 550);
  await set(page, node, { width: 160 });
  await add(page, 'MAISizeHelper', 1150, 450);
  await page.waitForTimeout(1000);
  await shoot('light');
  return words(page, '.mai-tab section:first-child');
}

async function values(page, id, names) {
  return page.evaluate(
    ([node, wanted]) => wanted.map((name) => node.widgets.find((one) => one.name === name).value),
    [await handle(page, id), names],
  );
}

async function labels(page, id) {
  return page.evaluate(
    (node) => ['width', 'height'].map((name) => {
      const widget = node.widgets.find((one) => one.name === name);
      return widget.label ?? widget.name;
    }),
    await handle(page, id),
  );
}

/** Whether all that the preview draws lies within its node. */
async function isInside(page, id) {
  const drawn = await page.locator('.mai-preview').boundingBox();
  const node = await page.evaluate((one) => [...one.pos, ...one.size], await handle(page, id));
  const frame = renderer === 'vue' && (await page.locator(`[data-node-id="${id}"]`).boundingBox());
  const bottom = frame ? frame.y + frame.height : node[1] + node[3] + (await canvasTop(page));
  return drawn.y + drawn.height <= bottom;
}

function canvasTop(page) {
  return page.evaluate(() => window.app.canvas.canvas.getBoundingClientRect().top);
}
