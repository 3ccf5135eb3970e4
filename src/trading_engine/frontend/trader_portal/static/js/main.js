// Where the parts meet: configuration, session, streams, panels and keys.

import { Account } from "./account.js";
import { Api } from "./api.js";
import { Blotter } from "./blotter.js";
import { Chart } from "./chart.js";
import { group } from "./decimal.js";
import { Depth } from "./depth.js";
import { byId, element, setHidden, setText } from "./dom.js";
import { changed } from "./frame.js";
import { bindHotkeys } from "./hotkeys.js";
import { Ladder } from "./ladder.js";
import { Login } from "./login.js";
import { Market } from "./market.js";
import { Menus } from "./menus.js";
import { Orders } from "./orders.js";
import { Palette } from "./palette.js";
import { Session } from "./session.js";
import { saveSettings, settings, showSettings } from "./settings.js";
import { Socket } from "./socket.js";
import { state } from "./state.js";
import { Tape } from "./tape.js";
import { Ticket } from "./ticket.js";
import { toast } from "./toasts.js";
import { TopBar } from "./topbar.js";
import { Watchlist } from "./watchlist.js";

const LOAD_RETRY_MILLISECONDS = 2_000;

class Portal {
  constructor(api) {
    this.api = api;
    this.session = new Session(api);
    this.socket = new Socket(api);
    this.socket.accessToken = () => this.session.accessToken;
    this.socket.renew = () => this.session.renew();
    this.market = new Market(api, this.socket);
    this.account = new Account(api, this.socket);
    this.orders = new Orders(api, this.socket);
    this.login = new Login({ onSignIn: (username, password) => this.signIn(username, password), onGuest: () => this.showApp() });
    this.started = false;
    this.bindEvents();
  }

  bindEvents() {
    this.session.onLost = () => this.sessionLost();
    this.session.onToken = () => {
      if (this.socket.authenticated) this.socket.authenticate().catch((error) => console.warn("the stream keeps its old token:", error.message));
    };
    this.socket.onState = (connection) => {
      state.connection = connection;
      changed("connection");
    };
    this.socket.onOpen = () => {
      this.market.checkHealth();
      this.account.catchUp();
      this.chart.reload({ keepView: true });
    };
    this.account.onEvent = (message) => this.announce(message);
  }

  async run() {
    if (await this.session.resume()) {
      await this.enter();
    } else {
      this.login.show();
    }
  }

  async signIn(username, password) {
    await this.session.signIn(username, password);
    await this.enter();
  }

  /** The page for who is signed in. */
  async enter() {
    const wasWatching = this.started;
    await this.showApp();
    if (wasWatching) this.socket.restart();
    await this.loadAccount();
  }

  async loadAccount() {
    try {
      await this.account.load();
    } catch (error) {
      if (this.session.accessToken === null) return;
      console.warn("the account was not loaded, trying again:", error.message);
      setTimeout(() => this.loadAccount(), LOAD_RETRY_MILLISECONDS);
    }
  }

  /** The page itself; without a session it shows the market alone. */
  async showApp() {
    this.login.hide();
    setHidden(byId("app"), false);
    if (this.started) return;
    this.started = true;
    this.makePanels();
    this.socket.connect();
    await this.loadMarket();
  }

  async loadMarket() {
    try {
      await this.market.load();
    } catch (error) {
      console.warn("the market was not loaded, trying again:", error.message);
      await new Promise((resolve) => setTimeout(resolve, LOAD_RETRY_MILLISECONDS));
      await this.loadMarket();
      return;
    }
    const wanted = decodeURIComponent(location.hash.slice(1));
    this.select([wanted, settings.symbol, ...state.instruments.keys()].find((symbol) => state.instruments.has(symbol)));
  }

  makePanels() {
    const menus = new Menus();
    this.menus = menus;
    this.topBar = new TopBar();
    this.ticket = new Ticket(this.orders, { onAccepted: () => {}, onSignIn: () => this.login.show() });
    this.chart = new Chart(this.api, this.market, menus);
    this.ladder = new Ladder((ticks) => this.takePrice(ticks));
    this.tape = new Tape();
    this.depth = new Depth();
    this.palette = new Palette((symbol) => {
      this.watchlist.add(symbol);
      this.select(symbol);
    });
    this.watchlist = new Watchlist(this.api, (symbol) => this.select(symbol, "chart"), () => this.palette.show());
    this.blotter = new Blotter(this.orders, { onSymbol: (symbol) => this.select(symbol), onClose: (position) => this.prepareClose(position) });
    this.market.onTrades = (trades) => this.chart.addTrades(trades);
    byId("symbol-button").addEventListener("click", () => this.palette.show());
    this.bindViews();
    this.bindMenu(menus);
    bindHotkeys({ onSide: (side) => this.takeSide(side), onPalette: () => this.palette.show(), onHelp: () => byId("help").showModal(), onEscape: () => this.escape() });
    addEventListener("hashchange", () => this.select(decodeURIComponent(location.hash.slice(1))));
  }

  /** On a phone one view at a time. */
  bindViews() {
    for (const button of document.querySelectorAll("#bottom-tabs button")) button.addEventListener("click", () => this.showView(button.dataset.view));
    this.showView(settings.view);
  }

  showView(view) {
    byId("app").dataset.view = view;
    for (const button of document.querySelectorAll("#bottom-tabs button")) {
      if (button.dataset.view === view) button.setAttribute("aria-current", "page");
      else button.removeAttribute("aria-current");
    }
    if (settings.view !== view) saveSettings({ view });
  }

  bindMenu(menus) {
    menus.attach(byId("menu-button"), byId("menu"), () => [
      element("div", { class: "who", text: state.user ? `${state.user.username} · ${state.user.role}` : "Not signed in" }),
      { label: "Light theme", checked: settings.theme === "light", run: () => saveSettings({ theme: settings.theme === "light" ? "dark" : "light" }) },
      { label: "Colour-blind palette", checked: settings.palette === "colourblind", run: () => saveSettings({ palette: settings.palette === "colourblind" ? "classic" : "colourblind" }) },
      { label: "Keys and notices", run: () => byId("help").showModal() },
      state.user ? { label: "Sign out", run: () => this.signOut() } : { label: "Sign in", run: () => this.login.show() },
    ]);
  }

  select(symbol, view = null) {
    if (!state.instruments.has(symbol)) return;
    this.market.select(symbol);
    if (decodeURIComponent(location.hash.slice(1)) !== symbol) history.replaceState(null, "", `#${encodeURIComponent(symbol)}`);
    if (view) this.showView(view);
  }

  takePrice(ticks) {
    this.ticket.fill({ ticks });
    if (matchMedia("(max-width: 759px)").matches) this.showView("trade");
  }

  takeSide(side) {
    this.ticket.setSide(side);
    this.showView("trade");
    byId("ticket-quantity").focus();
  }

  prepareClose(position) {
    this.select(position.symbol);
    this.ticket.fill({ side: "sell", quantity: position.available, type: "market" });
    this.showView("trade");
    byId("ticket-submit").focus();
  }

  /** True when something was closed or left. */
  escape() {
    if (this.login.isShown && this.started) {
      this.login.hide();
      return true;
    }
    if (this.menus?.close()) return true;
    if (document.activeElement instanceof HTMLInputElement) {
      document.activeElement.blur();
      return true;
    }
    return false;
  }

  announce({ event, order, fill }) {
    const [text, kind] = eventText(event, order, fill);
    if (text) toast(kind, text, order.order_id);
  }

  async signOut() {
    const done = this.session.signOut();
    this.account.clear();
    this.socket.restart();
    this.login.show();
    await done;
  }

  sessionLost() {
    this.account.clear();
    if (this.started) this.socket.restart();
    this.login.show("Your session has ended. Sign in again.");
  }
}

/** What happened to an own order, in one line. */
function eventText(event, order, fill) {
  const what = `${order.side === "buy" ? "Buy" : "Sell"} ${group(order.quantity)} ${order.symbol}`;
  const part = order.filled_quantity === "0" ? "" : `, ${group(order.filled_quantity)} filled`;
  if (event === "trade") {
    const done = order.status === "filled" ? "" : ` of ${group(order.quantity)}`;
    return [`${order.side === "buy" ? "Bought" : "Sold"} ${group(order.filled_quantity)}${done} ${order.symbol} at ${fill.price}`, "good"];
  }
  const texts = { new: `${what}${order.price ? ` at ${order.price}` : ""} · accepted`, replaced: `${what} at ${order.price} · changed`, canceled: `${what} canceled${part}`, expired: `${what} expired${part}` };
  return [texts[event], "info"];
}

async function start() {
  showSettings();
  const response = await fetch("config.json", { cache: "no-cache" });
  const { api_url: apiUrl } = await response.json();
  const portal = new Portal(new Api(apiUrl ?? ""));
  await portal.run();
}

start().catch((error) => {
  setHidden(byId("login"), false);
  setText(byId("login-message"), `The page could not start: ${error.message}`);
  throw error;
});
