// What TradingView's charting library does with a UDF server, for tests: the library itself is not freely available.
//
// `Datafeeds.UDFCompatibleDatafeed` makes the requests of the adapter that comes with the library, with the same parameters, and reads
// the answers by the same rules: the status does not count, `s` in the body does. `TradingView.widget` asks it in the order in which a
// chart does: configuration, symbol, bars, then further bars again and again. All that a chart would be told is in `seen`.

const SECONDS = { S: 1, "": 60, D: 86400 };
const PULSE_BARS = 10;

window.seen = { configuration: null, symbol: null, bars: [], ticks: [], errors: [] };

class UDFCompatibleDatafeed {
  constructor(url, updateFrequency) {
    this.url = url;
    this.updateFrequency = updateFrequency;
    this.ready = this.send("config");
  }

  async send(path, parameters) {
    const query = parameters === undefined ? "" : `?${new URLSearchParams(parameters)}`;
    return JSON.parse(await (await fetch(`${this.url}/${path}${query}`, { credentials: "same-origin" })).text());
  }

  async resolveSymbol(symbol) {
    const answer = await this.send("symbols", { symbol });
    if (answer.s !== undefined) throw new Error("unknown_symbol");
    return answer;
  }

  async getBars(symbolInfo, resolution, { from, to, countBack }) {
    const parameters = { symbol: symbolInfo.ticker ?? "", resolution, from, to };
    if (countBack !== undefined) parameters.countback = countBack;
    if (symbolInfo.currency_code !== undefined) parameters.currencyCode = symbolInfo.currency_code;
    const answer = await this.send("history", parameters);
    if (answer.s !== "ok" && answer.s !== "no_data") throw new Error(answer.errmsg);
    if (answer.s === "no_data") return { bars: [], meta: { noData: true, nextTime: answer.nextTime } };
    const bars = answer.t.map((time, n) => ({
      time: time * 1000,
      open: Number(answer.o[n]),
      high: Number(answer.h[n]),
      low: Number(answer.l[n]),
      close: Number(answer.c[n]),
      volume: Number(answer.v[n]),
    }));
    return { bars, meta: { noData: false } };
  }

  subscribeBars(symbolInfo, resolution, onTick) {
    let newest = null;
    const pulse = async () => {
      const to = Math.floor(Date.now() / 1000);
      const width = SECONDS[resolution.replace(/[0-9]/g, "")] * parseInt(resolution);
      const period = { from: to - PULSE_BARS * width, to, countBack: 2 };
      const bar = (await this.getBars(symbolInfo, resolution, period)).bars.at(-1);
      if (bar === undefined || (newest !== null && bar.time < newest)) return;
      newest = bar.time;
      onTick(bar);
    };
    setInterval(pulse, this.updateFrequency);
  }

  async searchSymbols(input, exchange, type) {
    const answer = await this.send("search", { limit: 30, query: input.toUpperCase(), type, exchange });
    return answer.s === undefined ? answer : [];
  }

  async getMarks(symbolInfo, from, to, resolution) {
    const answer = await this.send("marks", { symbol: symbolInfo.ticker ?? "", from, to, resolution });
    return Array.isArray(answer) ? answer : answer.id.map((id, n) => ({ id, time: answer.time[n], label: answer.label[n] }));
  }

  async getQuotes(symbols) {
    const answer = await this.send("quotes", { symbols });
    if (answer.s !== "ok") throw new Error(answer.errmsg);
    return answer.d;
  }

  async getServerTime() {
    return parseInt(await this.send("time"));
  }
}

class Widget {
  constructor({ datafeed, symbol, interval }) {
    window.datafeed = datafeed;
    this.draw(datafeed, symbol, interval).catch((error) => seen.errors.push(String(error)));
  }

  async draw(datafeed, symbol, interval) {
    seen.configuration = await datafeed.ready;
    seen.symbol = await datafeed.resolveSymbol(symbol);
    const to = Math.floor(Date.now() / 1000);
    const { bars } = await datafeed.getBars(seen.symbol, interval, { from: to - 3600, to: to + 60, countBack: 300 });
    seen.bars = bars;
    datafeed.subscribeBars(seen.symbol, interval, (bar) => seen.ticks.push(bar));
  }
}

window.Datafeeds = { UDFCompatibleDatafeed };
window.TradingView = { widget: Widget };
