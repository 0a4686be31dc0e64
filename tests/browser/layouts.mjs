// How the example workflows look on the page, by their files' names: where each node of an
// API-format twin stands, which nodes are grouped, what the note says, and the points by which a
// wire goes round a node. Boxes are [x, y, width, height] in the canvas's pixels, without titles.
//
// The page opens a template fitted into three quarters of its window, and draws no text below a
// zoom of 0.6: all nodes together take 1,750 x 1,050 at most. Vue draws nodes up to a third taller
// and at least 225 wide, and a run adds a line: leave room. With its buttons MAI Generate takes 565
// there then, MAI Edit 620, and their widths must show the model's name.
import { BLUE, BROWN, GREEN, note } from './layout_words.mjs';
import { EDITS } from './layouts_edits.mjs';
import { SETS } from './layouts_sets.mjs';

export const LAYOUTS = {
  ...EDITS,
  ...SETS,

  'Text to 4K (Azure MAI)': {
    id: '5e7c3d0a-2a53-4d0e-9d43-4d41492d3401',
    note: note({
      box: [0, 0, 1495, 125],
      title: 'Text to 4K',
      does: 'One prompt becomes an image of exactly 3840 x 2160: one of 2048 x 1152 is bought and enlarged here.',
      cost: '$0.09',
      own: 'write a prompt; for another size change the targets of Size Helper.',
    }),
    nodes: {
      1: [0, 255, 270, 590],
      2: [340, 450, 270, 567],
      3: [660, 255, 225, 176],
      4: [935, 255, 560, 540],
    },
    wires: { '4.info': [[632, 600], [910, 600]] },
    groups: [
      { title: 'Plan: free', nodes: [1], color: GREEN },
      { title: 'Buy one image', nodes: [2], color: BROWN },
      { title: 'Here: free', nodes: [3], color: BLUE },
      { title: 'Result: 3840 x 2160', nodes: [4], color: BLUE },
    ],
  },

  'Edit with two references (Azure MAI)': {
    id: '5e7c3d0a-2a53-4d0e-9d43-4d41492d3402',
    note: note({
      box: [0, 0, 1540, 125],
      title: 'Edit with two references',
      does: 'The chair of the second image goes into the room of the first: MAI Edit takes up to five images.',
      cost: '$0.11',
      own: 'replace the two green nodes by Load Image nodes; the prompt counts images as the sockets do.',
    }),
    nodes: {
      1: [0, 255, 270, 580],
      2: [320, 405, 270, 580],
      3: [640, 255, 290, 640],
      4: [980, 255, 560, 540],
    },
    groups: [
      { title: 'First image', nodes: [1], color: GREEN },
      { title: 'Second image', nodes: [2], color: GREEN },
      { title: 'Edit', nodes: [3], color: BROWN },
      { title: 'Result', nodes: [4], color: BLUE },
    ],
  },

  'Cut out over a photograph (Azure MAI)': {
    id: '5e7c3d0a-2a53-4d0e-9d43-4d41492d3403',
    note: note({
      box: [0, 0, 1710, 125],
      title: 'Cut out over a photograph',
      does: 'One call makes a thing that is cut out already (background: transparent); core nodes lay it over a photograph.',
      cost: '$0.06',
      own: 'replace The photograph by a Load Image node ($0.02 a run then); x and y move the thing.',
    }),
    nodes: {
      1: [0, 255, 290, 580],
      2: [335, 405, 290, 580],
      3: [670, 595, 225, 48],
      4: [940, 255, 225, 188],
      5: [1210, 255, 500, 520],
    },
    groups: [
      { title: 'The photograph', nodes: [1], color: GREEN },
      { title: 'A thing, cut out', nodes: [2], color: BROWN },
      { title: 'Its shape', nodes: [3], color: BLUE },
      { title: 'Lay it over', nodes: [4], color: BLUE },
      { title: 'Result', nodes: [5], color: BLUE },
    ],
  },
};
