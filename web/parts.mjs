// All that main.js has come later.
import { addStyle } from './dom.mjs';
import { watchFailures } from './failures.mjs';
import { listenToPage } from './graph.mjs';
import { watchMoney } from './money.mjs';
import { watchMouse } from './tips.mjs';

export { addPrice } from './badge.mjs';
export { addPreview } from './preview.mjs';
export { hideTab, showTab } from './sidebar.mjs';

addStyle();
listenToPage();
watchFailures();
watchMoney();
watchMouse();
