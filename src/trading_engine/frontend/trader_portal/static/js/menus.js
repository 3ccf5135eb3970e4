// Small menus under a button: made when opened, closed by a choice, a click elsewhere or Esc.

import { element, setHidden } from "./dom.js";

export class Menus {
  constructor() {
    this.open = null;
    document.addEventListener("pointerdown", (event) => {
      if (this.open && !this.open.menu.contains(event.target) && !this.open.button.contains(event.target)) this.close();
    });
  }

  /** `items()` gives {label, checked?, run, keepOpen?} or an element. */
  attach(button, menu, items) {
    const show = () => {
      menu.replaceChildren(...items().map((item) => (item instanceof Node ? item : this.item(item, show))));
      setHidden(menu, false);
      button.setAttribute("aria-expanded", "true");
      this.open = { button, menu };
    };
    button.addEventListener("click", () => {
      const wasOpen = this.open?.button === button;
      this.close();
      if (wasOpen) return;
      show();
      menu.querySelector("button")?.focus();
    });
    menu.addEventListener("keydown", (event) => moveFocus(menu, event));
  }

  item({ label, checked, run }, show) {
    const isToggle = checked !== undefined;
    return element("button", {
      type: "button",
      role: isToggle ? "menuitemcheckbox" : "menuitem",
      "aria-checked": isToggle ? String(checked) : undefined,
      text: label,
      onclick: () => {
        run();
        if (!isToggle) return this.close();
        const index = [...this.open.menu.querySelectorAll("button")].findIndex((button) => button === document.activeElement);
        show();
        this.open.menu.querySelectorAll("button")[Math.max(0, index)]?.focus();
        return undefined;
      },
    });
  }

  /** True when there was something to close. */
  close() {
    if (!this.open) return false;
    const { button, menu } = this.open;
    const hadFocus = menu.contains(document.activeElement);
    setHidden(menu, true);
    button.setAttribute("aria-expanded", "false");
    this.open = null;
    if (hadFocus) button.focus();
    return true;
  }
}

function moveFocus(menu, event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const buttons = [...menu.querySelectorAll("button")];
  const index = buttons.indexOf(document.activeElement);
  buttons[(index + step + buttons.length) % buttons.length]?.focus();
  event.preventDefault();
}
