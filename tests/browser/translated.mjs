// What the server says, seen on a page in another language, as JSON on standard output.
//
//   node translated.mjs URL canvas|vue LANGUAGE FOLDER     FOLDER: where screenshots are kept
import { add, clear, handle, set, until, words } from './hand.mjs';
import { withPage } from './page.mjs';

const [url, renderer, language, folder] = process.argv.slice(2);

const seen = {};
const settings = {
  'Comfy.VueNodes.Enabled': renderer === 'vue',
  'Comfy.ColorPalette': 'dark',
  'Comfy.Locale': language,
};
await withPage(url, settings, async ({ page, problems }) => {
  const asked = [];
  page.on('request', (request) => asked.push(new URL(request.url()).pathname));
  const shoot = (name) => page.screenshot({ path: `${folder}/${name}-${renderer}-${language}.png` });
  for (const [name, part] of Object.entries({ helper, notice, failed })) {
    await clear(page);
    seen[name] = await part(page);
    await shoot(name);
  }
  seen.catalogues = asked.filter((path) => /(chinese|japanese|german|spanish)\.mjs$/.test(path));
  seen.problems = problems;
});
console.log(JSON.stringify(seen));

/** Size Helper: a note, then what is wrong with its settings. */
async function helper(page) {
  const id = await add(page, 'MAISizeHelper', 400, 100);
  await set(page, id, { model: 'MAI-Image-2.6', target_width: 512 });
  const facts = page.locator('.mai-facts p');
  await facts.waitFor();
  const note = await facts.innerText();
  await set(page, id, { aspect_ratio: 'from target' });
  await page.locator('.mai-preview .mai-notice').waitFor();
  return { note, problem: await words(page, '.mai-preview .mai-notice p') };
}

/** A paid node: a size that can't be made, then one that will be rounded. */
async function notice(page) {
  const id = await add(page, 'MAIGenerate', 500, 100);
  await set(page, id, { model: 'MAI-Image-2.6', width: 2048, height: 1536 });
  await page.locator('.mai-notice-wrong').waitFor();
  const problem = await words(page, '.mai-notice-wrong p');
  const number = await add(page, 'PrimitiveInt', 100, 100);
  await set(page, number, { value: 1365 });
  await set(page, id, { width: 768 });
  await page.evaluate(([one, other]) => one.connect(0, other, 'height'), [
    await handle(page, number), await handle(page, id),
  ]);
  await page.locator('.mai-notice-note').waitFor();
  return { problem, note: await words(page, '.mai-notice-note p') };
}

/** A run of two images that the content filter blocks. */
async function failed(page) {
  const node = await add(page, 'MAIGenerate', 300, 100);
  const end = await add(page, 'PreviewImage', 800, 100);
  const prompt = `blockprompt ${renderer}`;
  const free = { profile: 'default', width: 768, height: 768, batch_size: 2, prompt };
  await set(page, node, free);
  await page.evaluate(([one, other]) => one.connect(0, other, 0), [
    await handle(page, node), await handle(page, end),
  ]);
  const heard = page.evaluate(() => new Promise((resolve) => {
    const texts = [];
    const { api } = window.comfyAPI.api;
    api.addEventListener('progress_text', ({ detail }) => texts.push(detail.text));
    api.addEventListener('execution_error', ({ detail }) => resolve({
      texts, message: detail.exception_message, report: detail.traceback.join(''),
    }));
  }));
  await page.evaluate(() => window.app.queuePrompt(0));
  const told = await heard;
  const read = async () => (await page.evaluate(() => document.body.innerText)).replace(/\s+/g, '');
  const said = told.message.split('\n').at(-1).replace(/\s+/g, '');
  await until(async () => (told.page = await read()).includes(said));
  told.node = await words(page, '.mai-failure');
  return told;
}
