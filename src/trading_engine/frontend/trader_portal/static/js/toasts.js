// Short messages that go away, and the log that keeps them.

import { byId, element } from "./dom.js";
import { changed } from "./frame.js";

const SHOWN_MILLISECONDS = 4_500;
const SHOWN_MAX = 4;
const LOG_MAX = 200;

/** Newest first: {time, kind, text} */
export const messages = [];

/** `kind`: "good", "error" or "info". A message with the same `key` takes the place of the one shown, as further fills of one order do. */
export function toast(kind, text, key = null) {
  messages.unshift({ time: Date.now(), kind, text });
  if (messages.length > LOG_MAX) messages.length = LOG_MAX;
  changed("log");
  const root = byId("toasts");
  const node = element("div", { class: "toast", "data-kind": kind, text, "data-key": key });
  if (key !== null) [...root.children].find((shown) => shown.dataset.key === key)?.remove();
  root.append(node);
  while (root.children.length > SHOWN_MAX) root.firstElementChild.remove();
  setTimeout(() => node.remove(), SHOWN_MILLISECONDS);
}
