// Build a small graph for the help of each node in the real page, run it and photograph it.
//
//   node help_images.mjs URL FOLDER IMAGE [name …]     URL: a ComfyUI whose "default" is an emulator
//
// IMAGE is a file in its input folder whose alpha masks a part of it. A box is [x, y, width,
// height] in the canvas's pixels: narrow, since the help panel is.
import { run, withPage } from './page.mjs';

const [url, folder, image, ...names] = process.argv.slice(2);

const SETTINGS = {
  'Comfy.VueNodes.Enabled': false,
  'Comfy.NodeBadge.NodeSourceBadgeMode': 'None',
  'Comfy.Minimap.Visible': false,
  'Comfy.Locale': 'en',
};

const BALLOON = 'A hot-air balloon, red and white';

const LIST = 'id,product,surface\nmug,a stoneware mug,an oak table\nlamp,a brass lamp,a desk\n';

const SCALE = 0.85;
// Room for the page's own bars.
const CHROME = { left: 80, top: 130 };

const GRAPHS = {
  generate: {
    nodes: {
      size: ['MAISizeHelper', [0, 0, 250, 450], { target_width: 3840, target_height: 2160,
        aspect_ratio: '16:9' }],
      make: ['MAIGenerate', [300, 0, 260, 450], { seed: 1,
        prompt: 'A lighthouse on a cliff above a calm sea at first light' }],
      cut: ['ImageScale', [610, 0, 240, 130], { upscale_method: 'lanczos', crop: 'center' }],
      save: ['SaveImage', [610, 200, 240, 250], { filename_prefix: 'help/generate' }],
    },
    links: ['size.width make.width', 'size.height make.height', 'make.images cut.image',
      'size.target_width cut.width', 'size.target_height cut.height', 'cut.IMAGE save.images'],
  },
  save: {
    nodes: {
      make: ['MAIGenerate', [0, 0, 260, 450], { seed: 2,
        prompt: 'A lighthouse on a cliff above a calm sea at first light' }],
      save: ['MAISaveImage', [320, 0, 300, 450], { filename_prefix: 'help/save' }],
    },
    links: ['make.images save.images', 'make.info save.info', 'make.mask save.mask'],
  },
  list: {
    nodes: {
      rows: ['MAIPromptList', [0, 0, 280, 480], { text: LIST,
        template: 'A product photograph of {product} on {surface}' }],
      make: ['MAIGenerate', [330, 0, 240, 480], { if_blocked: 'skip failures' }],
      save: ['SaveImage', [620, 0, 260, 300], {}],
    },
    links: ['rows.prompt make.prompt', 'rows.seed make.seed', 'make.images save.images',
      'rows.name save.filename_prefix'],
  },
  edit: {
    nodes: {
      load: ['LoadImage', [0, 0, 240, 300], { image: image }],
      edit: ['MAIEdit', [290, 0, 270, 540], { seed: 1, prompt: BALLOON }],
      save: ['SaveImage', [610, 0, 240, 250], { filename_prefix: 'help/edit' }],
    },
    links: ['load.IMAGE edit.images.image_1', 'load.MASK edit.mask', 'edit.images save.images'],
  },
  crop_and_stitch: {
    nodes: {
      load: ['LoadImage', [0, 0, 250, 300], { image: image }],
      crop: ['MAICrop', [0, 370, 250, 200], {}],
      edit: ['MAIEdit', [300, 0, 260, 570], { seed: 1, prompt: BALLOON }],
      stitch: ['MAIStitch', [610, 0, 240, 100], {}],
      save: ['SaveImage', [610, 170, 240, 250], { filename_prefix: 'help/stitch' }],
    },
    links: ['load.IMAGE crop.image', 'load.MASK crop.mask', 'crop.crop edit.images.image_1',
      'crop.stitch stitch.stitch', 'edit.images stitch.image', 'stitch.image save.images'],
  },
};

await withPage(url, SETTINGS, async ({ page, problems }) => {
  await page.setViewportSize({ width: 1100, height: 900 });
  for (const [name, graph] of Object.entries(GRAPHS)) {
    if (names.length && !names.includes(name)) continue;
    await page.evaluate(build, graph);
    await run(page);
    // Previews are fetched, and the progress text settles, after the run has ended.
    await page.waitForTimeout(2500);
    const clip = await page.evaluate(frame, { SCALE, CHROME });
    await page.waitForTimeout(1000);
    const path = `${folder}/${name}.jpg`;
    await page.screenshot({ path, clip, type: 'jpeg', quality: 82 });
    console.log(name, `${Math.round(clip.width)} x ${Math.round(clip.height)}`);
  }
  if (problems.length) throw new Error(problems.join('\n'));
});

/** In the page: a graph of its own, its nodes linked by the names of outputs and inputs. */
async function build({ nodes, links }) {
  const { app, LiteGraph } = window;
  await app.loadGraphData({ last_node_id: 0, last_link_id: 0, nodes: [], links: [], version: 0.4 });
  const made = {};
  for (const [name, [type, [x, y, width, height], values]] of Object.entries(nodes)) {
    const node = LiteGraph.createNode(type);
    app.graph.add(node);
    node.pos = [x, y];
    for (const [key, value] of Object.entries(values)) {
      const widget = node.widgets.find((one) => one.name === key);
      widget.value = value;
      widget.callback?.(value);
    }
    const seed = node.widgets?.find((one) => one.name === 'seed');
    for (const control of seed?.linkedWidgets ?? []) control.value = 'fixed';
    node.setSize([width, height]);
    made[name] = node;
  }
  for (const link of links) {
    const [[from, output], [to, input]] = link.split(' ').map((end) => {
      const dot = end.indexOf('.');
      return [made[end.slice(0, dot)], end.slice(dot + 1)];
    });
    const outlet = from.outputs.findIndex((slot) => slot.name === output);
    const inlet = to.inputs.findIndex((slot) => slot.name === input);
    if (!from.connect(outlet, to, inlet)) throw new Error(`can't link ${link}`);
  }
}

/** In the page: bring the whole graph into view; gives the rectangle that it fills. */
function frame({ SCALE, CHROME }) {
  const { app, LiteGraph } = window;
  const boxes = app.graph._nodes.map(({ pos, size }) => [
    pos[0], pos[1] - LiteGraph.NODE_TITLE_HEIGHT, pos[0] + size[0], pos[1] + size[1],
  ]);
  const edge = (side, pick) => pick(...boxes.map((box) => box[side]));
  const [left, top] = [edge(0, Math.min) - 15, edge(1, Math.min) - 35];
  const [right, bottom] = [edge(2, Math.max) + 15, edge(3, Math.max) + 15];
  app.canvas.deselectAll?.();
  app.canvas.ds.scale = SCALE;
  app.canvas.ds.offset[0] = CHROME.left / SCALE - left;
  app.canvas.ds.offset[1] = CHROME.top / SCALE - top;
  app.canvas.setDirty(true, true);
  const canvas = app.canvas.canvas.getBoundingClientRect();
  return {
    x: canvas.left + CHROME.left,
    y: canvas.top + CHROME.top,
    width: (right - left) * SCALE,
    height: (bottom - top) * SCALE,
  };
}
