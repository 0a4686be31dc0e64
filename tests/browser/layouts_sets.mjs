// How the example workflows that buy several images at once look on the page; see layouts.mjs.
import { BLUE, BROWN, GREEN, note } from './layout_words.mjs';

const RATIOS = ['1:1', '4:5', '2:3', '9:16', '16:9'];
const WIDTH = 245;
const left = (index) => 275 + (WIDTH + 45) * index;
const TOP = 130;
const LANE = 15;

/** Round the nodes at its left: from the prompt along a lane above them, down before its own. */
const overTheOthers = (index) => 
  index ? [[left(0) - 25, 560], [left(0) - 25, LANE], [left(index) - 22, LANE]] : [];

/** Down beside its node and back below it. */
const underIt = (index) => {
  const right = left(index) + WIDTH + 22;
  return [[right, TOP + 50], [right, TOP + 470], [left(index) - 6, TOP + 515]];
};

const columns = (of) => Object.fromEntries(RATIOS.map((_, index) => of(index)));

export const SETS = {
  'Compare models with a slider (Azure MAI)': {
    id: '5e7c3d0a-2a53-4d0e-9d43-4d41492d3407',
    note: note({
      box: [0, 0, 1625, 150],
      title: 'Compare models',
      does: 'The same image and prompt go to two models; move over Compare Images to slide between them (in Nodes 2.0).',
      cost: '$0.11',
      own: 'replace The image by a Load Image node, choose other models, change the prompt.',
    }),
    nodes: {
      1: [0, 320, 270, 120],
      2: [0, 550, 270, 460],
      3: [330, 320, 290, 620],
      4: [680, 320, 325, 620],
      5: [1065, 320, 560, 250],
      6: [1065, 690, 265, 320],
      7: [1360, 690, 265, 320],
    },
    wires: {
      '4.images.image_1': [[300, 200], [650, 200]],
      '4.prompt': [[300, 218], [650, 218]],
      '5.image_a': [[650, 180], [1035, 180]],
      '6.images': [[650, 180], [1035, 180], [1035, 660]],
      '7.images': [[1035, 370], [1035, 605], [1345, 625]],
    },
    groups: [
      { title: 'The prompt', nodes: [1], color: GREEN },
      { title: 'The image', nodes: [2], color: GREEN },
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
      cost: '$0.10',
      own: 'change the prompt. MAI Size Helper gives width and height for other ratios.',
    }),
    nodes: {
      1: [0, 600, 225, 260],
      ...columns((index) => [2 + index, [left(index), TOP, WIDTH, 460]]),
      ...columns((index) => [7 + index, [left(index), 695, WIDTH, 320]]),
    },
    wires: {
      ...columns((index) => [`${2 + index}.prompt`, overTheOthers(index)]),
      ...columns((index) => [`${7 + index}.images`, underIt(index)]),
    },
    groups: [
      { title: 'The prompt', nodes: [1], color: GREEN },
      ...RATIOS.map((ratio, i) => ({ title: ratio, nodes: [2 + i, 7 + i], color: BROWN })),
    ],
  },
};
