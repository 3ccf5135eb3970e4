"""The server of the Trader Portal: the page, its files and where the API is. It knows nothing of trading.

The page talks to the public API from the browser. Mounted into the TES it finds the API at its own origin; served alone
(`python main.py --frontend trader`) `config.json` names another. The Content-Security-Policy lets the page load from its own origin and
connect to the API, nothing else: no inline script, no inline style, no frame, no other host.
"""

import json
import logging
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from trading_engine.frontend.trader_portal.bundle import Bundle, PortalFile, VendorFilesMissingError, load_bundle
from trading_engine.shared.addresses import is_loopback
from trading_engine.shared.config import Config, ConfigError

log = logging.getLogger(__name__)

KEEP_FOR_EVER = "public, max-age=31536000, immutable"
ASK_EACH_TIME = "no-cache"
INSTALL_HINT = "python -m trading_engine.frontend.trader_portal.assets"


def create_portal_app(api_url: str | None) -> ASGIApp:
    """The portal as an ASGI application. `api_url` is the API's origin, None where the API is at the page's own. Raises `ValueError`."""
    portal = _Portal(_checked_origin(api_url) if api_url else None)
    app = Starlette(
        routes=[
            Route("/", portal.page),
            Route("/index.html", portal.page),
            Route("/config.json", portal.configuration),
            Route("/favicon.ico", portal.icon),
            Route("/assets/{digest}/{name:path}", portal.asset),
        ]
    )
    app.router.redirect_slashes = False
    return app


async def run_portal(config: Config) -> None:
    """Serve the portal alone until a signal to stop. Raises `ConfigError`."""
    options = config.frontend.trader
    if not (is_loopback(options.host) or options.plain_http_beyond_loopback):
        raise ConfigError(
            f"frontend.trader.host is {options.host!r}, which other machines can reach, and the portal has no TLS of its own: put a proxy "
            "that has in front of it, and set frontend.trader.plain_http_beyond_loopback: true"
        )
    app = create_portal_app(options.api_url or None)
    log.info(
        "trader portal on http://%s:%d, API at %s", options.host, options.port, options.api_url or "the same origin"
    )
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=options.host,
            port=options.port,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
        )
    )
    await server.serve()


class _Portal:
    """The handlers. The files are read at the first request, so that a server starts without them and says what is missing."""

    def __init__(self, api_origin: str | None) -> None:
        self._api_origin = api_origin
        self._loaded: Bundle | None = None

    async def page(self, request: Request) -> Response:
        try:
            bundle = self._bundle()
        except VendorFilesMissingError:
            return self._not_installed()
        return self._answer(request, bundle.page, ASK_EACH_TIME)

    async def configuration(self, _request: Request) -> Response:
        body = json.dumps({"api_url": self._api_origin}).encode()
        return Response(
            body, media_type="application/json", headers={"Cache-Control": ASK_EACH_TIME, **self._security_headers(())}
        )

    async def icon(self, request: Request) -> Response:
        """Browsers ask for this name on their own."""
        return self._file(request, "icon.svg", ASK_EACH_TIME)

    async def asset(self, request: Request) -> Response:
        """An old digest gets the present file, but may not keep it."""
        digest: str = request.path_params["digest"]
        current = self._loaded is not None and digest == self._loaded.digest
        return self._file(request, request.path_params["name"], KEEP_FOR_EVER if current else ASK_EACH_TIME)

    def _bundle(self) -> Bundle:
        if self._loaded is None:
            self._loaded = load_bundle()
        return self._loaded

    def _file(self, request: Request, name: str, caching: str) -> Response:
        try:
            file = self._bundle().files.get(name)
        except VendorFilesMissingError:
            return self._not_installed()
        if file is None:
            return PlainTextResponse("There is no such file.\n", status_code=404, headers=self._security_headers(()))
        return self._answer(request, file, caching)

    def _not_installed(self) -> Response:
        text = f"The portal's third-party files are not installed. Run\n\n    {INSTALL_HINT}\n\nand load this page again.\n"
        return PlainTextResponse(
            text, status_code=503, headers={"Cache-Control": "no-store", **self._security_headers(())}
        )

    def _answer(self, request: Request, file: PortalFile, caching: str) -> Response:
        use_gzip = file.compressed is not None and _accepts_gzip(request)
        etag = f'"{file.etag}{"-gz" if use_gzip else ""}"'
        bundle = self._bundle()
        headers = {
            "ETag": etag,
            "Cache-Control": caching,
            "Content-Type": file.media_type,
            "Vary": "Accept-Encoding",
            **self._security_headers(bundle.style_hashes),
        }
        if _matches(request.headers.get("if-none-match", ""), etag):
            return Response(status_code=304, headers=headers)
        if use_gzip:
            headers["Content-Encoding"] = "gzip"
        return Response(file.compressed if use_gzip else file.body, headers=headers)

    def _security_headers(self, style_hashes: tuple[str, ...]) -> dict[str, str]:
        connect = ["'self'"]
        if self._api_origin is not None:
            connect += [self._api_origin, "ws" + self._api_origin.removeprefix("http")]
        policy = [
            "default-src 'none'",
            "script-src 'self'",
            " ".join(["style-src 'self'", *style_hashes]),
            "font-src 'self'",
            "img-src 'self'",
            "connect-src " + " ".join(connect),
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
        return {
            "Content-Security-Policy": "; ".join(policy),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
        }


def _checked_origin(api_url: str) -> str:
    """Scheme, host and port of `api_url`; anything more is a mistake that would show only in the browser."""
    parts = urlsplit(api_url)
    if (
        parts.scheme not in ("http", "https")
        or not parts.netloc
        or parts.path not in ("", "/")
        or parts.query
        or parts.fragment
    ):
        raise ValueError(f"api_url must be an origin such as http://127.0.0.1:8000, not {api_url!r}")
    return f"{parts.scheme}://{parts.netloc}"


def _accepts_gzip(request: Request) -> bool:
    return any(
        coding.partition(";")[0].strip() == "gzip" and "q=0" not in coding.replace(" ", "").split(";")[1:]
        for coding in request.headers.get("accept-encoding", "").split(",")
    )


def _matches(if_none_match: str, etag: str) -> bool:
    return any(candidate.strip().removeprefix("W/") in (etag, "*") for candidate in if_none_match.split(","))
