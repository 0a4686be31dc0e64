// What MAI Image adds to the page. Everything it shows is a comfort: all graphs run without it.
//
// ComfyUI imports each .js of this folder before its page is ready, and has the browser keep none
// of them. So this is the only one, and it is short: the modules beside it come when the first
// node of the pack is there or its tab is opened. scripts/app.js, the usual way to the page's app,
// is one more request that the page would wait for, and gives what window.comfyAPI holds.
const { app } = window.comfyAPI?.app ?? (await import('../../scripts/app.js'));

const PARTS = '../../mai-image/web/parts.mjs';
const PAID = { MAIGenerate: 'generate', MAIEdit: 'edit' };
const LIST = 'MAIPromptList';
const TAB = 'mai-image';
const WIDTH = 340;
const PROMPT_LINES = 6;
const PROMPT_HEIGHT = 80;

let loading = null;

/** Call `work` with the modules; where they can't be had, the page is as it is without the pack. */
async function withParts(work) {
  loading ??= import(PARTS);
  try {
    work(await loading);
  } catch (error) {
    loading = null;
    console.warn('MAI Image: a part of the page could not be shown.', error);
  }
}

/** A badge has to be there when a node is made; what it shows is filled in later. */
function addBadge(node) {
  const badge = { draw: () => new window.LGraphBadge({ text: '' }) };
  node.badges.push(() => {
    // Read so that the Vue renderer draws the badge again: see redraw in badge.mjs.
    void app.extensionManager.getSidebarTabs?.().find(({ id }) => id === TAB)?.drawn;
    return badge.draw();
  });
  return badge;
}

/** A new node shows six lines of its prompt; one that is opened keeps the size that it was given. */
function showPrompt(node) {
  const { options } = node.widgets.find((widget) => widget.name === 'prompt');
  options.getMinHeight = () => PROMPT_HEIGHT;
  options.rows = PROMPT_LINES;
  const height = node.computeSize()[1];
  node.setSize([node.size[0], Math.max(node.size[1], height)]);
  const { onConfigure } = node;
  node.onConfigure = function (saved, ...more) {
    if (saved.size?.[1] < height) {
      delete options.getMinHeight;
      delete options.rows;
    }
    return onConfigure?.call(this, saved, ...more);
  };
}

/** %date:…% and %node.widget% in a name, which the page fills in for core's own nodes alone. */
function fillInName(node) {
  const widget = node.widgets.find(({ name }) => name === 'filename_prefix');
  widget.serializeValue = () => {
    const fillIn = window.comfyAPI?.utils?.applyTextReplacements;
    return fillIn && app.graph ? fillIn(app.graph, String(widget.value)) : widget.value;
  };
}

/** The button is there when a node is made, so that a node that is opened has the same height. */
function addListButton(node) {
  const choose = () => withParts(({ chooseList }) => chooseList(node));
  const button = node.addWidget('button', 'choose_list', null, choose, { serialize: false });
  button.serialize = false;
  button.label = 'choose a list to upload';
}

/** A setting of the page: an amount in USD. */
function limit(id, name, defaultValue) {
  const attrs = { min: 0, maxFractionDigits: 2 };
  const category = ['MAI Image', 'Money', id];
  return { id: `MAI.${id}`, name, category, type: 'number', attrs, defaultValue };
}

app.registerExtension({
  name: 'MAI.Image',

  settings: [
    limit('AmberAbove', 'Show prices above this in amber (USD, 0: never)', 1),
    limit('ConfirmAbove', 'Ask before a run that costs more than this (USD, 0: never)', 5),
  ],

  setup() {
    app.extensionManager.registerSidebarTab({
      id: TAB,
      drawn: 0,
      icon: 'pi pi-palette',
      title: 'MAI',
      tooltip: 'MAI Image',
      type: 'custom',
      render: (element) => void withParts(({ showTab }) => showTab(element)),
      destroy: () => void withParts(({ hideTab }) => hideTab()),
    });
  },

  nodeCreated(node) {
    if (node.comfyClass?.startsWith('MAI')) {
      // So that Vue cuts no model's name; a workflow that is being opened sets its own size next.
      node.setSize([Math.max(node.size[0], WIDTH), node.size[1]]);
    }
    const kind = PAID[node.comfyClass];
    if (kind) {
      showPrompt(node);
      const [price, state, account] = [addBadge(node), addBadge(node), addBadge(node)];
      withParts(({ addPrice }) => addPrice(node, kind, price, state, account));
    }
    if (node.comfyClass === LIST) {
      const rows = addBadge(node);
      addListButton(node);
      withParts(({ addList }) => addList(node, rows));
    }
    // On the node of a subgraph: what is in it costs, does, and failed at.
    if (node.subgraph) node.maiBadges = { price: addBadge(node), state: addBadge(node) };
    if (node.comfyClass === 'MAISaveImage') fillInName(node);
    if (node.comfyClass === 'MAISizeHelper') {
      withParts(({ addPreview }) => addPreview(node));
    }
  },
});
