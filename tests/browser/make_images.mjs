// Run the example workflows in the real page and photograph the graphs for the README.
//
//   node make_images.mjs URL FOLDER name …     URL: a ComfyUI whose "default" is an emulator
import { load, run, withPage } from './page.mjs';

const [url, folder, ...names] = process.argv.slice(2);

const SETTINGS = {
  'Comfy.VueNodes.Enabled': false,
  'Comfy.NodeBadge.NodeSourceBadgeMode': 'None',
  'Comfy.Minimap.Visible': false,
  'Comfy.Graph.CanvasInfo': false,
};

// The largest scale, and room for the graph and the bars at its left and above, in the screen's
// pixels.
const SCALE = 0.8;
const VIEW = { width: 1840, height: 1420 };
// Room for the page's own bars and for the list of runs at the top right.
const CHROME = { left: 80, top: 180, bottom: 80 };

await withPage(url, SETTINGS, async ({ page, problems }) => {
  await page.setViewportSize({ ...VIEW, height: VIEW.height + CHROME.bottom });
  for (const name of names) {
    await load(page, name);
    await run(page);
    // Previews are fetched, and the progress text settles, after the run has ended.
    await page.waitForTimeout(3000);
    const clip = await page.evaluate(frame, { SCALE, VIEW, CHROME });
    await page.waitForTimeout(1500);
    const path = `${folder}/${name}.jpg`;
    await page.screenshot({ path, clip, type: 'jpeg', quality: 84 });
    console.log(name, `${Math.round(clip.width)} x ${Math.round(clip.height)}`);
  }
  if (problems.length) throw new Error(problems.join('\n'));
});

/** In the page: bring the whole graph into view; gives the rectangle that it fills. */
function frame({ SCALE, VIEW, CHROME }) {
  const { app, LiteGraph } = window;
  const boxes = [...app.graph._nodes, ...app.graph._groups].map(({ pos, size }) => [
    pos[0], pos[1] - LiteGraph.NODE_TITLE_HEIGHT, pos[0] + size[0], pos[1] + size[1],
  ]);
  const edge = (side, pick) => pick(...boxes.map((box) => box[side]));
  const [left, top] = [edge(0, Math.min) - 15, edge(1, Math.min) - 5];
  const [right, bottom] = [edge(2, Math.max) + 15, edge(3, Math.max) + 15];
  const scale = Math.min(
    SCALE, (VIEW.width - CHROME.left) / (right - left), (VIEW.height - CHROME.top) / (bottom - top),
  );
  app.canvas.deselectAll?.();
  app.canvas.ds.scale = scale;
  app.canvas.ds.offset[0] = CHROME.left / scale - left;
  app.canvas.ds.offset[1] = CHROME.top / scale - top;
  app.canvas.setDirty(true, true);
  const canvas = app.canvas.canvas.getBoundingClientRect();
  return {
    x: canvas.left + CHROME.left,
    y: canvas.top + CHROME.top,
    width: (right - left) * scale,
    height: (bottom - top) * scale,
  };
}
