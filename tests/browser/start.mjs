// The sidebar tab of a server without an account; what came of it as JSON on standard output.
//
//   node start.mjs URL canvas|vue FOLDER PROFILES     PROFILES: a profiles.toml to write meanwhile
import { writeFileSync } from 'node:fs';
import { add, clear, until, words } from './hand.mjs';
import { withPage } from './page.mjs';

const [url, renderer, folder, profiles] = process.argv.slice(2);

const seen = {};
const settings = {
  'Comfy.VueNodes.Enabled': renderer === 'vue', 'Comfy.ColorPalette': 'dark', 'Comfy.Locale': 'en',
};
await withPage(url, settings, async ({ page }) => {
  await page.setViewportSize({ width: 1440, height: 900 });
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await clear(page);
  const nodes = [await add(page, 'MAIGenerate', 600, 150), await add(page, 'MAIEdit', 1000, 150)];
  await page.evaluate(() => window.app.extensionManager.sidebarTab.toggleSidebarTab('mai-image'));
  await page.locator('.mai-welcome h3').waitFor();
  await page.waitForTimeout(300);
  seen.empty = await words(page, '.mai-tab');

  await page.getByRole('button', { name: 'Connect an account' }).click();
  await page.locator('.mai-tick').nth(4).waitFor();
  seen.before = await ticks(page);
  seen.guide = await words(page, '.mai-guide');
  await page.getByRole('button', { name: 'Copy the command: az login' }).click();
  await page.getByText('Copied.').waitFor();
  seen.copied = await page.evaluate(() => navigator.clipboard.readText());
  await page.screenshot({ path: `${folder}/start-${renderer}.png` });

  const tryIt = page.getByRole('button', { name: 'Try it without an account' });
  await tryIt.click();
  const read = () => page.evaluate((ids) => ids.map((id) => {
    const node = window.app.graph.getNodeById(id);
    return node.widgets.find((widget) => widget.name === 'profile').value;
  }), nodes);
  await until(async () => (await read()).every((profile) => profile === 'emulator'));
  seen.profiles = await read();

  writeFileSync(profiles, '[profiles.mine]\nendpoint = "http://127.0.0.1:9"\ncredential = { kind = "key", value = "x" }\n', { mode: 0o600 });
  await page.locator('.mai-tick-true').nth(1).waitFor();
  await tryIt.waitFor({ state: 'hidden' });
  seen.after = await ticks(page);
  seen.first = await page.locator('.mai-tick').first().innerText();
  await page.screenshot({ path: `${folder}/start-later-${renderer}.png` });
});
console.log(JSON.stringify(seen));

async function ticks(page) {
  return page.locator('.mai-tick > i').evaluateAll((all) => all.map((one) => one.ariaLabel));
}
