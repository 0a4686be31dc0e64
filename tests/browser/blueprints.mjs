// The blueprints of subgraphs/: each a graph in API format, where its nodes stand inside, and which
// of their inputs and outputs the one node that it becomes has.
//
// `inputs`: name -> [node id, input] pairs; the first is the one whose widget is shown. `outputs`:
// name -> [node id, number of the output].

const COMMON = {
  profile: 'default', auto_aspect_ratio: false, web_grounding: false, if_blocked: 'stop',
};
const MODEL = 'MAI-Image-2.6';
const AREA = { mask_grow: 16, mask_feather: 16, context: 1.5 };

const edit = (prompt, image, more) => ({
  class_type: 'MAIEdit',
  inputs: {
    prompt, model: MODEL, seed: 0, batch_size: 1, output_size: 'same as input',
    region: 'around mask', ...AREA, match_color: true, ...COMMON, 'images.image_1': image, ...more,
  },
});

export const BLUEPRINTS = {
  'Text to 4K (MAI)': {
    id: '5e7c3d0a-2a53-4d0e-9d43-4d41492d3501',
    description:
      'A prompt becomes an image of exactly the size that you ask for, 3840 x 2160 or any other: ' +
      'the best size for its ratio is bought, enlarged and cut on this machine. About $0.09.',
    size: [400, 380],
    nodes: {
      1: {
        class_type: 'MAISizeHelper',
        inputs: { model: MODEL, aspect_ratio: 'from target', target_width: 3840, target_height: 2160 },
        box: [0, 0, 300, 440],
      },
      2: {
        class_type: 'MAIGenerate',
        inputs: {
          prompt: '', model: MODEL, width: ['1', 0], height: ['1', 1], seed: 0, batch_size: 1, ...COMMON,
        },
        box: [380, 0, 340, 440],
      },
      3: {
        class_type: 'ImageScaleBy',
        inputs: { image: ['2', 0], upscale_method: 'lanczos', scale_by: ['1', 4] },
        box: [800, 0, 260, 100],
      },
      4: {
        class_type: 'ImageScale',
        inputs: {
          image: ['3', 0], upscale_method: 'lanczos', width: ['1', 2], height: ['1', 3], crop: 'center',
        },
        box: [1140, 0, 260, 160],
      },
    },
    inputs: {
      prompt: [[2, 'prompt']],
      model: [[2, 'model'], [1, 'model']],
      target_width: [[1, 'target_width']],
      target_height: [[1, 'target_height']],
      seed: [[2, 'seed']],
      profile: [[2, 'profile']],
    },
    outputs: { image: [4, 0], info: [2, 1] },
  },

  'Outpaint (MAI)': {
    id: '5e7c3d0a-2a53-4d0e-9d43-4d41492d3502',
    description:
      'Adds room to an image at any side and has it painted; the old part stays bit for bit as it ' +
      'was. About $0.05.',
    size: [400, 440],
    nodes: {
      1: {
        class_type: 'ImagePadForOutpaint',
        inputs: { left: 256, top: 0, right: 256, bottom: 0, feathering: 0 },
        box: [0, 0, 280, 220],
      },
      2: {
        ...edit('Continue the photograph into the grey areas, in the same light.', ['1', 0], {
          mask: ['1', 1],
        }),
        box: [380, 0, 360, 620],
      },
    },
    inputs: {
      image: [[1, 'image']],
      prompt: [[2, 'prompt']],
      left: [[1, 'left']],
      top: [[1, 'top']],
      right: [[1, 'right']],
      bottom: [[1, 'bottom']],
      model: [[2, 'model']],
      seed: [[2, 'seed']],
      profile: [[2, 'profile']],
    },
    outputs: { image: [2, 0], info: [2, 2] },
  },

  'Crop, edit, stitch (MAI)': {
    id: '5e7c3d0a-2a53-4d0e-9d43-4d41492d3503',
    description:
      'Cuts out what is around a mask, edits it and sets it back at full resolution; all outside the ' +
      'mask stays bit for bit as it was. Unpack it to put nodes of your own in between. About $0.05.',
    size: [400, 380],
    nodes: {
      1: { class_type: 'MAICrop', inputs: { model: MODEL, ...AREA }, box: [0, 0, 300, 240] },
      2: { ...edit('', ['1', 0]), box: [380, 0, 360, 620] },
      3: {
        class_type: 'MAIStitch',
        inputs: { stitch: ['1', 2], image: ['2', 0], match_color: true },
        box: [820, 0, 260, 120],
      },
    },
    inputs: {
      image: [[1, 'image']],
      mask: [[1, 'mask']],
      prompt: [[2, 'prompt']],
      model: [[2, 'model'], [1, 'model']],
      context: [[1, 'context']],
      seed: [[2, 'seed']],
      profile: [[2, 'profile']],
    },
    outputs: { image: [3, 0], info: [2, 2] },
  },
};
