// A picture of the page of a running ComfyUI with a workflow of this pack on it.
//
//   node picture.mjs URL WORKFLOW FILE     WORKFLOW: its JSON file; FILE: where the PNG is kept
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { withPage } from './page.mjs';

const [url, workflow, file] = process.argv.slice(2);

await withPage(url, {}, async ({ page }) => {
  await page.setViewportSize({ width: 1440, height: 900 });
  await page.evaluate(
    ([graph, title]) => window.app.loadGraphData(graph, true, true, title),
    [JSON.parse(readFileSync(workflow, 'utf8')), basename(workflow, '.json')],
  );
  // The page moves the view first, and the badges come from the server.
  await page.waitForTimeout(2000);
  await page.screenshot({ path: file });
});
