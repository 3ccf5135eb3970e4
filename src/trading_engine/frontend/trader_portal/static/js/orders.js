// Placing, amending and canceling. Each submission has one client order id for good: where no answer comes, the same id and content are
// asked about and may be sent again without a second order arising.

import { ApiError } from "./api.js";

const HINTS = {
  POST_ONLY_WOULD_CROSS: "Choose a price away from the other side, or switch post-only off.",
  INSUFFICIENT_FUNDS: "Lower the quantity or the price, or cancel an order that holds cash.",
  INSUFFICIENT_POSITION: "Short sales are not possible: lower the quantity, or cancel an order that holds shares.",
  NO_LIQUIDITY: "Send a limit order instead.",
  MATCHING_UNAVAILABLE: "The order was not sent. Try again when matching is back.",
  RATE_LIMITED: "Wait a moment and send again.",
  MARKET_CLOSED: "Orders are taken when the market is open.",
  PRICE_OUTSIDE_BAND: "Choose a price nearer to the last trade.",
};

const UNKNOWN = new Set(["NETWORK", "OUTCOME_UNKNOWN"]);
const ASK_MILLISECONDS = [300, 1_000, 3_000];

/** What went wrong and what to do, for a person. */
export function explain(error) {
  const hint = HINTS[error.code];
  return hint ? `${error.message} ${hint}` : error.message;
}

export function isOutcomeUnknown(error) {
  return error instanceof ApiError && UNKNOWN.has(error.code);
}

export class Orders {
  constructor(api, socket) {
    this.api = api;
    this.socket = socket;
    const random = crypto.getRandomValues(new Uint32Array(2));
    this.prefix = `web-${Date.now().toString(36)}-${random[0].toString(36)}`;
    this.submissions = 0;
  }

  nextClientOrderId() {
    this.submissions += 1;
    return `${this.prefix}-${this.submissions}`;
  }

  /** {order, milliseconds}. Throws `ApiError`; see `isOutcomeUnknown`. */
  async place(body) {
    const started = performance.now();
    const order = await this.sendOrder(body);
    return { order, milliseconds: performance.now() - started };
  }

  /** Over the stream, which is quicker; where it fails half-way, by REST with the same id. */
  async sendOrder(body) {
    if (this.socket.isLive && this.socket.authenticated) {
      try {
        return await this.socket.request("place", body);
      } catch (error) {
        if (error.code !== "NETWORK") throw error;
      }
    }
    return this.api.post("/v1/orders", body);
  }

  /** After an unknown outcome: the order, or null where the venue does not know it. Throws where it still cannot be asked. */
  async find(clientOrderId) {
    let lastError = null;
    for (const delay of ASK_MILLISECONDS) {
      await new Promise((resolve) => setTimeout(resolve, delay));
      try {
        return await this.api.get(`/v1/orders/by-client-id/${encodeURIComponent(clientOrderId)}`);
      } catch (error) {
        if (error.status === 404) return null;
        lastError = error;
      }
    }
    throw lastError;
  }

  amend(orderId, change) {
    return this.api.patch(`/v1/orders/${encodeURIComponent(orderId)}`, change);
  }

  cancel(orderId) {
    return this.api.delete(`/v1/orders/${encodeURIComponent(orderId)}`);
  }

  async cancelAll() {
    const answer = await this.api.delete("/v1/orders");
    return answer.canceled;
  }
}
