// All that main.js has come later.
import { watchAccounts } from './account.mjs';
import { addStyle } from './dom.mjs';
import { watchFailures } from './failures.mjs';
import { listenToPage } from './graph.mjs';
import { translateEvents } from './heard.mjs';
import { watchLists } from './lists.mjs';
import { watchMoney } from './money.mjs';
import { suggestProfiles } from './suggest.mjs';
import { watchMouse } from './tips.mjs';
import { ready } from './translate.mjs';

export { addPrice } from './badge.mjs';
export { addList, chooseList } from './lists.mjs';
export { addPreview } from './preview.mjs';
export { hideTab, showTab } from './sidebar.mjs';

addStyle();
listenToPage();
translateEvents();
void ready();
suggestProfiles();
watchAccounts();
watchFailures();
watchLists();
watchMoney();
watchMouse();
