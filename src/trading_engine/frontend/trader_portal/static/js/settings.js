// What a reader chose, kept in localStorage and shown on <html>: theme, palette, interval, indicators, watchlist.

import { changed } from "./frame.js";

const KEY = "portal.settings";
const DEFAULTS = {
  theme: "dark",
  palette: "classic",
  /** null until someone chooses one */
  interval: null,
  indicators: { sma: true, ema: false, bollinger: false, vwap: false, fills: true },
  symbol: null,
  watchlist: null,
  view: "chart",
};

export const settings = { ...DEFAULTS, ...read() };
settings.indicators = { ...DEFAULTS.indicators, ...settings.indicators };

function read() {
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return typeof stored === "object" && stored !== null ? stored : {};
  } catch (error) {
    console.warn("settings could not be read and start afresh:", error.message);
    return {};
  }
}

export function saveSettings(change) {
  Object.assign(settings, change);
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch (error) {
    console.warn("settings could not be kept:", error.message);
  }
  showSettings();
  changed("settings");
}

export function showSettings() {
  const root = document.documentElement;
  root.dataset.theme = settings.theme === "light" ? "light" : "dark";
  root.dataset.palette = settings.palette === "colourblind" ? "colourblind" : "classic";
}
