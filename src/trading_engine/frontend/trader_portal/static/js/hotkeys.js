// Keys for the whole page. Letters are left alone where someone writes; price and quantity take no letters, so B and S work there too.

export function bindHotkeys({ onSide, onPalette, onHelp, onEscape }) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    // A dialog closes itself at Esc and keeps all other keys.
    if (document.querySelector("dialog[open]") !== null) return;
    if (event.key === "Escape") {
      if (onEscape()) event.preventDefault();
      return;
    }
    if (isWriting(event.target)) return;
    const action = { b: () => onSide("buy"), s: () => onSide("sell"), "/": onPalette, "?": onHelp }[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

function isWriting(target) {
  // A dialog that has just closed keeps the focus until the next frame is drawn.
  if (target instanceof Element && target.closest("dialog:not([open])") !== null) return false;
  if (target instanceof HTMLSelectElement || target instanceof HTMLTextAreaElement) return true;
  return target instanceof HTMLInputElement && target.inputMode !== "decimal" && target.type !== "checkbox";
}
