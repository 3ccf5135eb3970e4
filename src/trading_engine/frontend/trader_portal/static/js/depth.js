// The depth chart: cumulative size by distance from the middle, both sides to the same distance, on one canvas. Pointing at it tells what
// stands up to that price.

import { compact } from "./decimal.js";
import { byId, setText, token } from "./dom.js";
import { drawOn, redraw } from "./frame.js";
import { currentInstrument, state } from "./state.js";

const LEVELS_MAX = 400;
const LEVELS_SHOWN = 30;
const AXIS_HEIGHT = 18;
const GRID_PARTS = [0.3, 0.6, 0.9];

export class Depth {
  constructor() {
    this.body = byId("depth-body");
    this.canvas = byId("depth-canvas");
    this.context = this.canvas.getContext("2d");
    this.hover = byId("depth-hover");
    this.pointer = null;
    this.colours = null;
    const draw = () => this.draw();
    drawOn(["book", "symbol"], draw);
    drawOn(["settings"], () => {
      this.colours = null;
      redraw(draw);
    });
    new ResizeObserver(() => {
      this.size();
      redraw(draw);
    }).observe(this.body);
    this.canvas.addEventListener("pointermove", (event) => {
      this.pointer = event.offsetX;
      redraw(draw);
    });
    this.canvas.addEventListener("pointerleave", () => {
      this.pointer = null;
      redraw(draw);
    });
  }

  size() {
    const ratio = devicePixelRatio || 1;
    this.width = this.body.clientWidth;
    this.height = this.body.clientHeight;
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  draw() {
    const instrument = currentInstrument();
    if (!instrument || !state.book || !this.width) return;
    this.colours ??= readColours();
    const { context } = this;
    context.clearRect(0, 0, this.width, this.height);
    const bids = state.book.bids.levels(LEVELS_MAX);
    const asks = state.book.asks.levels(LEVELS_MAX);
    const scale = scaleOf(bids, asks, this.width, this.height - AXIS_HEIGHT);
    setText(this.hover, "");
    if (!scale) return;
    this.drawGrid(scale);
    this.drawSide(bids, scale, this.colours.up, this.colours.upBar, -1);
    this.drawSide(asks, scale, this.colours.down, this.colours.downBar, 1);
    this.drawTotals(scale, instrument);
    this.drawAxis(scale, instrument);
    if (this.pointer !== null) this.drawPointer(bids, asks, scale, instrument);
  }

  drawGrid(scale) {
    const { context, colours } = this;
    context.font = `10.5px ${colours.numbers}`;
    context.lineWidth = 1;
    for (const part of GRID_PARTS) {
      const y = Math.round(scale.base - part * scale.base * 0.92) + 0.5;
      context.strokeStyle = colours.grid;
      context.beginPath();
      context.moveTo(0, y);
      context.lineTo(this.width, y);
      context.stroke();
    }
  }

  drawTotals(scale, instrument) {
    const { context, colours } = this;
    context.textAlign = "right";
    context.textBaseline = "bottom";
    context.fillStyle = colours.muted;
    for (const part of GRID_PARTS) {
      const y = Math.round(scale.base - part * scale.base * 0.92);
      context.fillText(compact(Math.round(instrument.quantities.approximate(part * scale.most))), this.width - 8, y - 1);
    }
  }

  drawSide(levels, scale, line, area, direction) {
    if (levels.length === 0) return;
    const { context } = this;
    const edge = direction > 0 ? this.width : 0;
    context.beginPath();
    context.moveTo(scale.x(levels[0].tick), scale.base);
    let y = scale.base;
    for (const level of levels) {
      const x = scale.x(level.tick);
      if ((x - edge) * direction > 0) break;
      context.lineTo(x, y);
      y = scale.y(level.total);
      context.lineTo(x, y);
    }
    context.lineTo(edge, y);
    context.strokeStyle = line;
    context.lineWidth = 1.5;
    context.stroke();
    context.lineTo(edge, scale.base);
    context.closePath();
    context.fillStyle = area;
    context.fill();
  }

  drawAxis(scale, instrument) {
    const { context, colours } = this;
    context.textBaseline = "alphabetic";
    const y = this.height - 5;
    const left = instrument.prices.text(Math.round(scale.middle - scale.reach));
    const right = instrument.prices.text(Math.round(scale.middle + scale.reach));
    context.fillStyle = colours.text;
    context.textAlign = "left";
    context.fillText(left, 8, y);
    context.textAlign = "right";
    context.fillText(right, this.width - 8, y);
    context.textAlign = "center";
    context.fillStyle = colours.strong;
    const digits = instrument.prices.scale + (Number.isInteger(scale.middle) ? 0 : 1);
    context.fillText(instrument.prices.approximate(scale.middle).toFixed(digits), scale.x(scale.middle), y);
  }

  drawPointer(bids, asks, scale, instrument) {
    const { context, colours } = this;
    const tick = scale.middle + ((this.pointer - this.width / 2) / (this.width / 2)) * scale.reach;
    const isBid = tick < scale.middle;
    const levels = (isBid ? bids : asks).filter((level) => (isBid ? level.tick >= tick : level.tick <= tick));
    context.strokeStyle = colours.text;
    context.lineWidth = 1;
    context.setLineDash([3, 3]);
    context.beginPath();
    context.moveTo(this.pointer, 0);
    context.lineTo(this.pointer, scale.base);
    context.stroke();
    context.setLineDash([]);
    const total = levels.at(-1)?.total ?? 0;
    const price = instrument.prices.text(Math.round(tick));
    setText(this.hover, `${isBid ? "bids from" : "asks to"} ${price}: ${instrument.quantities.grouped(total)}`);
  }
}

/** Both sides to the distance of the farther side's thirtieth level, at most to the last one known. */
function scaleOf(bids, asks, width, base) {
  if (bids.length === 0 || asks.length === 0) return null;
  const middle = (bids[0].tick + asks[0].tick) / 2;
  const far = (levels) => Math.abs(levels[Math.min(LEVELS_SHOWN, levels.length) - 1].tick - middle);
  const reach = Math.max(far(bids), far(asks), 1);
  const within = (levels) => levels.findLast((level) => Math.abs(level.tick - middle) <= reach)?.total ?? 0;
  const most = Math.max(within(bids), within(asks), 1);
  return {
    middle,
    reach,
    most,
    base,
    x: (tick) => width / 2 + ((tick - middle) / reach) * (width / 2),
    y: (total) => base - (total / most) * base * 0.92,
  };
}

function readColours() {
  return { up: token("up"), down: token("down"), upBar: token("up-bar"), downBar: token("down-bar"), grid: token("grid"), text: token("text-3"), muted: token("text-2"), strong: token("text"), numbers: token("numbers") };
}
