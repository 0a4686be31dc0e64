// What axe-core finds wrong with the pack's parts of the page, as JSON on standard output.
//
//   node access.mjs URL canvas|vue dark|light FOLDER AXE     AXE: the script of axe-core
import { add, clear, handle, set } from './hand.mjs';
import { withPage } from './page.mjs';

const [url, renderer, theme, folder, axe] = process.argv.slice(2);

const seen = {};
const settings = {
  'Comfy.VueNodes.Enabled': renderer === 'vue', 'Comfy.ColorPalette': theme, 'Comfy.Locale': 'en',
};
await withPage(url, settings, async ({ page }) => {
  const shoot = (name) => page.screenshot({ path: `${folder}/${name}-${renderer}-${theme}.png` });
  await page.setViewportSize({ width: 1920, height: 1080 });
  await page.addScriptTag({ path: axe });
  await clear(page);
  await make(page);
  await page.evaluate(() => window.app.extensionManager.sidebarTab.toggleSidebarTab('mai-image'));
  await page.locator('.mai-image').first().waitFor();
  await page.getByRole('combobox', { name: 'Date' }).selectOption('days');
  await page.getByRole('button', { name: /the account/ }).click();
  await page.locator('.mai-tick').first().waitFor();
  await page.getByRole('button', { name: /^Billed/ }).first().click();
  seen.tab = await look(page, '.mai-tab');
  await shoot('access-tab');
  seen.tabbed = await missed(page, '.mai-tab');

  const node = await add(page, 'MAIGenerate', 700, 100);
  await set(page, node, { model: 'MAI-Image-2.5', width: 2048, height: 2048 });
  const helper = await add(page, 'MAISizeHelper', 1250, 100);
  await set(page, helper, { aspect_ratio: '9:16', model: 'MAI-Image-2.5', target_width: 2160 });
  await page.locator('.mai-room .mai-notice').first().waitFor();
  await page.locator('.mai-preview .mai-size').first().waitFor();
  seen.nodes = await look(page, '.mai-room');
  seen.pressed = await press(page, node);
  await shoot('access-nodes');

  await page.locator('.mai-thumb').first().click();
  await page.waitForFunction(() => document.querySelector('.mai-viewer img').naturalWidth > 0);
  seen.viewer = await look(page, '.mai-viewer');
});
console.log(JSON.stringify(seen));

/** An image, and a call that was perhaps billed. */
async function make(page) {
  for (const prompt of ['a harbour for everybody', `lost [[fault status=408]] ${renderer} ${theme}`]) {
    const node = await add(page, 'MAIGenerate', 700, 100);
    const show = await add(page, 'PreviewImage', 1200, 100);
    await set(page, node, { prompt, width: 768, height: 768, seed: 3, profile: 'default' });
    await page.evaluate(([one, other]) => one.connect(0, other, 0), [
      await handle(page, node), await handle(page, show),
    ]);
    await page.evaluate(() => new Promise((resolve) => {
      const { api } = window.comfyAPI.api;
      for (const event of ['execution_success', 'execution_error']) {
        api.addEventListener(event, resolve, { once: true });
      }
      window.app.queuePrompt(0);
    }));
    await page.keyboard.press('Escape');
    await clear(page);
  }
}

/** What breaks WCAG 2 A or AA within the elements that fit a selector, as sentences. */
async function look(page, selector) {
  return page.evaluate(async (scope) => {
    const found = await window.axe.run(scope, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] });
    const told = found.violations.flatMap(({ id, nodes }) =>
      nodes.map((node) => `${id}: ${node.html.slice(0, 120)}: ${node.any[0]?.message ?? node.failureSummary}`));
    return { violations: told, passes: found.passes.length };
  }, selector);
}

/** The names of the controls of a part to which the Tab key never comes. */
async function missed(page, selector) {
  const all = await page.evaluate((scope) => {
    const shown = [...document.querySelectorAll(`${scope} :is(button, input, select, a[href])`)];
    const usable = shown.filter((one) => one.checkVisibility() && !one.disabled);
    const names = usable.map((one) => one.ariaLabel || one.innerText || one.className);
    usable.forEach((one, i) => one.setAttribute('data-number', names[i]));
    usable[0].focus();
    return names;
  }, selector);
  const come = new Set();
  // A field for a date takes several presses.
  for (let times = 0; times < all.length + 20; times += 1) {
    come.add(await page.evaluate(() => document.activeElement?.getAttribute('data-number')));
    await page.keyboard.press('Tab');
  }
  return { all: all.length, missed: all.filter((name) => !come.has(name)) };
}

/** The size that a notice offers, taken by the keyboard. */
async function press(page, id) {
  await page.locator('.mai-notice button').first().focus();
  await page.keyboard.press('Enter');
  await page.waitForTimeout(300);
  return page.evaluate(
    (node) => ['model', 'width'].map((name) => node.widgets.find((one) => one.name === name).value),
    await handle(page, id),
  );
}
