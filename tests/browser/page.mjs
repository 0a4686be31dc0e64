// A real browser on a running ComfyUI: open the page, load a workflow, hear what goes wrong.
//
// Environment: CHROMIUM is the browser (else `chromium` on the path), PLAYWRIGHT_CORE the folder of
// that package (else wherever Node finds it).
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const { chromium } = require(process.env.PLAYWRIGHT_CORE || 'playwright-core');

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

// What a fresh ComfyUI's page says by itself, without any pack: files that it doesn't have yet, and
// a look at the graph before there is one.
const ALWAYS_SAID = [
  '/user.css', '/userdata', '/templates/', '/favicon.ico', 'graph accessed before initialization',
];

/** Open the page of the ComfyUI at `url`, call `work` with {page, problems}, close the browser.
 *
 * `problems` grows by each uncaught exception and each error in the console that the page doesn't
 * cause by itself. Nothing outside that ComfyUI can be reached. `settings` are the page's own;
 * `refused` says of an address (a URL) whether it can't be reached either.
 */
export async function withPage(url, settings, work, refused = () => false) {
  return withBrowser(async (context) => {
    const { host } = new URL(url);
    const outside = (asked) => asked.protocol.startsWith('http') && asked.host !== host;
    await context.route((asked) => outside(asked) || refused(asked), (route) => route.abort());
    const page = context.pages()[0] ?? (await context.newPage());
    const problems = listen(page, host);
    await store(url, { 'Comfy.TutorialCompleted': true, ...settings });
    await page.goto(url, { waitUntil: 'domcontentloaded' });
    await page.waitForFunction(isReady, null, { timeout: 120_000 });
    // The page loads a workflow of its own first; a moment later it is done with that.
    await page.waitForTimeout(1500);
    return work({ page, problems });
  });
}

/** Start a browser that knows nothing yet, call `work` with its context, close it. */
export async function withBrowser(work) {
  const profile = mkdtempSync(join(tmpdir(), 'mai-browser-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    headless: true,
    viewport: { width: 1600, height: 1000 },
    args: FLAGS,
  });
  try {
    return await work(context);
  } finally {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
  }
}

/** Open an example workflow as the Templates dialog does, and wait until it is drawn. */
export async function load(page, name) {
  const file = `${ROOT}example_workflows/${name}.json`;
  const workflow = JSON.parse(readFileSync(file, 'utf8'));
  await page.evaluate(
    ([graph, title]) => window.app.loadGraphData(graph, true, true, title, { openSource: 'template' }),
    [workflow, name],
  );
  await page.waitForTimeout(1000);
  return workflow;
}

/** Press Run and wait for the end, which must be a good one. */
export async function run(page) {
  await page.evaluate(async () => {
    const { app } = window;
    const ended = new Promise((resolve, reject) => {
      const once = { once: true };
      app.api.addEventListener('execution_success', resolve, once);
      app.api.addEventListener('execution_error', (event) => reject(event.detail.exception_message), once);
    });
    await app.queuePrompt(0, 1);
    await ended;
  });
}

function isReady() {
  const types = Object.keys(window.LiteGraph?.registered_node_types ?? {});
  const { app } = window;
  const isIdle = app?.vueAppReady !== false && app?.extensionManager?.spinner !== true;
  return types.length > 100 && isIdle && Boolean(app?.canvas?.graph);
}

/** Keep settings of the page, as its settings dialog does. */
async function store(url, settings) {
  for (const [name, value] of Object.entries(settings)) {
    const body = JSON.stringify(value);
    const answer = await fetch(new URL(`/settings/${name}`, url), { method: 'POST', body });
    if (!answer.ok) throw new Error(`The setting ${name} can't be kept: HTTP ${answer.status}.`);
  }
}

function listen(page, host) {
  const problems = [];
  page.on('pageerror', (error) => problems.push(`exception: ${error.message.slice(0, 300)}`));
  page.on('console', (message) => {
    const from = message.location().url ?? '';
    const said = `${message.text().slice(0, 300)} (${from})`;
    const mine = from.includes(host) && !ALWAYS_SAID.some((part) => said.includes(part));
    if (message.type() === 'error' && mine) problems.push(`console: ${said}`);
  });
  return problems;
}
