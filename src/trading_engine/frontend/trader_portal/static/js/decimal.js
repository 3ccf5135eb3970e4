// Exact decimals. Two shapes:
//
// - `Decimal`: an immutable whole number of 10^-scale (BigInt), for money: sums, fees, profit and loss.
// - `Grid`: a tick or lot size. A price becomes a whole number of ticks (a JavaScript integer: the venue's bound of 2^31 is far below
//   2^53), so that book and candles compare and add integers, and no price ever passes through binary fractions.

const PATTERN = /^([+-]?)(\d*)(?:\.(\d*))?$/;
const DIGITS_MAX = 40;

export class Decimal {
  constructor(units, scale) {
    this.units = units;
    this.scale = scale;
    Object.freeze(this);
  }

  /** Null where the text is no plain decimal number. */
  static parse(text) {
    const match = PATTERN.exec(String(text ?? "").trim());
    if (!match || !(match[2] || match[3]) || (match[2].length + (match[3]?.length ?? 0)) > DIGITS_MAX) return null;
    const fraction = match[3] ?? "";
    const units = BigInt((match[2] || "0") + fraction);
    return new Decimal(match[1] === "-" ? -units : units, fraction.length);
  }

  /** For what the API sent; null and nonsense count as zero. */
  static of(text) {
    return Decimal.parse(text) ?? Decimal.ZERO;
  }

  unitsAt(scale) {
    return this.units * 10n ** BigInt(scale - this.scale);
  }

  plus(other) {
    const scale = Math.max(this.scale, other.scale);
    return new Decimal(this.unitsAt(scale) + other.unitsAt(scale), scale);
  }

  minus(other) {
    return this.plus(new Decimal(-other.units, other.scale));
  }

  times(other) {
    return new Decimal(this.units * other.units, this.scale + other.scale);
  }

  compare(other) {
    const difference = this.minus(other).units;
    return difference > 0n ? 1 : difference < 0n ? -1 : 0;
  }

  get sign() {
    return this.units > 0n ? 1 : this.units < 0n ? -1 : 0;
  }

  /** To `places` decimals: "half-even", "up" (away from zero) or "down". */
  round(places, mode = "half-even") {
    if (this.scale <= places) return new Decimal(this.unitsAt(places), places);
    const divisor = 10n ** BigInt(this.scale - places);
    const magnitude = this.units < 0n ? -this.units : this.units;
    let quotient = magnitude / divisor;
    const twice = (magnitude % divisor) * 2n;
    const more = mode === "up" ? twice > 0n : mode === "half-even" && (twice > divisor || (twice === divisor && quotient % 2n === 1n));
    if (more) quotient += 1n;
    return new Decimal(this.units < 0n ? -quotient : quotient, places);
  }

  /** Whole multiples of `other` that fit into this, for positive numbers. */
  floorDivide(other) {
    if (other.units <= 0n || this.units <= 0n) return 0n;
    const scale = Math.max(this.scale, other.scale);
    return this.unitsAt(scale) / other.unitsAt(scale);
  }

  toNumber() {
    return Number(this.toString());
  }

  toString() {
    return place(this.units, this.scale);
  }

  /** With thousands separators and exactly `places` decimals. */
  format(places) {
    return group(this.round(places).toString());
  }
}
Decimal.ZERO = new Decimal(0n, 0);

export class Grid {
  constructor(stepText) {
    const step = Decimal.parse(stepText);
    if (!step || step.units <= 0n) throw new RangeError(`no step size: ${stepText}`);
    let { units, scale } = step;
    while (scale > 0 && units % 10n === 0n) {
      units /= 10n;
      scale -= 1;
    }
    this.step = new Decimal(units, scale);
    this.scale = scale;
    this.stepUnits = Number(units);
  }

  /** Number of steps, or null when the text is no number, not on the grid, or too large to be exact. */
  steps(text) {
    const match = PATTERN.exec(text);
    if (!match || !(match[2] || match[3])) return null;
    let fraction = match[3] ?? "";
    if (fraction.length > this.scale) {
      if (/[^0]/.test(fraction.slice(this.scale))) return null;
      fraction = fraction.slice(0, this.scale);
    }
    const units = Number((match[2] || "0") + fraction.padEnd(this.scale, "0"));
    if (units > Number.MAX_SAFE_INTEGER || units % this.stepUnits !== 0) return null;
    const steps = units / this.stepUnits;
    return match[1] === "-" && steps !== 0 ? -steps : steps;
  }

  /** Steps at or below the number; null when it is none. */
  floor(text) {
    const value = Decimal.parse(text);
    if (!value) return null;
    const units = value.scale > this.scale ? value.round(this.scale, "down").units : value.unitsAt(this.scale);
    return Number(units / BigInt(this.stepUnits));
  }

  text(steps) {
    return place(BigInt(Math.round(steps)) * BigInt(this.stepUnits), this.scale);
  }

  grouped(steps) {
    return group(this.text(steps));
  }

  decimal(steps) {
    return new Decimal(BigInt(Math.round(steps)) * BigInt(this.stepUnits), this.scale);
  }

  /** A binary number, for drawing only. */
  approximate(steps) {
    return (steps * this.stepUnits) / 10 ** this.scale;
  }
}

function place(units, scale) {
  const negative = units < 0n;
  let digits = (negative ? -units : units).toString();
  if (scale > 0) {
    digits = digits.padStart(scale + 1, "0");
    digits = `${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
  }
  return negative ? `-${digits}` : digits;
}

export function group(text) {
  const [whole, fraction] = text.split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return fraction === undefined ? grouped : `${grouped}.${fraction}`;
}

/** A short form for axes and totals: 9,390 · 24.3K · 1.30M. */
export function compact(value) {
  if (value >= 1e9) return `${(value / 1e9).toFixed(2)}B`;
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)}M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)}K`;
  return group(Number.isInteger(value) ? String(value) : String(Number(value.toFixed(4))));
}

/** With a plus sign in front of what is above zero. */
export function signed(text) {
  return /[1-9]/.test(text) && !text.startsWith("-") ? `+${text}` : text;
}
