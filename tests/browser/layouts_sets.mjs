// How the example workflows that buy several images at once look on the page; see layouts.mjs.
import { ACCOUNT, AGAIN, BLUE, BROWN, GREEN, GREY } from './layout_words.mjs';

const RATIOS = ['1:1', '4:5', '2:3', '9:16', '16:9'];
const column = (index) => 420 + 350 * index;

export const SETS = {
  compare_models: {
    id: '5e7c3d0a-2a53-4d0e-9d43-4d41492d3407',
    note: {
      box: [0, 20, 350, 520],
      title: 'Compare models',
      text: `# Compare models

The same image and the same prompt go to three models at once; their edits are set side by side, \
and each says what it cost and how long it took.

From left to right: **MAI-Image-2.6**, **2.6-Flash** (less than half the price) and **2.5**.

**Your own image:** replace *The image* by a *Load Image* node. **To compare others**, choose \
another **model** in an edit; for text to image put MAI Generate nodes in the place of the edits.

Each model needs a deployment in your account; delete the edits of those that you don't have.

**Cost: about $0.16 a run:** $0.04 for the image, then $0.05, $0.02 and $0.06. ${AGAIN}

${ACCOUNT}`,
    },
    nodes: {
      1: [400, 380, 320, 430],
      2: [400, 1010, 320, 270],
      3: [400, 60, 320, 200],
      4: [800, 60, 350, 620],
      5: [1180, 60, 350, 620],
      6: [1560, 60, 350, 620],
      7: [800, 1010, 350, 270],
      8: [1180, 1010, 350, 270],
      9: [1560, 1010, 350, 270],
      10: [1990, 60, 280, 170],
      11: [2300, 60, 280, 170],
      12: [1990, 380, 590, 300],
    },
    groups: [
      { title: 'Yours, or these', nodes: [1, 2, 3], color: GREEN },
      { title: 'Three models', nodes: [4, 5, 6], color: BROWN },
      { title: 'To read after a run', nodes: [7, 8, 9], color: GREY },
      { title: 'Side by side', nodes: [10, 11, 12], color: BLUE },
    ],
  },

  product_shot_five_ratios: {
    id: '5e7c3d0a-2a53-4d0e-9d43-4d41492d3408',
    note: {
      box: [0, 20, 350, 560],
      title: 'Product shot in five ratios',
      text: `# Product shot in five aspect ratios

One prompt, five images: square, 4:5 for feeds, 2:3 for print, 9:16 for stories, 16:9 for \
banners. Each is composed for its shape, none is cut.

**Size Helper** picks the size that the model makes best for a ratio, **MAI Generate** buys it. All \
five go out at once, as far as your requests a minute allow: at the lowest tier MAI-Image-2e may be \
called 18 times a minute, MAI-Image-2.6 twice.

**To change:** choose other ratios, or set target_width and target_height and put *Upscale Image By* \
behind, as in text_to_4k. Another model is chosen in Size Helper and MAI Generate alike.

**Cost: about $0.10 a run**, $0.02 an image. ${AGAIN}

${ACCOUNT}`,
    },
    nodes: {
      1: [0, 860, 350, 240],
      ...Object.fromEntries(RATIOS.map((_, i) => [2 + i, [column(i), 60, 300, 440]])),
      ...Object.fromEntries(RATIOS.map((_, i) => [7 + i, [column(i), 730, 300, 420]])),
      ...Object.fromEntries(RATIOS.map((_, i) => [12 + i, [column(i), 1370, 300, 330]])),
    },
    groups: [
      { title: 'The prompt', nodes: [1], color: GREEN },
      ...RATIOS.map((ratio, i) => ({ title: ratio, nodes: [2 + i, 7 + i, 12 + i], color: BROWN })),
    ],
  },
};
