// The frames of the README's animated images, from the real page.
//
//   node make_animations.mjs URL FOLDER IMAGE     URL: a ComfyUI whose "default" is an emulator
//
// IMAGE is a file in its input folder whose alpha masks a part of it. Writes FOLDER/NAME-N.png and
// prints, as JSON, for each NAME how many milliseconds each of its frames is shown.
import { add, clear, handle, set } from './hand.mjs';
import { run, withPage } from './page.mjs';

const [url, folder, image] = process.argv.slice(2);

const SETTINGS = {
  'Comfy.VueNodes.Enabled': true,
  'Comfy.NodeBadge.NodeSourceBadgeMode': 'None',
  'Comfy.Minimap.Visible': false,
  'Comfy.Graph.CanvasInfo': false,
  'Comfy.Locale': 'en',
};
// Right of the page's own bars.
const CLIP = { x: 115, y: 120, width: 830, height: 590 };

const shown = {};
await withPage(url, SETTINGS, async ({ page, problems }) => {
  await page.setViewportSize({ width: 1100, height: 800 });
  for (const [name, film] of Object.entries({ size_fix: sizeFix, masked_edit: maskedEdit })) {
    shown[name] = [];
    await clear(page);
    await film(page, async (milliseconds) => {
      await page.waitForTimeout(500);
      await page.screenshot({ path: `${folder}/${name}-${shown[name].length}.png`, clip: CLIP });
      shown[name].push(milliseconds);
    });
  }
  if (problems.length) throw new Error(problems.join('\n'));
});
console.log(JSON.stringify(shown));

/** A size that the model can't make is marked, explained and mended by one click. */
async function sizeFix(page, frame) {
  const node = await add(page, 'MAIGenerate', 330, 190);
  await page.evaluate((one) => one.setSize([400, 400]), await handle(page, node));
  const prompt = 'A lighthouse on a cliff above a calm sea at first light';
  await set(page, node, { prompt, model: 'MAI-Image-2.6', seed: 1 });
  await frame(1500);
  await set(page, node, { width: 2048 });
  await set(page, node, { height: 1536 });
  await page.locator('.mai-notice button').waitFor();
  await frame(3000);
  const button = page.locator('.mai-notice button').first();
  await point(page, button);
  await frame(1200);
  await button.click();
  await page.locator('.mai-notice').waitFor({ state: 'detached' });
  await frame(2500);
}

/** An image and its mask are edited: only what is masked changes. */
async function maskedEdit(page, frame) {
  const load = await add(page, 'LoadImage', 135, 170);
  await set(page, load, { image });
  const edit = await add(page, 'MAIEdit', 390, 170);
  await set(page, edit, { prompt: 'A hot-air balloon, red and white', seed: 1 });
  const save = await add(page, 'SaveImage', 710, 170);
  await set(page, save, { filename_prefix: 'help/film' });
  await page.evaluate(
    ([from, by, to]) => {
      from.setSize([225, 340]);
      by.setSize([290, 470]);
      to.setSize([225, 340]);
      const seed = by.widgets.find((widget) => widget.name === 'seed');
      for (const control of seed.linkedWidgets) control.value = 'fixed';
      const socket = (name) => by.inputs.findIndex((input) => input.name === name);
      from.connect(0, by, socket('images.image_1'));
      from.connect(1, by, socket('mask'));
      by.connect(0, to, 0);
    },
    await Promise.all([load, edit, save].map((id) => handle(page, id))),
  );
  await page.waitForTimeout(1500);
  await frame(2200);
  const ended = run(page);
  await frame(1000);
  await ended;
  await page.waitForTimeout(2000);
  await frame(3200);
}

/** Put the mouse on it, and show where the mouse is: a screenshot has none. */
async function point(page, target) {
  await target.hover();
  const box = await target.boundingBox();
  await page.evaluate(([x, y]) => {
    const arrow = document.createElement('div');
    arrow.style.cssText =
      `position:fixed;left:${x}px;top:${y}px;width:16px;height:22px;background:white;z-index:9999;` +
      'pointer-events:none;filter:drop-shadow(0 0 1px black);' +
      'clip-path:polygon(0 0,100% 68%,55% 70%,78% 100%,55% 100%,38% 74%,0 100%)';
    document.body.append(arrow);
    addEventListener('click', () => arrow.remove(), { once: true, capture: true });
  }, [box.x + box.width / 2, box.y + box.height / 2]);
}
