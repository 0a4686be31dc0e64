// A graph made and run where none of the pack's scripts can be loaded, then opened where they can;
// what came of it as JSON on standard output.
//
//   node blocked.mjs URL
import { add, clear, handle, set } from './hand.mjs';
import { withPage } from './page.mjs';

const [url] = process.argv.slice(2);
const ours = ({ pathname }) => /\/extensions\/mai_image.*js$|\/mai-image\/web\//.test(pathname);

const seen = {};
await withPage(url, { 'Comfy.Locale': 'en', 'Comfy.VueNodes.Enabled': false }, without, ours);
await withPage(url, {}, withScripts);
console.log(JSON.stringify(seen));

async function without({ page }) {
  await clear(page);
  const [helper, node, end] = [
    await add(page, 'MAISizeHelper', 300, 100),
    await add(page, 'MAIGenerate', 700, 100),
    await add(page, 'PreviewImage', 1200, 100),
  ];
  await set(page, helper, { model: 'MAI-Image-2e', aspect_ratio: '4:3' });
  const model = { model: 'MAI-Image-2e', prompt: 'a barn owl', profile: 'emulator' };
  await set(page, node, model);
  await page.evaluate(([one, two, three]) => {
    one.connect(0, two, 'width');
    one.connect(1, two, 'height');
    two.connect(0, three, 0);
  }, [await handle(page, helper), await handle(page, node), await handle(page, end)]);
  seen.scripts = await page.evaluate(() => window.app.extensions.some((one) => /^MAI/.test(one.name)));
  // Before the run, whose progress text some versions of the page keep among a node's values.
  seen.workflow = await page.evaluate(() => window.app.graph.serialize());
  seen.prompt = await page.evaluate(async () => (await window.app.graphToPrompt()).output);
  await page.evaluate(() => window.app.queuePrompt(0));
  const outputs = await finished(page);
  seen.images = Object.values(outputs).flatMap((output) => output.images ?? []).length;
}

async function withScripts({ page, problems }) {
  await page.evaluate((workflow) => window.app.loadGraphData(workflow), seen.workflow);
  await page.waitForTimeout(1000);
  seen.again = await page.evaluate(() => window.app.graph.serialize());
  seen.promptAgain = await page.evaluate(async () => (await window.app.graphToPrompt()).output);
  seen.room = await page.evaluate(() => {
    const node = window.app.graph.nodes.find((one) => one.type === 'MAISizeHelper');
    return node.size[1] - node.computeSize()[1];
  });
  seen.problems = problems;
}

/** The outputs of the one run, when it has ended. */
async function finished(page) {
  for (let i = 0; i < 120; i += 1) {
    const runs = Object.values(await (await page.request.get(`${url}/history`)).json());
    const run = runs.find((one) => JSON.stringify(one.prompt).includes('a barn owl'));
    if (run?.status?.completed) return run.outputs;
    await page.waitForTimeout(250);
  }
  throw new Error('The graph did not end within 30 s.');
}
