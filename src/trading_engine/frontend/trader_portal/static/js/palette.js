// The symbol palette: `/`, a few letters, Enter.

import { byId, element } from "./dom.js";
import { state } from "./state.js";

const RESULTS_MAX = 50;

export class Palette {
  /** `onSelect(symbol)` shows it; it joins the watchlist as well. */
  constructor(onSelect) {
    this.onSelect = onSelect;
    this.dialog = byId("palette");
    this.input = byId("palette-input");
    this.list = byId("palette-list");
    this.active = 0;
    this.results = [];
    this.input.addEventListener("input", () => {
      this.active = 0;
      this.draw();
    });
    this.dialog.addEventListener("keydown", (event) => this.key(event));
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close();
    });
  }

  show() {
    if (this.dialog.open || state.instruments.size === 0) return;
    this.input.value = "";
    this.active = 0;
    this.dialog.showModal();
    this.draw();
    this.input.focus();
  }

  key(event) {
    if (event.key === "Enter") this.choose(this.results[this.active]);
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      this.active = Math.max(0, Math.min(this.results.length - 1, this.active + (event.key === "ArrowDown" ? 1 : -1)));
      this.draw();
    } else return;
    event.preventDefault();
  }

  choose(instrument) {
    if (!instrument) return;
    this.dialog.close();
    this.onSelect(instrument.symbol);
  }

  draw() {
    this.results = rank([...state.instruments.values()], this.input.value).slice(0, RESULTS_MAX);
    this.list.replaceChildren(...this.results.map((instrument, index) => this.row(instrument, index)));
    if (this.results.length === 0) this.list.append(element("div", { class: "empty", text: "No such symbol." }));
    const row = this.list.children[this.active];
    row?.scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", this.results.length > 0 ? row.id : "");
  }

  row(instrument, index) {
    const ticker = state.tickers.get(instrument.symbol);
    const percent = Number(ticker?.change_percent ?? 0);
    return element(
      "div",
      { class: "palette-row", role: "option", id: `palette-${index}`, "aria-selected": String(index === this.active), onclick: () => this.choose(instrument) },
      element("b", { text: instrument.symbol }),
      element("span", { class: "muted", text: instrument.name }),
      element("span", { class: "num", text: ticker?.last ?? "—" }),
      element("span", { class: `num ${percent > 0 ? "up" : percent < 0 ? "down" : "muted"}`, text: `${percent > 0 ? "+" : ""}${percent.toFixed(2)}%` }),
    );
  }
}

/** Symbols that begin with the text, then names that do, then those that hold it anywhere. */
export function rank(instruments, text) {
  const wanted = text.trim().toLowerCase();
  const score = ({ symbol, name }) => {
    const [short, long] = [symbol.toLowerCase(), name.toLowerCase()];
    if (short === wanted) return 0;
    if (short.startsWith(wanted)) return 1;
    if (long.startsWith(wanted)) return 2;
    return short.includes(wanted) || long.includes(wanted) ? 3 : 9;
  };
  return instruments
    .map((instrument) => ({ instrument, score: score(instrument) }))
    .filter((entry) => entry.score < 9)
    .sort((a, b) => a.score - b.score)
    .map((entry) => entry.instrument);
}
