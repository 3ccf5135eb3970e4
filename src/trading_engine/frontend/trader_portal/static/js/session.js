// Who is signed in. Tokens live in sessionStorage: they outlast a reload and end with the tab. The access token is renewed at four
// fifths of its life, and at once when the venue calls it expired; several callers share one renewal, since a refresh token works once.

import { ApiError } from "./api.js";

const KEY = "portal.session";
const RENEW_AT = 0.8;
const RETRY_MILLISECONDS = 5_000;

export class Session {
  constructor(api) {
    this.api = api;
    this.tokens = read();
    this.renewal = null;
    this.timer = null;
    /** Called when the session ended though nobody signed out. */
    this.onLost = () => {};
    /** Called with every new access token. */
    this.onToken = () => {};
    api.accessToken = () => this.accessToken;
    api.renew = () => this.renew();
  }

  get accessToken() {
    return this.tokens?.access ?? null;
  }

  async signIn(username, password) {
    this.keep(await this.api.post("/v1/auth/login", { username, password }));
  }

  /** Take up what a reload left; false where there is nothing or it no longer serves. */
  async resume() {
    if (!this.tokens) return false;
    if (Date.now() < this.tokens.expires) {
      this.plan();
      return true;
    }
    return this.renew();
  }

  async signOut() {
    const refresh = this.tokens?.refresh;
    this.forget();
    if (!refresh) return;
    try {
      await this.api.post("/v1/auth/logout", { refresh_token: refresh });
    } catch (error) {
      console.warn("the venue was not told of the sign-out:", error.message);
    }
  }

  renew() {
    this.renewal ??= this.renewOnce().finally(() => {
      this.renewal = null;
    });
    return this.renewal;
  }

  async renewOnce() {
    if (!this.tokens) return false;
    try {
      this.keep(await this.api.post("/v1/auth/refresh", { refresh_token: this.tokens.refresh }));
      return true;
    } catch (error) {
      if (error instanceof ApiError && (error.status === 401 || error.status === 403)) {
        this.forget();
        this.onLost();
      } else {
        this.planIn(RETRY_MILLISECONDS);
      }
      return false;
    }
  }

  keep(answer) {
    const life = answer.expires_in * 1000;
    this.tokens = { access: answer.access_token, refresh: answer.refresh_token, expires: Date.now() + life, life };
    sessionStorage.setItem(KEY, JSON.stringify(this.tokens));
    this.plan();
    this.onToken();
  }

  forget() {
    clearTimeout(this.timer);
    this.tokens = null;
    sessionStorage.removeItem(KEY);
  }

  plan() {
    this.planIn(Math.max(1000, this.tokens.expires - Date.now() - this.tokens.life * (1 - RENEW_AT)));
  }

  planIn(delay) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.renew(), delay);
  }
}

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY));
  } catch {
    sessionStorage.removeItem(KEY);
    return null;
  }
}
