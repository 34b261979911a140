/** Returns the element of the page with an id. */
export const byId = (id) => document.getElementById(id);

/**
 * Makes an element: `element('p', {class: 'note'}, 'a text', anotherElement)`. A value of null
 * leaves the attribute out.
 */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** Makes an element of a drawing. */
export function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** `0.982` as "98.2%". */
export const percent = (share) => `${(100 * share).toFixed(1)}%`;

/** `3191062` bytes as "3.2 MB". */
export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

/** `4.6193` as "4.62", `46.193` as "46.2", `4619.3` as "4619". */
export const milliseconds = (ms) => (ms < 100 ? ms.toPrecision(3) : ms.toFixed(0));
