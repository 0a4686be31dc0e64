// The sums of a studio in the sidebar tab; what it showed as JSON on standard output.
//
//   node studio.mjs URL there|gone FOLDER     whether the database answers; FOLDER: for screenshots
import { words } from './hand.mjs';
import { settingsOf, withPage } from './page.mjs';

const [url, database, folder] = process.argv.slice(2);

const seen = {};
await withPage(url, settingsOf('canvas'), async ({ page, problems }) => {
  await page.evaluate(() => window.app.extensionManager.sidebarTab.toggleSidebarTab('mai-image'));
  const shown = database === 'there' ? '.mai-numbers h3' : '.mai-tab [role=alert]';
  await page.locator(shown).first().waitFor().catch(() => {});
  for (const [width, height] of [[1440, 900], [1920, 1080]]) {
    await page.setViewportSize({ width, height });
    await page.screenshot({ path: `${folder}/studio-${database}-${width}.png` });
  }
  seen.sums = await words(page, '.mai-numbers');
  seen.alert = await words(page, '.mai-tab [role=alert]');
  seen.images = await page.locator('.mai-image').count();
  seen.problems = problems;
});
console.log(JSON.stringify(seen));
