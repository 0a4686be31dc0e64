// How the example workflows that buy several images at once look on the page; see layouts.mjs.
import { BLUE, BROWN, GREEN, note } from './layout_words.mjs';

const RATIOS = ['1:1', '4:5', '2:3', '9:16', '16:9'];
const WIDTH = 276;
const left = (index) => 265 + (WIDTH + 26) * index;
const TOP = 70;
const LANE = -35;

/** Round the nodes at its left: from the prompt along a lane above them, down before its own. */
const overTheOthers = (index) => {
  const down = left(index) - 7;
  const lane = [[left(0) - 20, 560], [left(0) - 20, LANE], [down, LANE], [down, TOP + 95]];
  return index ? lane : [];
};

/** Down beside its node and back below it. */
const underIt = (index) => {
  const right = left(index) + WIDTH + 9;
  return [[right, TOP + 50], [right, TOP + 573], [left(index) - 6, TOP + 587]];
};

const columns = (of) => Object.fromEntries(RATIOS.map((_, index) => of(index)));

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
    nodes: {
      1: [0, 306, 400, 640],
      2: [470, 306, 290, 580],
      3: [830, 306, 400, 640],
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
  },

  'Compare models with a slider (Azure MAI)': {
    id: '5e7c3d0a-2a53-4d0e-9d43-4d41492d3407',
    note: note({
      box: [0, 0, 1625, 125],
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
      5: [1065, 306, 560, 250],
      6: [1065, 676, 265, 330],
      7: [1360, 676, 265, 330],
    },
    wires: {
      '4.images.image_1': [[300, 186], [650, 186]],
      '4.prompt': [[300, 202], [650, 202]],
      '5.image_a': [[650, 172], [1035, 172]],
      '6.images': [[650, 172], [1035, 172], [1035, 646]],
      '7.images': [[1035, 356], [1035, 591], [1345, 611]],
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
      box: [0, 0, 225, 470],
      title: 'Product shot in five ratios',
      does: 'One prompt, five images, each composed for its shape.',
      cost: '$0.19',
      own: 'change the prompt. MAI Size Helper gives width and height for other ratios.',
    }),
    nodes: {
      1: [0, 620, 225, 260],
      ...columns((index) => [2 + index, [left(index), TOP, WIDTH, 565]]),
      ...columns((index) => [7 + index, [left(index), 697, WIDTH, 316]]),
    },
    wires: {
      ...columns((index) => [`${2 + index}.prompt`, overTheOthers(index)]),
      ...columns((index) => [`${7 + index}.images`, underIt(index)]),
    },
    groups: [
      { title: 'The prompt', nodes: [1], color: GREEN },
      {
        title: 'A call for each ratio',
        nodes: RATIOS.flatMap((_, index) => [2 + index, 7 + index]),
        color: BROWN,
      },
    ],
  },
};
