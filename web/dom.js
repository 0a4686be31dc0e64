// Elements, made in one line. Texts go in as text nodes, so nothing from outside becomes markup.

/**
 * An element with properties, attributes (`data-…`, `aria-…`) and children; null children are left out.
 * @param {string} tag
 * @param {Record<string, any>} [properties]
 * @param {...(Node | string | null | undefined)} children
 * @returns {HTMLElement}
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  set(element, properties);
  element.append(...children.filter((child) => child != null));
  return element;
}

/**
 * The same for a part of an SVG picture.
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 * @param {...(Node | string)} children
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** Load the pack's style sheet; it uses the page's own theme colours. */
export function addStyle() {
  const href = new URL('./style.css', import.meta.url).href;
  document.head.append(el('link', { rel: 'stylesheet', href }));
}

function set(element, properties) {
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes('-')) element.setAttribute(name, value);
    else element[name] = value;
  }
}
