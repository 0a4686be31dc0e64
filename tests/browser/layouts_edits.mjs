// How the example workflows that edit inside a mask look on the page; see layouts.mjs.
import { ACCOUNT, AGAIN, BLUE, BROWN, GREEN, GREY } from './layout_words.mjs';

export const EDITS = {
  change_one_object: {
    id: '5e7c3d0a-2a53-4d0e-9d43-4d41492d3404',
    note: {
      box: [0, 20, 350, 690],
      title: 'Change one object',
      text: `# Change one object in a large photograph

The service gives back a few megapixels at most and paints every pixel anew. With a **mask**, MAI Edit \
sends only the part around it and sets the edit back: a photograph of 12 megapixels keeps its \
4000 x 3000 pixels, and everything outside the mask stays bit for bit as it was.

**Your own photograph:** add a *Load Image* node, right click, *Open in MaskEditor*, paint over the \
object. Connect its IMAGE and MASK to **MAI Edit** and delete the two green groups, which are here \
so that the graph opens and runs without a file that you don't have.

**mask_grow** and **mask_feather** soften the border, **context** says how much around the mask the \
model sees. An object of about 500 pixels is painted at full resolution, a larger one more softly.

*Cost, box and seam* says where the part was cut out and how far its surroundings moved or changed \
colour.

**Cost: about $0.08 a run**, $0.05 with your own photograph, whatever its size. ${AGAIN}

${ACCOUNT}`,
    },
    nodes: {
      1: [400, 60, 320, 430],
      2: [400, 660, 320, 150],
      3: [800, 60, 270, 110],
      4: [800, 260, 270, 110],
      5: [800, 460, 270, 150],
      6: [800, 740, 270, 230],
      7: [1150, 60, 360, 640],
      8: [1590, 60, 560, 430],
      9: [1590, 670, 250, 300],
      10: [1870, 670, 280, 300],
    },
    groups: [
      { title: 'The photograph: yours, or this one', nodes: [1, 2], color: GREEN },
      { title: 'The mask: yours, or this one', nodes: [3, 4, 5, 6], color: GREEN },
      { title: 'Edit', nodes: [7], color: BROWN },
      { title: 'Result: 4000 x 3000', nodes: [8], color: BLUE },
      { title: 'To look at after a run', nodes: [9, 10], color: GREY },
    ],
  },

  outpaint_to_16_9: {
    id: '5e7c3d0a-2a53-4d0e-9d43-4d41492d3405',
    note: {
      box: [0, 20, 350, 620],
      title: 'Outpaint to 16:9',
      text: `# Outpaint to 16:9

An image of 4:3 becomes one of 16:9 without losing anything: what is missing at the sides is \
painted, the old image stays bit for bit as it was.

1. **Pad Image for Outpainting** adds room and makes the mask of it.
2. **MAI Edit** paints what the mask selects. It sees that the image is padded: the border lies \
exactly at the old image, and mask_grow and mask_feather are not applied.

**Your own image:** replace *The image* by a *Load Image* node. To get 16:9, **left** and \
**right** are each (height x 16 / 9 - width) / 2; from 1152 x 864 that is 192. **top** and \
**bottom** work in the same way.

Say in the prompt what should be there, and that the grey areas are to be filled.

**Cost: about $0.09 a run**, $0.05 with your own image. ${AGAIN}

${ACCOUNT}`,
    },
    nodes: {
      1: [400, 60, 320, 430],
      2: [800, 60, 270, 190],
      3: [800, 380, 270, 230],
      4: [1150, 60, 360, 640],
      5: [1590, 60, 500, 360],
      6: [1590, 590, 500, 240],
    },
    groups: [
      { title: 'The image: yours, or this one', nodes: [1], color: GREEN },
      { title: 'Make room: free', nodes: [2, 3], color: BLUE },
      { title: 'Paint it', nodes: [4], color: BROWN },
      { title: 'Result: 16:9', nodes: [5], color: BLUE },
      { title: 'To read after a run', nodes: [6], color: GREY },
    ],
  },

  edit_upscale_composite: {
    id: '5e7c3d0a-2a53-4d0e-9d43-4d41492d3406',
    note: {
      box: [0, 20, 350, 640],
      title: 'Edit, upscale, composite',
      text: `# Edit, upscale, composite

One mask serves twice: it tells MAI Edit what to change, and it lays the result over another \
image.

1. **MAI Generate** buys an object on white.
2. The object is red, so its **green channel** is dark and that of the background bright: **Invert** \
and **Threshold** make the mask, free. **MAI Edit** changes the object alone.
3. **Upscale Image By** makes object and background twice as large.
4. **Image Composite Masked** lays the object over the background; it scales the mask itself.

**Your own images:** replace *The object on white* or *The background* by *Load Image*. For an \
object of another colour take another channel, or paint the mask in the MaskEditor. Object and \
background should have the same size here; otherwise move the object with **x** and **y**.

**Cost: about $0.11 a run:** $0.04 for the object, $0.05 for the edit, $0.02 for the background. \
${AGAIN}

${ACCOUNT}`,
    },
    nodes: {
      1: [400, 60, 320, 430],
      2: [800, 60, 240, 60],
      3: [800, 220, 240, 30],
      4: [800, 350, 240, 60],
      5: [800, 510, 240, 260],
      6: [1120, 60, 360, 640],
      7: [1560, 60, 250, 90],
      8: [400, 720, 320, 430],
      9: [1560, 630, 250, 90],
      10: [1560, 300, 250, 170],
      11: [1890, 60, 400, 430],
      12: [1120, 980, 690, 170],
    },
    groups: [
      { title: 'The object: yours, or this one', nodes: [1], color: GREEN },
      { title: 'The background: yours, or this one', nodes: [8], color: GREEN },
      { title: 'Mask: free', nodes: [2, 3, 4, 5], color: BLUE },
      { title: 'Edit only there', nodes: [6], color: BROWN },
      { title: 'Upscale, composite: free', nodes: [7, 9, 10], color: BLUE },
      { title: 'Result', nodes: [11], color: BLUE },
      { title: 'To read after a run', nodes: [12], color: GREY },
    ],
  },
};
