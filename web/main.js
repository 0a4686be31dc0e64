// What MAI Image adds to the page. Everything it shows is a comfort: all graphs run without it.
//
// ComfyUI imports each .js of this folder before its page is ready, and has the browser keep none
// of them. So this is the only one, and it is short: the modules beside it come when the first
// node of the pack is there or its tab is opened. scripts/app.js, the usual way to the page's app,
// is one more request that the page would wait for, and gives what window.comfyAPI holds.
const { app } = window.comfyAPI?.app ?? (await import('../../scripts/app.js'));

const PARTS = '../../mai-image/web/parts.mjs';
const PAID = { MAIGenerate: 'generate', MAIEdit: 'edit' };
const WIDTH = 340;

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
    // Read so that the Vue renderer draws the badge again when the list changes: see badge.mjs.
    void node.widgets?.length;
    return badge.draw();
  });
  return badge;
}

app.registerExtension({
  name: 'MAI.Image',

  setup() {
    app.extensionManager.registerSidebarTab({
      id: 'mai-image',
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
      const [price, state] = [addBadge(node), addBadge(node)];
      withParts(({ addPrice }) => addPrice(node, kind, price, state));
    }
    if (node.comfyClass === 'MAISizeHelper') {
      withParts(({ addPreview }) => addPreview(node));
    }
  },
});
