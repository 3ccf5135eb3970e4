// Candles with volume, curves, own orders and fills, on TradingView's Lightweight Charts. History is loaded as far as it is looked at;
// live trades change the last bar only, at most once a frame.

import { CandlestickSeries, createChart, createSeriesMarkers, CrosshairMode, HistogramSeries, LineSeries, LineStyle, TickMarkType } from "../vendor/lightweight-charts.js";
import { Candles, INTERVAL_SECONDS } from "./candles.js";
import { clockText, dayText, milliseconds, minuteText, utcDayText } from "./clock.js";
import { byId, element, setClass, setHidden, setText, token } from "./dom.js";
import { drawOn, redraw } from "./frame.js";
import { bollinger, exponentialMean, simpleMean, volumeWeighted } from "./indicators.js";
import { saveSettings, settings } from "./settings.js";
import { currentInstrument, openOrders, state } from "./state.js";

const BARS_LOADED = 500;
const BARS_VISIBLE = 90;
const LOAD_WITHIN = 20;
const SETTLE_MILLISECONDS = 1_000;
/** While nobody has chosen an interval: the first of these that has so many bars, so that a young market shows more than one candle. */
const AUTOMATIC_INTERVALS = ["1m", "5s", "1s"];
const AUTOMATIC_BARS_MIN = 20;

const INDICATORS = {
  sma: { label: "Moving average (20)", curves: [{ make: () => simpleMean(20), colour: "warning" }] },
  ema: { label: "Exponential average (50)", curves: [{ make: () => exponentialMean(50), colour: "accent-text" }] },
  bollinger: { label: "Bollinger bands (20, 2)", curves: [{ make: () => bollinger(20, 2, 1), colour: "text-3" }, { make: () => bollinger(20, 2, -1), colour: "text-3" }] },
  vwap: { label: "VWAP of the day", curves: [{ make: () => volumeWeighted(), colour: "text-2" }] },
  fills: { label: "Own fills", curves: [] },
};

export class Chart {
  constructor(api, market, menus) {
    this.api = api;
    this.market = market;
    this.candles = null;
    this.loading = null;
    this.historyEnded = false;
    this.hovered = null;
    this.orderLines = new Map();
    this.curves = [];
    this.changedFrom = null;
    this.settleTimer = null;
    this.automaticInterval = AUTOMATIC_INTERVALS[0];
    this.note = byId("chart-note");
    this.buildHeader(menus);
    this.buildChart();
    this.drawLive = () => this.drawBars();
    drawOn(["symbol"], () => this.symbolChanged());
    drawOn(["orders", "symbol"], () => this.drawOrders());
    drawOn(["fills", "symbol", "settings"], () => this.drawFills());
    drawOn(["settings"], () => this.applyTheme());
  }

  buildHeader(menus) {
    this.intervalButtons = Object.keys(INTERVAL_SECONDS).map((interval) =>
      element("button", { type: "button", text: interval === "1d" ? "1D" : interval, "data-interval": interval, "data-extra": interval === "5s" || interval === "15s", onclick: () => this.setInterval(interval) }),
    );
    byId("intervals").append(...this.intervalButtons);
    this.showInterval();
    menus.attach(byId("indicators-button"), byId("indicators-menu"), () =>
      Object.entries(INDICATORS).map(([key, { label }]) => ({ label, checked: settings.indicators[key], run: () => this.toggle(key) })),
    );
    this.legend = ["O", "H", "L", "C"].map((letter) => {
      const value = element("dd");
      byId("ohlc").append(element("dt", { text: letter }), value);
      return value;
    });
  }

  buildChart() {
    const container = byId("chart-canvas");
    this.chart = createChart(container, { autoSize: true, layout: { attributionLogo: true }, crosshair: { mode: CrosshairMode.Normal } });
    this.bars = this.chart.addSeries(CandlestickSeries, { priceLineStyle: LineStyle.Dotted, borderVisible: false });
    this.volume = this.chart.addSeries(HistogramSeries, { priceScaleId: "", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false });
    this.volume.priceScale().applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
    this.bars.priceScale().applyOptions({ scaleMargins: { top: 0.08, bottom: 0.2 } });
    this.markers = createSeriesMarkers(this.bars, []);
    this.chart.timeScale().applyOptions({
      timeVisible: true,
      rightOffset: 4,
      minBarSpacing: 1,
      tickMarkFormatter: (time, type) => this.tickText(time * 1000, type),
    });
    this.chart.applyOptions({ localization: { timeFormatter: (time) => this.timeText(time * 1000) } });
    this.chart.subscribeCrosshairMove((event) => {
      this.hovered = event.time ?? null;
      redraw(() => this.drawLegend());
    });
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range && range.from < LOAD_WITHIN) this.loadOlder();
    });
    this.applyTheme();
  }

  /** A day's candle opens at midnight UTC, so it is named by its date there; all else is local time. */
  tickText(time, type) {
    if (this.interval === "1d") return utcDayText(time);
    if (type < TickMarkType.Time) return dayText(time);
    return type === TickMarkType.TimeWithSeconds ? clockText(time) : minuteText(time);
  }

  timeText(time) {
    return this.interval === "1d" ? utcDayText(time) : `${dayText(time)} ${clockText(time)}`;
  }

  applyTheme() {
    const [line, grid, text, up, down, control] = ["line", "grid", "text-2", "up", "down", "control"].map(token);
    this.colours = { up, down, volumeUp: token("up-flash"), volumeDown: token("down-flash"), accent: token("accent"), onAccent: token("on-accent"), onUp: token("on-up"), onDown: token("on-down") };
    this.chart.applyOptions({
      layout: { background: { color: token("surface") }, textColor: text, fontFamily: token("numbers"), fontSize: 11, panes: { separatorColor: line } },
      grid: { vertLines: { color: grid }, horzLines: { color: grid } },
      rightPriceScale: { borderColor: line },
      timeScale: { borderColor: line },
      crosshair: { vertLine: { color: text, labelBackgroundColor: control }, horzLine: { color: text, labelBackgroundColor: control } },
    });
    this.bars.applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down });
    this.buildCurves();
    this.drawAll();
    this.clearOrders();
    this.drawOrders();
  }

  buildCurves() {
    for (const curve of this.curves) this.chart.removeSeries(curve.series);
    this.curves = Object.entries(INDICATORS).flatMap(([key, { curves }]) =>
      (settings.indicators[key] ? curves : []).map(({ make, colour }) => ({
        compute: make(),
        series: this.chart.addSeries(LineSeries, { color: token(colour), lineWidth: 1, priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false }),
      })),
    );
  }

  toggle(key) {
    saveSettings({ indicators: { ...settings.indicators, [key]: !settings.indicators[key] } });
  }

  setInterval(interval) {
    if (interval === settings.interval) return;
    saveSettings({ interval });
    this.showInterval();
    this.reload();
  }

  showInterval() {
    for (const button of this.intervalButtons) button.setAttribute("aria-pressed", String(button.dataset.interval === this.interval));
  }

  symbolChanged() {
    this.automaticInterval = AUTOMATIC_INTERVALS[0];
    this.showInterval();
    this.reload();
  }

  /** Load the present symbol and interval anew. With `keepView` what is shown stays until the new bars are there, and where they cannot be had. */
  async reload({ keepView = false } = {}) {
    const instrument = currentInstrument();
    if (!instrument) return;
    const candles = new Candles(instrument, this.interval);
    const isSame = keepView && this.candles?.instrument === instrument && this.candles.bars.length > 0;
    const loading = (this.loading = this.fetchBars(candles, {}));
    if (!isSame) this.show(candles);
    const rows = await loading;
    await this.market.loadTrades(instrument.symbol);
    if (loading !== this.loading) return;
    this.loading = null;
    if (isSame && rows === null) return;
    candles.load(rows ?? [], state.trades);
    this.historyEnded = (rows ?? []).length < BARS_LOADED;
    if (this.tryShorterInterval(candles)) return;
    this.show(candles);
    if (!isSame) this.showNewest();
  }

  show(candles) {
    this.candles = candles;
    this.hovered = null;
    this.drawAll();
  }

  get interval() {
    return settings.interval in INTERVAL_SECONDS ? settings.interval : this.automaticInterval;
  }

  /** True when there are so few bars that a shorter interval is loaded instead. */
  tryShorterInterval(candles) {
    const shorter = AUTOMATIC_INTERVALS[AUTOMATIC_INTERVALS.indexOf(this.interval) + 1];
    if (settings.interval !== null || !shorter || candles.bars.length >= AUTOMATIC_BARS_MIN) return false;
    this.automaticInterval = shorter;
    this.showInterval();
    this.reload();
    return true;
  }

  showNewest() {
    this.chart.priceScale("right").applyOptions({ autoScale: true });
    const count = this.candles.bars.length;
    const visible = Math.min(BARS_VISIBLE, Math.max(30, byId("chart-canvas").clientWidth / 8));
    this.chart.timeScale().setVisibleLogicalRange({ from: count - visible, to: count + 4 });
  }

  async loadOlder() {
    const { candles } = this;
    if (!candles || this.loading || this.historyEnded || candles.bars.length === 0) return;
    const loading = (this.loading = this.fetchBars(candles, { end: candles.bars[0].time }));
    const rows = await loading;
    if (loading !== this.loading) return;
    this.loading = null;
    for (const trade of state.trades) candles.add(trade);
    const added = rows ? candles.prepend(rows) : 0;
    if (rows && added === 0) this.historyEnded = true;
    this.drawAll();
  }

  /** Rows of the API, null where they could not be had. */
  async fetchBars(candles, query) {
    const path = `/v1/instruments/${encodeURIComponent(candles.instrument.symbol)}/candles`;
    try {
      return (await this.api.get(path, { interval: candles.interval, limit: BARS_LOADED, ...query })).candles;
    } catch (error) {
      console.warn("candles were not loaded:", error.message);
      return null;
    }
  }

  /** New trades, oldest first. */
  addTrades(trades) {
    if (!this.candles || this.loading) return;
    const { bars } = this.candles;
    const before = bars.length;
    for (const trade of trades) this.candles.add(trade);
    this.mark(Math.max(0, Math.min(before, bars.length) - 1));
    if (this.candles.isSettleDue && this.settleTimer === null) this.settleTimer = setTimeout(() => this.settle(), SETTLE_MILLISECONDS);
  }

  mark(from) {
    this.changedFrom = Math.min(this.changedFrom ?? from, from);
    redraw(this.drawLive);
  }

  async settle() {
    this.settleTimer = null;
    const { candles } = this;
    const rows = await this.fetchBars(candles, { start: candles.unsettled, limit: 3 });
    if (candles !== this.candles || this.loading || !rows) return;
    if (candles.settle(rows) !== null) this.drawAll();
  }

  drawAll() {
    if (!this.candles) return;
    const { bars } = this.candles;
    const { prices } = this.candles.instrument;
    this.changedFrom = null;
    this.bars.applyOptions({ priceFormat: { type: "price", precision: prices.scale, minMove: prices.approximate(1) } });
    this.chart.timeScale().applyOptions({ secondsVisible: this.candles.seconds < 60 });
    this.bars.setData(bars.map((bar) => this.barPoint(bar)));
    this.volume.setData(bars.map((bar) => this.volumePoint(bar)));
    for (const curve of this.curves) curve.series.setData(curve.compute(bars, 0).map((point) => this.curvePoint(point)));
    setHidden(this.note, bars.length > 0);
    setText(this.note, this.loading ? "Loading…" : "No trades yet");
    this.drawFills();
    this.drawLegend();
  }

  drawBars() {
    if (!this.candles || this.changedFrom === null) return;
    const { bars } = this.candles;
    const from = this.changedFrom;
    this.changedFrom = null;
    for (let index = from; index < bars.length; index += 1) {
      this.bars.update(this.barPoint(bars[index]));
      this.volume.update(this.volumePoint(bars[index]));
    }
    for (const curve of this.curves) for (const point of curve.compute(bars, from)) curve.series.update(this.curvePoint(point));
    setHidden(this.note, bars.length > 0);
    this.drawLegend();
  }

  barPoint(bar) {
    const { prices } = this.candles.instrument;
    return { time: bar.time, open: prices.approximate(bar.open), high: prices.approximate(bar.high), low: prices.approximate(bar.low), close: prices.approximate(bar.close) };
  }

  volumePoint(bar) {
    return { time: bar.time, value: this.candles.instrument.quantities.approximate(bar.volume), color: bar.close >= bar.open ? this.colours.volumeUp : this.colours.volumeDown };
  }

  curvePoint({ time, value }) {
    return { time, value: this.candles.instrument.prices.approximate(value) };
  }

  drawLegend() {
    const bars = this.candles?.bars ?? [];
    const bar = (this.hovered !== null && bars.findLast((candidate) => candidate.time === this.hovered)) || bars.at(-1);
    const values = bar ? [bar.open, bar.high, bar.low, bar.close] : [];
    this.legend.forEach((node, index) => setText(node, bar ? this.candles.instrument.prices.text(values[index]) : "—"));
    setClass(this.legend[3], bar ? (bar.close >= bar.open ? "up" : "down") : "");
  }

  /** One line for each price and side of own open orders. */
  drawOrders() {
    const wanted = this.wantedLines();
    for (const [key, line] of this.orderLines) {
      if (wanted.has(key)) continue;
      this.bars.removePriceLine(line);
      this.orderLines.delete(key);
    }
    for (const [key, { price, title, colour, textColour }] of wanted) {
      const known = this.orderLines.get(key);
      if (known) known.applyOptions({ title });
      else this.orderLines.set(key, this.bars.createPriceLine({ price, title, color: colour, axisLabelTextColor: textColour, lineWidth: 1, lineStyle: LineStyle.Dotted, axisLabelVisible: true }));
    }
  }

  wantedLines() {
    const instrument = currentInstrument();
    const lots = new Map();
    for (const order of instrument ? openOrders(instrument.symbol) : []) {
      if (!order.price) continue;
      const key = `${order.side}/${order.price}`;
      lots.set(key, (lots.get(key) ?? 0) + (instrument.quantities.steps(order.leaves_quantity) ?? 0));
    }
    const wanted = new Map();
    for (const [key, sum] of lots) {
      const [side, price] = key.split("/");
      const colours = side === "buy" ? { colour: this.colours.accent, textColour: this.colours.onAccent } : { colour: token("warning"), textColour: token("on-warning") };
      wanted.set(`${instrument.symbol}/${key}`, { price: Number(price), title: `${side.toUpperCase()} ${instrument.quantities.grouped(sum)}`, ...colours });
    }
    return wanted;
  }

  clearOrders() {
    for (const line of this.orderLines.values()) this.bars.removePriceLine(line);
    this.orderLines.clear();
  }

  drawFills() {
    const bars = this.candles?.bars ?? [];
    if (!settings.indicators.fills || bars.length === 0) return this.markers.setMarkers([]);
    const { symbol } = this.candles.instrument;
    const points = new Map();
    for (const fill of state.fills) {
      if (fill.symbol !== symbol) continue;
      const time = this.candles.open(milliseconds(fill.time));
      if (time < bars[0].time) continue;
      const isBuy = fill.side === "buy";
      points.set(`${time}/${fill.side}`, { time, position: isBuy ? "belowBar" : "aboveBar", shape: isBuy ? "arrowUp" : "arrowDown", color: isBuy ? this.colours.up : this.colours.down, size: 0.8 });
    }
    return this.markers.setMarkers([...points.values()].sort((a, b) => a.time - b.time));
  }
}
