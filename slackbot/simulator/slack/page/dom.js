/** Building DOM nodes from values, and changing a shown tree into a new one with as few changes as possible. */

/** An element with attributes (null and false are left out) and children: nodes, strings, or lists of them. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(name, value === true ? "" : value);
    }
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** A drawing from the page's own sprite. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** Make `shown` look like `fresh`; what is equal already stays the same node, so selection and layout survive. */
export function patch(shown, fresh) {
  if (shown.isEqualNode(fresh)) return shown;
  if (shown.nodeName !== fresh.nodeName) {
    shown.replaceWith(fresh);
    return fresh;
  }
  if (shown.nodeType !== Node.ELEMENT_NODE) {
    shown.nodeValue = fresh.nodeValue;
    return shown;
  }
  patchAttributes(shown, fresh);
  patchChildren(shown, fresh.childNodes);
  return shown;
}

/** The same for a list of children. */
export function patchChildren(parent, fresh) {
  const nodes = [...fresh];
  nodes.forEach((node, index) => {
    const shown = parent.childNodes[index];
    if (shown) patch(shown, node);
    else parent.append(node);
  });
  while (parent.childNodes.length > nodes.length) parent.lastChild.remove();
}

/** Show `rows` ({key, signature, render}) in this order; only rows whose signature changed are rendered again. */
export function patchRows(list, rows) {
  const shown = new Map([...list.children].map((node) => [node.dataset.key, node]));
  let cursor = list.firstElementChild;
  for (const row of rows) {
    let node = shown.get(row.key);
    shown.delete(row.key);
    if (!node || node.signature !== row.signature) {
      const fresh = row.render();
      fresh.dataset.key = row.key;
      const kept = node ? patch(node, fresh) : fresh;
      if (node === cursor) cursor = kept;
      node = kept;
      node.signature = row.signature;
    }
    if (node === cursor) cursor = cursor.nextElementSibling;
    else list.insertBefore(node, cursor);
  }
  for (const stale of shown.values()) stale.remove();
}

function patchAttributes(shown, fresh) {
  for (const { name } of [...shown.attributes]) {
    if (!fresh.hasAttribute(name)) shown.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  }
}
