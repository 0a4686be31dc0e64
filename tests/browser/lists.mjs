// MAI Prompt List on the real page, used as a user would; what came of it as JSON on standard
// output.
//
//   node lists.mjs URL canvas|vue FOLDER     FOLDER: where screenshots are kept
import { writeFileSync } from 'node:fs';
import { add, badges, clear, handle, set, until, words } from './hand.mjs';
import { settingsOf, withPage } from './page.mjs';

const [url, renderer, folder] = process.argv.slice(2);
const ROWS = Array.from({ length: 100 }, (_, i) => `a mug, number ${i} for ${renderer}`).join('\n');

const seen = {};
await withPage(url, settingsOf(renderer, { 'Comfy.RightSidePanel.ShowErrorsTab': true }), async ({ page, problems }) => {
  await page.setViewportSize({ width: 1440, height: 900 });
  const shoot = (name) => page.screenshot({ path: `${folder}/${name}-${renderer}.png` });
  for (const [name, part] of Object.entries({ price, mistakes, upload, dropped, runs, failing })) {
    await clear(page);
    seen[name] = await part(page, shoot);
    await shoot(name);
  }
  seen.problems = problems;
});
console.log(JSON.stringify(seen));

/** A list of that text before MAI Generate, with Save Image behind; gives the three ids. */
async function graph(page, text) {
  const list = await add(page, 'MAIPromptList', 60, 120);
  const buyer = await add(page, 'MAIGenerate', 520, 120);
  const saved = await add(page, 'SaveImage', 960, 120);
  await page.evaluate((ids) => {
    const [from, to, end] = ids.map((id) => window.app.graph.getNodeById(id));
    const into = (node, name) => node.inputs.findIndex((one) => one.name === name);
    ['prompt', 'width', 'height', 'seed'].forEach((name, i) => from.connect(i, to, into(to, name)));
    to.connect(0, end, into(end, 'images'));
    from.connect(4, end, into(end, 'filename_prefix'));
  }, [list, buyer, saved]);
  await set(page, list, { text });
  return { list, buyer, saved };
}

/** The badge of a node that has these words in it. */
async function saying(page, id, part) {
  let found = [];
  await until(async () => (found = await badges(page, renderer, id)).some((one) => one.includes(part)));
  return found.find((one) => one.includes(part)) ?? found;
}

async function value(page, id, name) {
  return page.evaluate(([node, wanted]) => node.widgets.find((one) => one.name === wanted).value,
    [await handle(page, id), name]);
}

/** What the rows cost together, on the list, on the node that buys and on the tab. */
async function price(page) {
  const { list, buyer } = await graph(page, ROWS);
  const told = { buyer: await saying(page, buyer, '× 64'), list: await saying(page, list, 'of 100 ·') };
  await until(async () => (await words(page, '.mai-notice-note')).includes('rows are left'));
  told.note = await words(page, '.mai-notice-note');
  told.stops = await value(page, buyer, 'if_blocked');
  await page.locator('.mai-notice-note button', { hasText: 'skip failures' }).click();
  told.skips = await value(page, buyer, 'if_blocked');
  await set(page, list, { start: 65 });
  told.rest = await saying(page, list, 'rows 65 to 100 of 100');
  await set(page, buyer, { batch_size: 2 });
  told.batch = await saying(page, buyer, '× 72');
  return told;
}

async function mistakes(page) {
  const { list, buyer } = await graph(page, 'prompt,model,widht\na mug,any,3\n"a cup,any,4\n');
  const told = { list: await saying(page, list, 'mistakes'), buyer: await saying(page, buyer, 'not possible') };
  await until(async () => (await words(page, '.mai-notice-wrong')).includes('widht'));
  told.notice = await words(page, '.mai-notice-wrong');
  await set(page, list, { text: 'prompt,model\na mug,any\n' });
  told.mended = await saying(page, list, 'rows 1 to 1 of 1');
  await until(async () => (await words(page, '.mai-notice-note')).includes('model'));
  told.note = await words(page, '.mai-notice-note');
  return told;
}

/** A file of this computer is chosen by the node's button. */
async function upload(page) {
  const { list } = await graph(page, '');
  const file = `${folder}/mine-${renderer}.csv`;
  writeFileSync(file, 'id,prompt\n1,a mug\n2,a cup\n');
  const chosen = page.waitForEvent('filechooser');
  await press(page, list);
  await (await chosen).setFiles(file);
  const told = { badge: await saying(page, list, 'rows 1 to 2 of 2'), file: await value(page, list, 'file') };
  const saved = await page.evaluate((id) =>
    window.app.graph.serialize().nodes.find((one) => String(one.id) === String(id)).widgets_values, list);
  told.saved = saved.length;
  return told;
}

async function press(page, id) {
  if (renderer === 'vue') {
    await page.locator(`[data-node-id="${id}"] button`, { hasText: 'choose a list' }).click();
    return;
  }
  const [x, y] = await page.evaluate((node) => {
    const { canvas, ds } = window.app.canvas;
    const button = node.widgets.find((one) => one.name === 'choose_list');
    const box = canvas.getBoundingClientRect();
    const at = [node.pos[0] + node.size[0] / 2, node.pos[1] + button.last_y + 10];
    return at.map((one, i) => (one + ds.offset[i]) * ds.scale + [box.left, box.top][i]);
  }, await handle(page, id));
  await page.mouse.click(x, y);
}

/** A file is dropped on the node. */
async function dropped(page) {
  const { list } = await graph(page, '');
  const [x, y] = await page.evaluate((node) => {
    const { canvas, ds } = window.app.canvas;
    const box = canvas.getBoundingClientRect();
    const at = [node.pos[0] + 100, node.pos[1] + 30];
    return at.map((one, i) => (one + ds.offset[i]) * ds.scale + [box.left, box.top][i]);
  }, await handle(page, list));
  await page.evaluate(([clientX, clientY, name]) => {
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File(['a mug\na cup\na pot\n'], name));
    for (const type of ['dragenter', 'dragover', 'drop']) {
      const at = { bubbles: true, cancelable: true, clientX, clientY, dataTransfer };
      document.elementFromPoint(clientX, clientY).dispatchEvent(new DragEvent(type, at));
    }
  }, [x, y, `dropped-${renderer}.txt`]);
  return { badge: await saying(page, list, 'rows 1 to 3 of 3'), file: await value(page, list, 'file') };
}

/** Each run takes the next rows, as long as there are any; what is in the store is said. */
async function runs(page) {
  const { list, buyer } = await graph(page, Array.from({ length: 5 }, (_, i) => `a ${renderer} cup ${i}`).join('\n'));
  await set(page, list, { rows: 2 });
  await set(page, buyer, { profile: 'default' });
  await saying(page, list, 'rows 1 to 2 of 5 · $');
  const starts = [];
  for (let i = 0; i < 3; i += 1) {
    await run(page);
    starts.push(await value(page, list, 'start'));
  }
  await set(page, list, { start: 1, rows: 5 });
  return { starts, stored: await saying(page, list, '5 in the store') };
}

/** A run that ends early is taken again. */
async function failing(page) {
  const { list } = await graph(page, `a ${renderer} pot [[latency 30]]\na pan\na lid`);
  await set(page, list, { rows: 1 });
  await saying(page, list, 'rows 1 to 1 of 3');
  const begun = page.evaluate(() => new Promise((go) => {
    window.comfyAPI.api.api.addEventListener('execution_start', () => go(true), { once: true });
  }));
  await page.evaluate(() => window.app.queuePrompt(0));
  await begun;
  await until(async () => (await value(page, list, 'start')) === 2);
  const during = await value(page, list, 'start');
  await page.evaluate(() => window.comfyAPI.api.api.interrupt());
  await until(async () => (await value(page, list, 'start')) === 1);
  return { during, after: await value(page, list, 'start') };
}

async function run(page) {
  const end = ended(page);
  await page.evaluate(() => window.app.queuePrompt(0));
  await end;
}

function ended(page) {
  return page.evaluate(() => new Promise((go) => {
    const { api } = window.comfyAPI.api;
    for (const name of ['execution_success', 'execution_error']) {
      api.addEventListener(name, () => go(name), { once: true });
    }
  }));
}
