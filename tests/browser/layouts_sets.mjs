// How the example workflows that buy several images at once look on the page; see layouts.mjs.
import { BLUE, BROWN, GREEN, note } from './layout_words.mjs';

// The list, MAI Generate, what it saves and what it cost, from the left to the right.
const LISTED = {
  nodes: {
    1: [0, 306, 400, 640],
    2: [470, 306, 290, 580],
    3: [830, 306, 400, 712],
    4: [1300, 306, 300, 440],
  },
  wires: {
    '3.filename_prefix': [[435, 186], [795, 186]],
    '4.source': [[795, 172], [1265, 172]],
  },
  groups: [
    { title: 'The list', nodes: [1], color: GREEN },
    { title: 'Buy', nodes: [2], color: BROWN },
    { title: 'Result', nodes: [3], color: BLUE },
    { title: 'How it went', nodes: [4], color: BLUE },
  ],
};

export const SETS = {
  'Images from a list (Azure MAI)': {
    id: '5e7c3d0a-2a53-4d0e-9d43-4d41492d3409',
    note: note({
      box: [0, 0, 1600, 125],
      title: 'Images from a list',
      does: 'Each row of the list becomes an image, saved under its name; a row that fails costs no other.',
      cost: '$0.16',
      own: 'type another list (CSV, JSONL, a prompt a line), or upload a file; columns go into the template in braces.',
    }),
    ...LISTED,
  },

  'Compare models with a slider (Azure MAI)': {
    id: '5e7c3d0a-2a53-4d0e-9d43-4d41492d3407',
    note: note({
      box: [0, 0, 1005, 125],
      title: 'Compare models',
      does: 'The same image and prompt go to two models; move over Compare Images to slide between them (in Nodes 2.0).',
      cost: '$0.11',
      own: 'replace The image by a Load Image node, choose other models, change the prompt.',
    }),
    nodes: {
      1: [0, 260, 270, 110],
      2: [0, 440, 270, 575],
      3: [330, 306, 290, 640],
      4: [680, 306, 325, 640],
      5: [1065, 60, 560, 400],
      6: [1065, 565, 265, 448],
      7: [1360, 565, 265, 448],
    },
    wires: {
      '4.images.image_1': [[300, 186], [650, 186]],
      '4.prompt': [[300, 202], [650, 202]],
      '5.image_a': [[650, 172], [1035, 172]],
      '6.images': [[650, 172], [1035, 172], [1035, 536]],
      '6.info': [[650, 194], [1027, 194], [1027, 566]],
      '7.images': [[1035, 356], [1035, 486], [1345, 506]],
      '7.info': [[1027, 386], [1027, 500], [1338, 520]],
    },
    groups: [
      { title: 'The prompt and the image', nodes: [1, 2], color: GREEN },
      { title: 'MAI-Image-2.6', nodes: [3], color: BROWN },
      { title: 'MAI-Image-2.6-Flash', nodes: [4], color: BROWN },
      { title: 'Side by side, and each saved', nodes: [5, 6, 7], color: BLUE },
    ],
  },

  'Product shot in five ratios (Azure MAI)': {
    id: '5e7c3d0a-2a53-4d0e-9d43-4d41492d3408',
    note: note({
      box: [0, 0, 1600, 125],
      title: 'Product shot in five ratios',
      does: 'One prompt, five images, each composed for its shape and saved under its ratio.',
      cost: '$0.19',
      own: 'change the prompt (template) or a row; MAI Size Helper gives the size for other ratios.',
    }),
    ...LISTED,
  },
};
