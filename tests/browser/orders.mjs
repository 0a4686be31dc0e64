// Images that are ordered and collected from the sidebar, as a user would; what came of it as JSON
// on standard output.
//
//   node orders.mjs URL canvas|vue FOLDER     FOLDER: where screenshots are kept
import { add, clear, handle, set, until, words } from './hand.mjs';
import { settingsOf, withPage } from './page.mjs';

const [url, renderer, folder] = process.argv.slice(2);
const SMALL = { model: 'MAI-Image-2.6', width: 768, height: 768, delivery: 'order and go on' };

const seen = {};
await withPage(url, settingsOf(renderer), async ({ page, problems }) => {
  await page.setViewportSize({ width: 1440, height: 900 });
  const shoot = (name) => page.screenshot({ path: `${folder}/${name}-${renderer}.png` });
  await openTab(page);
  for (const [name, part] of Object.entries({ collect, blocked, gone })) {
    await clear(page);
    seen[name] = await part(page, shoot);
    await shoot(name);
  }
  seen.problems = problems;
});
await withPage(url, settingsOf(renderer, { 'Comfy.Locale': 'es' }), async ({ page, problems }) => {
  await page.setViewportSize({ width: 1440, height: 900 });
  await openTab(page);
  await clear(page);
  seen.spanish = await spanish(page);
  await page.screenshot({ path: `${folder}/spanish-${renderer}.png` });
  seen.problems.push(...problems);
});
console.log(JSON.stringify(seen));

/** Order, see it under way and landed, load the page anew, collect. */
async function collect(page, shoot) {
  const node = await graph(page, { prompt: `ordered, ${renderer} [[latency 4]]`, batch_size: 2 });
  const told = { first: await queue(page) };
  await orders(page).getByText('2 under way').waitFor();
  told.onNode = await text(page, node);
  told.buttons = await labels(page);
  await shoot('under-way');
  await orders(page).getByText('2 landed').waitFor();
  await shoot('landed');
  await page.reload({ waitUntil: 'domcontentloaded' });
  await page.waitForFunction(() => Object.keys(window.LiteGraph?.registered_node_types ?? {}).length > 100
    && Boolean(window.app?.canvas?.graph), null, { timeout: 120_000 });
  await page.waitForTimeout(1500);
  await openTab(page);
  await orders(page).getByText('2 landed').waitFor();
  told.ready = await labels(page);
  told.second = await press(page, 'Collect');
  await orders(page).waitFor({ state: 'detached' });
  told.left = await words(page, '.mai-orders');
  return told;
}

/** One of two is blocked: the sidebar says why, and so does the node that collects. */
async function blocked(page, shoot) {
  const prompt = `in part, ${renderer} [[fault answer=block-result first=1]]`;
  await graph(page, { prompt, batch_size: 2 });
  await queue(page);
  await orders(page).getByText('1 landed · 1 failed').waitFor();
  const told = { reason: await words(page, '.mai-orders .mai-remark') };
  await shoot('failed');
  told.end = await press(page, 'Collect');
  await page.keyboard.press('Escape');
  const notice = page.locator('.mai-failure');
  await notice.waitFor();
  told.notice = (await notice.innerText()).replace(/\s+/g, ' ');
  await orders(page).waitFor({ state: 'detached' });
  return told;
}

/** ComfyUI's history was cleared: the sidebar says what to do; and an order is given up. */
async function gone(page, shoot) {
  await graph(page, { prompt: `forgotten, ${renderer}` });
  await queue(page);
  await orders(page).getByText('1 landed').waitFor();
  await page.request.post(`${url}/history`, { data: { clear: true } });
  await orders(page).getByRole('button', { name: 'Collect' }).click();
  await orders(page).getByText('no longer holds this run').waitFor();
  const told = { said: await words(page, '.mai-orders .mai-remark'), buttons: await labels(page) };
  await shoot('not-in-the-history');
  await orders(page).getByRole('button', { name: 'Forget' }).click();
  await orders(page).waitFor({ state: 'detached' });
  return told;
}

/** The same words in another language; the order is given up. */
async function spanish(page) {
  const prompt = `en español, ${renderer} [[fault answer=block-result first=1]]`;
  await graph(page, { prompt, batch_size: 2 });
  await queue(page);
  await orders(page).getByText('1 en el almacén · 1 con error').waitFor();
  const told = await words(page, '.mai-orders');
  await orders(page).getByRole('button', { name: 'Olvidar' }).click();
  await orders(page).waitFor({ state: 'detached' });
  return told;
}

function orders(page) {
  return page.locator('.mai-orders');
}

async function labels(page) {
  return orders(page).getByRole('button').allInnerTexts();
}

async function openTab(page) {
  if (await page.locator('.mai-tab').count()) return;
  await page.evaluate(() => window.app.extensionManager.sidebarTab.toggleSidebarTab('mai-image'));
  await page.locator('.mai-tab').waitFor();
}

async function graph(page, values) {
  const node = await add(page, 'MAIGenerate', 700, 100);
  const show = await add(page, 'PreviewImage', 1200, 100);
  await set(page, node, { ...SMALL, ...values });
  await page.evaluate(([one, other]) => one.connect(0, other, 0), [
    await handle(page, node), await handle(page, show),
  ]);
  return node;
}

/** Press Run, and wait for the end. */
async function queue(page) {
  return ended(page, () => page.evaluate(() => { void window.app.queuePrompt(0); }));
}

/** Press a button of the order, and wait for the end of the prompt that it queues. */
async function press(page, name) {
  return ended(page, () => orders(page).getByRole('button', { name }).click());
}

/** How the next prompt ends, with what ComfyUI keeps of it. */
async function ended(page, begin) {
  await page.evaluate(() => {
    window.maiEnd = new Promise((resolve) => {
      for (const event of ['execution_success', 'execution_error']) {
        window.app.api.addEventListener(event, ({ detail }) => resolve([event, detail.prompt_id]), { once: true });
      }
    });
  });
  await begin();
  const [end, id] = await page.evaluate(() => window.maiEnd);
  let kept = null;
  await until(async () => (kept = (await (await page.request.get(`${url}/history/${id}`)).json())[id]));
  const [, , prompt, extra] = kept.prompt;
  const images = Object.values(kept.outputs).flatMap((output) => output.images ?? []).length;
  const own = await page.evaluate(() => window.app.api.clientId);
  return {
    end, id, images, workflow: Boolean(extra.extra_pnginfo?.workflow?.nodes?.length),
    own: extra.client_id === own, prompt: JSON.stringify(prompt),
  };
}

/** The progress text of a node. */
async function text(page, id) {
  const lines = async () => page.evaluate(
    (node) => node.widgets.find(({ name }) => name === '$$node-text-preview')?.value ?? '',
    await handle(page, id),
  );
  await until(lines);
  return lines();
}
