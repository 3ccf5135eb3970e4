// The REST API of the venue. Every failure is an `ApiError` with the venue's code and sentence; where there was no answer at all the
// code is NETWORK.

const ANSWER_MILLISECONDS_MAX = 10_000;

export class ApiError extends Error {
  constructor(code, message, { status = 0, field = null, value = null, details = null } = {}) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.status = status;
    this.field = field;
    this.value = value;
    /** The whole answer, where it was no error of the usual shape. */
    this.details = details;
  }

  static from(error, status = 0) {
    return new ApiError(String(error.code), String(error.message), { status, field: error.field ?? null, value: error.value ?? null });
  }
}

export class Api {
  /** `base` is the API's origin, "" for the page's own. */
  constructor(base) {
    this.base = base;
    /** Set by the session: gives an access token or null, and renews it. */
    this.accessToken = () => null;
    this.renew = async () => false;
  }

  get socketUrl() {
    const url = new URL("/v1/ws", this.base || location.origin);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return url.href;
  }

  get(path, query = {}) {
    const text = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== null && value !== undefined)).toString();
    return this.request("GET", text ? `${path}?${text}` : path);
  }

  post(path, body) {
    return this.request("POST", path, body);
  }

  patch(path, body) {
    return this.request("PATCH", path, body);
  }

  delete(path) {
    return this.request("DELETE", path);
  }

  /** The answer's JSON, null for an empty one. An expired token is renewed once. */
  async request(method, path, body) {
    let response = await this.send(method, path, body);
    if (response.status === 401 && this.accessToken() !== null && !path.startsWith("/v1/auth/") && (await this.renew())) {
      response = await this.send(method, path, body);
    }
    return Api.read(response);
  }

  async send(method, path, body) {
    const headers = { Accept: "application/json" };
    const token = this.accessToken();
    if (token !== null && !path.startsWith("/v1/auth/")) headers.Authorization = `Bearer ${token}`;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    try {
      return await fetch(this.base + path, {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        credentials: "omit",
        cache: "no-store",
        signal: AbortSignal.timeout(ANSWER_MILLISECONDS_MAX),
      });
    } catch (error) {
      if (error.name === "TimeoutError") throw new ApiError("NETWORK", "The venue did not answer in time.");
      throw new ApiError("NETWORK", "The venue cannot be reached.");
    }
  }

  static async read(response) {
    if (response.status === 204) return null;
    let document;
    try {
      document = await response.json();
    } catch {
      throw new ApiError(response.ok ? "NETWORK" : `HTTP_${response.status}`, `The venue's answer could not be read (status ${response.status}).`, { status: response.status });
    }
    if (response.ok) return document;
    if (document?.error) throw ApiError.from(document.error, response.status);
    throw new ApiError(`HTTP_${response.status}`, `The venue answered with status ${response.status}.`, { status: response.status, details: document });
  }
}
