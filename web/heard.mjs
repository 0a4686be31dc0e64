// What the server says of a run of this pack's nodes, translated before anybody hears it: the text on
// a node while it runs, and the error at its end.
import { api } from '../../scripts/api.js';
import { isOurs, nodeOf } from './graph.mjs';
import { translate } from './translate.mjs';

/** What becomes of an event's detail, by the event's name. */
const TRANSLATORS = { progress_text: progressText, execution_error: executionError };

/**
 * Translate the events from now on. The page's own listeners draw the text and open the dialog as
 * soon as they hear of an event, and were there first: so it is done where events are sent from.
 */
export function translateEvents() {
  const dispatch = api.dispatchCustomEvent;
  if (typeof dispatch !== 'function') return;
  api.dispatchCustomEvent = function (type, detail, ...more) {
    return dispatch.call(this, type, translated(type, detail), ...more);
  };
}

/** Whatever goes wrong here, the page gets its event. */
function translated(type, detail) {
  try {
    return TRANSLATORS[type]?.(detail) ?? detail;
  } catch (error) {
    console.warn('MAI Image: a text of the server could not be translated.', error);
    return detail;
  }
}

function progressText(detail) {
  return isOurs(nodeOf(detail.nodeId)?.comfyClass ?? '') ? { ...detail, text: translate(detail.text) } : detail;
}

/** The English text stays in the report, where Python puts it: at the end of the traceback. */
function executionError(detail) {
  const { node_type: type, exception_type: kind, exception_message: said, traceback } = detail;
  if (!isOurs(type) || !said) return detail;
  const message = translate(said);
  if (message === said) return detail;
  const report = [...(traceback ?? []), `${kind}: ${said}`];
  const title = translate(kind);
  return { ...detail, exception_type: title, exception_message: message, traceback: report };
}
