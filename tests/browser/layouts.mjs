// How the example workflows look on the page: where each node of an API-format twin stands, which
// nodes are grouped, and what the note says. Boxes are [x, y, width, height] in the canvas's pixels.
// Leave room: Vue draws nodes up to a third taller and at least 225 wide, and a run adds a line.
import { ACCOUNT, AGAIN, BLUE, BROWN, GREEN, GREY } from './layout_words.mjs';
import { EDITS } from './layouts_edits.mjs';
import { SETS } from './layouts_sets.mjs';

export const LAYOUTS = {
  ...EDITS,
  ...SETS,

  text_to_4k: {
    id: '5e7c3d0a-2a53-4d0e-9d43-4d41492d3401',
    note: {
      box: [0, 20, 350, 440],
      title: 'Text to 4K',
      text: `# Text to 4K

MAI-Image-2.6 makes at most 2.36 megapixels. This graph gets 3840 x 2160 from it, exactly:

1. **Size Helper** picks the size that the model makes best for 16:9 (2048 x 1152), and the scale \
from there to the target (1.875).
2. **MAI Generate** buys one image of that size.
3. **Upscale Image By** enlarges it on this machine.
4. **Upscale Image** cuts it at the centre to exactly the target.

**Cost: about $0.09 a run.** ${AGAIN}

${ACCOUNT}

**To change:** type another target, or take the ratio "from target". For more detail than Lanczos \
can give, put *Upscale Image (using Model)* before step 3 and lower its scale.`,
    },
    nodes: {
      1: [385, 60, 300, 440],
      2: [720, 60, 320, 430],
      3: [1100, 60, 240, 90],
      4: [1380, 60, 240, 150],
      5: [1660, 60, 400, 430],
      6: [720, 600, 320, 240],
      7: [1100, 600, 520, 240],
    },
    groups: [
      { title: 'Plan: free', nodes: [1], color: GREEN },
      { title: 'Buy one image', nodes: [2], color: BROWN },
      { title: 'On this machine: free', nodes: [3, 4, 5], color: BLUE },
      { title: 'To read after a run', nodes: [6, 7], color: GREY },
    ],
  },

  edit_with_two_references: {
    id: '5e7c3d0a-2a53-4d0e-9d43-4d41492d3402',
    note: {
      box: [0, 20, 350, 440],
      title: 'Edit with two references',
      text: `# Edit with two references

**MAI Edit** takes up to five images. The first is the one that is edited; the prompt speaks of \
"the first image", "the second image", in the order of the sockets. A free socket appears when one \
is connected.

**Your own images:** replace the two MAI Generate nodes by *Load Image* nodes. They are here so \
that the graph opens and runs without a file that you don't have.

The edit comes back in the shape of the first image, as large as the model decides; \
**output_size** says whether it is scaled to the size of that image. With a **mask**, only what is white in it changes.

**Cost: about $0.11 a run:** $0.04 for the room, $0.02 for the chair, $0.05 for the edit. ${AGAIN}

${ACCOUNT}

MAI-Image-2.5 takes one reference only; 2.6 takes five.`,
    },
    nodes: {
      1: [400, 60, 320, 430],
      2: [400, 600, 320, 430],
      3: [735, 135, 195, 170],
      4: [735, 675, 195, 230],
      5: [1110, 60, 360, 620],
      6: [1550, 60, 450, 440],
      7: [1550, 620, 450, 410],
    },
    groups: [
      { title: 'The first image: yours, or this one', nodes: [1, 3], color: GREEN },
      { title: 'The second image: yours, or this one', nodes: [2, 4], color: GREEN },
      { title: 'Edit', nodes: [5], color: BROWN },
      { title: 'Result', nodes: [6], color: BLUE },
      { title: 'To read after a run', nodes: [7], color: GREY },
    ],
  },

  cut_out_over_photograph: {
    id: '5e7c3d0a-2a53-4d0e-9d43-4d41492d3403',
    note: {
      box: [0, -50, 1420, 275],
      title: 'Cut out over a photograph',
      text: `# Cut out over a photograph

One call makes a thing that is cut out already, with soft edges, and core nodes lay it over a \
photograph, free, as often as you like.

1. **background** is *transparent* at the second MAI Generate: **mask** is white where there is \
nothing. MAI-Image-2.7 and 2.7-Flash can do that.
2. **Invert Mask** turns it round: white where the balloon is.
3. **Image Composite Masked** lays the balloon over the photograph. **x** and **y** move it.

For a PNG with alpha connect images and mask to **Join Image with Alpha** and save that.

**Your own photograph:** replace *The photograph* by a *Load Image* node. It stays bit for bit as \
it was wherever the inverted mask is black.

**Cost: about $0.06 a run**, $0.02 with your own photograph. ${AGAIN}

${ACCOUNT}`,
    },
    nodes: {
      1: [0, 370, 320, 430],
      2: [0, 920, 320, 430],
      3: [440, 920, 240, 40],
      4: [440, 1060, 240, 290],
      5: [440, 370, 240, 170],
      6: [800, 370, 620, 520],
    },
    groups: [
      { title: 'The photograph: yours, or this one', nodes: [1], color: GREEN },
      { title: 'One call: a thing without a background', nodes: [2], color: BROWN },
      { title: 'Where it is', nodes: [3, 4], color: BLUE },
      { title: 'Composite', nodes: [5], color: BLUE },
      { title: 'Result', nodes: [6], color: BLUE },
    ],
  },
};
