// How the example workflows that edit inside a mask look on the page; see layouts.mjs.
import { BLUE, BROWN, GREEN, note } from './layout_words.mjs';

export const EDITS = {
  'Inpaint one object (Azure MAI)': {
    id: '5e7c3d0a-2a53-4d0e-9d43-4d41492d3404',
    note: note({
      box: [0, 0, 1180, 125],
      title: 'Inpaint one object in a large photograph',
      does: 'One object of a photograph of 12 megapixels is painted anew; outside the mask every pixel stays as it was.',
      cost: '$0.08',
      own: 'add Load Image, paint over the object in its MaskEditor, connect IMAGE and MASK to MAI Edit, delete the green groups.',
    }),
    nodes: {
      1: [0, 255, 290, 580],
      2: [335, 255, 225, 176],
      3: [335, 555, 225, 144],
      4: [335, 755, 225, 144],
      5: [605, 555, 225, 168],
      6: [890, 255, 290, 640],
      7: [1235, 110, 440, 460],
      8: [1235, 705, 440, 305],
    },
    groups: [
      { title: 'The photograph', nodes: [1], color: GREEN },
      { title: 'As a camera gives it', nodes: [2], color: GREEN },
      { title: 'The mask', nodes: [3, 4, 5], color: GREEN },
      { title: 'Edit', nodes: [6], color: BROWN },
      { title: 'Result: 4000 x 3000', nodes: [7], color: BLUE },
      { title: 'The part that was sent', nodes: [8], color: BLUE },
    ],
  },

  'Outpaint to 16x9 (Azure MAI)': {
    id: '5e7c3d0a-2a53-4d0e-9d43-4d41492d3405',
    note: note({
      box: [0, 0, 1495, 125],
      title: 'Outpaint to 16:9',
      does: 'An image of 4:3 becomes one of 16:9: its sides are painted, the old image stays bit for bit as it was.',
      cost: '$0.09',
      own: 'replace The image by a Load Image node; left and right are (height x 16 / 9 - width) / 2 each.',
    }),
    nodes: {
      1: [0, 255, 270, 580],
      2: [320, 255, 225, 228],
      3: [595, 255, 290, 640],
      4: [935, 255, 560, 540],
    },
    groups: [
      { title: 'The image', nodes: [1], color: GREEN },
      { title: 'Make room: free', nodes: [2], color: BLUE },
      { title: 'Paint it', nodes: [3], color: BROWN },
      { title: 'Result: 16:9', nodes: [4], color: BLUE },
    ],
  },

  'Edit, upscale, composite (Azure MAI)': {
    id: '5e7c3d0a-2a53-4d0e-9d43-4d41492d3406',
    note: note({
      box: [0, 0, 1735, 125],
      title: 'Edit, upscale, composite',
      does: 'One mask serves twice: for the edit of the object alone, and to lay the enlarged object over a background.',
      cost: '$0.13',
      own: 'replace The object or The background by Load Image; paint the mask in its MaskEditor.',
    }),
    nodes: {
      1: [0, 255, 290, 580],
      2: [335, 735, 225, 48],
      3: [605, 255, 290, 640],
      4: [940, 255, 312, 112],
      5: [940, 430, 312, 567],
      6: [1325, 255, 225, 188],
      7: [1325, 565, 410, 450],
    },
    wires: {
      '6.mask': [[582, 1030], [1288, 1030], [1288, 650]],
      '7.images': [[1575, 463], [1313, 500]],
    },
    groups: [
      { title: 'The object', nodes: [1], color: GREEN },
      { title: 'Its mask: free', nodes: [2], color: BLUE },
      { title: 'Edit only there', nodes: [3], color: BROWN },
      { title: 'Upscale, and a background', nodes: [4, 5], color: GREEN },
      { title: 'Composite: free, and the result', nodes: [6, 7], color: BLUE },
    ],
  },
};
