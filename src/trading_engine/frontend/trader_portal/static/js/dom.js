// Elements without markup strings: what comes from the venue only ever becomes text, never HTML. The setters remember what they last
// wrote and touch the document only where that differs.

export function byId(id) {
  return document.getElementById(id);
}

/** `properties` may hold class, text, attributes (strings) and on<event> functions. */
export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") setText(node, value);
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

export function setText(node, text) {
  if (node.shownText === text) return false;
  node.shownText = text;
  node.textContent = text;
  return true;
}

export function setClass(node, name) {
  if (node.shownClass === name) return;
  node.shownClass = name;
  node.className = name;
}

export function setAttribute(node, name, value) {
  const shown = (node.shownAttributes ??= new Map());
  if (shown.get(name) === value) return;
  shown.set(name, value);
  if (value === null) node.removeAttribute(name);
  else node.setAttribute(name, value);
}

export function setHidden(node, hidden) {
  if (node.hidden !== hidden) node.hidden = hidden;
}

export function setScale(node, fraction) {
  const value = `scaleX(${fraction.toFixed(4)})`;
  if (node.shownScale === value) return;
  node.shownScale = value;
  node.style.transform = value;
}

const SVG = "http://www.w3.org/2000/svg";

export function svgElement(tag, attributes = {}) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/** The present value of a colour of `tokens.css`. */
export function token(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
