// How long the page takes from its address to being ready, at several ComfyUIs in turn; the
// milliseconds of each load as JSON on standard output, a list for each URL.
//
//   node load.mjs COUNT URL …
import { withBrowser } from './page.mjs';

const [count, ...urls] = process.argv.slice(2);
const WARM_UP = 2;

const taken = urls.map(() => []);
await withBrowser(async (context) => {
  const page = await context.newPage();
  await page.addInitScript(watch);
  for (let round = 0; round < Number(count) + WARM_UP; round += 1) {
    for (let place = 0; place < urls.length; place += 1) {
      const which = (place + round) % urls.length;
      const ms = await load(page, urls[which]);
      if (round >= WARM_UP) taken[which].push(ms);
    }
  }
});
console.log(JSON.stringify(taken));

async function load(page, url) {
  await page.goto(url);
  const ready = await page.waitForFunction(() => window.readyAt, null, { timeout: 120_000 });
  const ms = await ready.jsonValue();
  // What it does once it is ready, and what it leaves behind, should not reach into the next load.
  await page.goto('about:blank');
  await page.waitForTimeout(500);
  return ms;
}

/** In the page: note when its spinner has gone and its nodes are known. */
function watch() {
  const timer = setInterval(() => {
    const app = window.app ?? window.comfyAPI?.app?.app;
    const types = Object.keys(window.LiteGraph?.registered_node_types ?? {});
    const idle = app?.vueAppReady && app.extensionManager?.spinner === false;
    if (!idle || !app.graph || types.length < 100) return;
    window.readyAt = performance.now();
    clearInterval(timer);
  }, 4);
}
