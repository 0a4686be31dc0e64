// What MAI Image adds to the page. Everything it shows is a comfort: all graphs run without it.
import { app } from '../../scripts/app.js';
import { addPrice } from './badge.js';
import { addStyle } from './dom.js';
import { listenToPage } from './graph.js';
import { addPreview } from './preview.js';
import { addTab } from './sidebar.js';

app.registerExtension({
  name: 'MAI.Image',

  setup() {
    addStyle();
    listenToPage();
    addTab();
  },

  nodeCreated(node) {
    if (node.comfyClass === 'MAIGenerate') addPrice(node, 'generate');
    if (node.comfyClass === 'MAIEdit') addPrice(node, 'edit');
    if (node.comfyClass === 'MAISizeHelper') addPreview(node);
  },
});
