// The WebSocket to the venue, kept up by itself.
//
// A request carries an id and gets one answer. Subscriptions are remembered and made again after every connection; the private one asks
// for everything since the last event seen. A ping each few seconds measures the round trip and shows a dead line, which no close event
// would. After a loss the next try waits twice as long as the one before, up to a bound, times a random share, so that a thousand pages
// do not come back in the same instant.

import { ApiError } from "./api.js";

const ANSWER_MILLISECONDS_MAX = 6_000;
const PING_MILLISECONDS = 3_000;
const LATE_MILLISECONDS = 4_000;
const DEAD_MILLISECONDS = 12_000;
const RETRY_MILLISECONDS_MIN = 400;
const RETRY_MILLISECONDS_MAX = 15_000;
const PENDING_MAX = 1_000;

export class Socket {
  constructor(api) {
    this.api = api;
    this.web = null;
    this.handlers = new Map();
    this.subscriptions = new Map();
    this.pending = new Map();
    this.nextId = 1;
    this.attempt = 0;
    this.retryTimer = null;
    this.heardAt = 0;
    this.pingSentAt = 0;
    this.authenticated = false;
    this.accessToken = () => null;
    this.renew = async () => false;
    /** ({status: "connecting" | "live" | "late" | "down", latency, retryAt}) */
    this.onState = () => {};
    /** After each (re)connection, once the subscriptions have been asked for: what is read now joins the stream without a hole. */
    this.onOpen = () => {};
    this.latency = null;
    this.retryAt = null;
    this.status = "connecting";
    setInterval(() => this.beat(), PING_MILLISECONDS);
    addEventListener("online", () => this.retryNow());
    addEventListener("pagehide", () => this.web?.close());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.retryNow();
    });
  }

  /** `handler(message)` for every message of this type. */
  on(type, handler) {
    this.handlers.set(type, handler);
  }

  connect() {
    clearTimeout(this.retryTimer);
    this.retryTimer = null;
    this.retryAt = null;
    this.show("connecting");
    const web = new WebSocket(this.api.socketUrl);
    this.web = web;
    this.heardAt = performance.now();
    web.onopen = () => this.opened(web);
    web.onmessage = (event) => {
      if (web === this.web) this.receive(event.data);
    };
    web.onclose = () => {
      if (web === this.web) this.lost();
    };
  }

  async opened(web) {
    this.heardAt = performance.now();
    try {
      await this.authenticate();
    } catch (error) {
      // Without a session the market is still there to watch; REST finds out whether it has ended.
      console.warn("the stream is not signed in:", error.message);
    }
    if (web !== this.web || web.readyState !== WebSocket.OPEN) return;
    this.attempt = 0;
    this.show("live");
    for (const subscription of this.subscriptions.values()) this.sendSubscription(subscription);
    this.onOpen();
    this.ping();
  }

  /** Sign the open connection in with the present token. */
  async authenticate() {
    this.authenticated = false;
    const token = this.accessToken();
    if (token === null) return;
    try {
      await this.request("auth", { token });
    } catch (error) {
      if (error.code === "NETWORK" || !(await this.renew())) throw error;
      await this.request("auth", { token: this.accessToken() });
    }
    this.authenticated = true;
  }

  /** Start again, as someone else or as nobody. */
  restart() {
    this.authenticated = false;
    this.attempt = 0;
    const web = this.web;
    this.web = null;
    web?.close();
    this.rejectPending();
    this.connect();
  }

  get isLive() {
    return this.web?.readyState === WebSocket.OPEN && this.status !== "connecting";
  }

  request(op, fields = {}) {
    if (this.web?.readyState !== WebSocket.OPEN) return Promise.reject(new ApiError("NETWORK", "The venue is not connected."));
    if (this.pending.size >= PENDING_MAX) return Promise.reject(new ApiError("NETWORK", "Too many requests wait for the venue's answer."));
    const id = this.nextId;
    this.nextId += 1;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.pending.delete(id);
        reject(new ApiError("NETWORK", "The venue did not answer in time."));
      }, ANSWER_MILLISECONDS_MAX);
      this.pending.set(id, { resolve, reject, timer });
      this.web.send(JSON.stringify({ op, ...fields, id }));
    });
  }

  /** `since` gives the sequence to replay from, asked anew at each connection. */
  subscribe(channel, symbol, since = null) {
    const subscription = { channel, symbol, since };
    this.subscriptions.set(`${channel}/${symbol}`, subscription);
    if (this.isLive) this.sendSubscription(subscription);
  }

  unsubscribe(channel, symbol) {
    if (this.subscriptions.delete(`${channel}/${symbol}`) && this.isLive) this.forgetFailure(this.request("unsubscribe", { channel, symbol }), channel);
  }

  resubscribe(channel, symbol) {
    const subscription = this.subscriptions.get(`${channel}/${symbol}`);
    if (subscription && this.isLive) this.sendSubscription(subscription);
  }

  sendSubscription({ channel, symbol, since }) {
    if (channel === "orders" && !this.authenticated) return;
    const fields = { channel };
    if (symbol) fields.symbol = symbol;
    if (since) fields.since = since();
    this.forgetFailure(this.request("subscribe", fields), channel);
  }

  /** A subscription that failed with the connection is made again with the next one. */
  forgetFailure(promise, channel) {
    promise.catch((error) => {
      if (error.code !== "NETWORK") console.warn(`channel ${channel}: ${error.code} ${error.message}`);
    });
  }

  receive(text) {
    this.heardAt = performance.now();
    if (this.status === "late") this.show("live");
    const message = JSON.parse(text);
    if ((message.type === "ack" || message.type === "error") && this.pending.has(message.id)) this.settle(message);
    else this.handlers.get(message.type)?.(message);
  }

  settle(message) {
    const { resolve, reject, timer } = this.pending.get(message.id);
    this.pending.delete(message.id);
    clearTimeout(timer);
    if (message.type === "ack") resolve(message.result);
    else reject(ApiError.from(message.error));
  }

  /** Every few seconds. A line that was silent for long is given up, whether it is open or never came about. */
  beat() {
    if (this.web === null) return;
    const silence = performance.now() - this.heardAt;
    if (silence > DEAD_MILLISECONDS) {
      this.lost();
      return;
    }
    if (silence > LATE_MILLISECONDS && this.status === "live") this.show("late");
    if (this.web.readyState === WebSocket.OPEN) this.ping();
  }

  ping() {
    const sent = performance.now();
    this.request("ping").then(
      () => {
        this.latency = performance.now() - sent;
        if (this.status === "live") this.show("live");
      },
      () => {},
    );
  }

  lost() {
    const web = this.web;
    this.web = null;
    web?.close();
    this.authenticated = false;
    this.rejectPending();
    const bound = Math.min(RETRY_MILLISECONDS_MAX, RETRY_MILLISECONDS_MIN * 2 ** this.attempt);
    const delay = bound * (0.5 + Math.random() / 2);
    this.attempt += 1;
    this.retryAt = Date.now() + delay;
    this.retryTimer = setTimeout(() => this.connect(), delay);
    this.show("down");
  }

  rejectPending() {
    for (const { reject, timer } of this.pending.values()) {
      clearTimeout(timer);
      reject(new ApiError("NETWORK", "The connection was lost before the venue answered."));
    }
    this.pending.clear();
  }

  retryNow() {
    if (this.retryTimer !== null) this.connect();
  }

  show(status) {
    this.status = status;
    this.onState({ status, latency: this.latency, retryAt: this.retryAt });
  }
}
