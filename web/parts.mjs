// All that main.js has come later.
import { watchAccounts } from './account.mjs';
import { addStyle } from './dom.mjs';
import { listenToPage } from './graph.mjs';
import { suggestProfiles } from './suggest.mjs';

export { addPrice } from './badge.mjs';
export { addPreview } from './preview.mjs';
export { hideTab, showTab } from './sidebar.mjs';

addStyle();
listenToPage();
suggestProfiles();
watchAccounts();
