// Curves over candles. Each takes the bars and the index of the first bar that changed, and returns the points from there on, so that a
// live trade costs one step and not the whole history. Binary numbers: these are drawn, never traded on.

/** Simple mean of the last `length` closes. */
export function simpleMean(length) {
  return (bars, from) => {
    const points = [];
    for (let index = Math.max(from, length - 1); index < bars.length; index += 1) {
      let sum = 0;
      for (let back = 0; back < length; back += 1) sum += bars[index - back].close;
      points.push({ time: bars[index].time, value: sum / length });
    }
    return points;
  };
}

/** Exponential mean with weight 2 / (length + 1), carried along on the bars themselves. */
export function exponentialMean(length) {
  const weight = 2 / (length + 1);
  const key = `ema${length}`;
  return (bars, from) => {
    const points = [];
    for (let index = from; index < bars.length; index += 1) {
      const before = index > 0 ? bars[index - 1][key] : undefined;
      bars[index][key] = before === undefined ? bars[index].close : before + weight * (bars[index].close - before);
      points.push({ time: bars[index].time, value: bars[index][key] });
    }
    return points;
  };
}

/** Mean ± `width` standard deviations of the last `length` closes (Bollinger); `sign` picks the band. */
export function bollinger(length, width, sign) {
  return (bars, from) => {
    const points = [];
    for (let index = Math.max(from, length - 1); index < bars.length; index += 1) {
      let sum = 0;
      let squares = 0;
      const shift = bars[index].close;
      for (let back = 0; back < length; back += 1) {
        const close = bars[index - back].close - shift;
        sum += close;
        squares += close * close;
      }
      const mean = sum / length;
      const deviation = Math.sqrt(Math.max(0, squares / length - mean * mean));
      points.push({ time: bars[index].time, value: shift + mean + sign * width * deviation });
    }
    return points;
  };
}

/** Volume-weighted mean price since local midnight. */
export function volumeWeighted() {
  return (bars, from) => {
    const points = [];
    for (let index = from; index < bars.length; index += 1) {
      const bar = bars[index];
      const day = new Date(bar.time * 1000).toDateString();
      const before = index > 0 && bars[index - 1].vwapDay === day ? bars[index - 1] : { vwapVolume: 0, vwapValue: 0 };
      bar.vwapDay = day;
      bar.vwapVolume = before.vwapVolume + bar.volume;
      bar.vwapValue = before.vwapValue + ((bar.high + bar.low + bar.close) / 3) * bar.volume;
      if (bar.vwapVolume > 0) points.push({ time: bar.time, value: bar.vwapValue / bar.vwapVolume });
    }
    return points;
  };
}
