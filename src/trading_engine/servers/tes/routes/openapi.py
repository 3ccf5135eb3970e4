"""The OpenAPI document and its page, both from here alone: nothing is loaded from another host.

Bodies and answers are msgspec structs, so their schemas come from msgspec; the framework contributes paths and query parameters.
`described` is what a route adds to its decorator.
"""

from importlib.resources import files
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi

from trading_engine import __version__
from trading_engine.servers.tes.errors import REFUSED_STATUS, STATUS_OF_CODE, ApiError, ErrorResponse

REF_TEMPLATE = "#/components/schemas/{name}"
ASSETS = files("fastapi_offline") / "static"
ASSET_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Native API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" href="/docs/favicon.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
START_SCRIPT = """SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null, persistAuthorization: false,
});
"""
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
DESCRIPTION = """The venue's own API: orders, accounts and market data over REST, and the same over one WebSocket at `/v1/ws`.

Prices, quantities and amounts are decimal strings; ids and sequence numbers are strings of digits; times are RFC 3339 in UTC with
nanoseconds. Every error has the shape of `ErrorResponse`. The WebSocket is described in `docs/api/native.md`."""
SECURITY_SCHEMES = {
    "accessToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "apiSecret": {"type": "apiKey", "in": "header", "name": "X-API-Secret"},
}
LOGIN_ERRORS = ("NOT_AUTHENTICATED", "TOKEN_EXPIRED", "NOT_ALLOWED")
BODY_ERRORS = ("MALFORMED_JSON", "INVALID_REQUEST", "REQUEST_TOO_LARGE", "REQUEST_TIMEOUT")
UNLISTED = ("UNKNOWN_INSTRUMENT", REFUSED_STATUS)
"""Where the symbol is part of a body or a query."""
NEEDS_LOGIN: list[dict[str, list[str]]] = [{"accessToken": []}, {"apiKey": [], "apiSecret": []}]

_documented: set[Any] = {ErrorResponse}


def reference(model: Any) -> dict[str, str]:
    """A reference to the schema of a struct, which thereby becomes part of the document."""
    _documented.add(model)
    return {"$ref": REF_TEMPLATE.format(name=model.__name__)}


def described(
    answer: Any = None,
    example: Any = None,
    *,
    status: int = 200,
    also: dict[int, str] | None = None,
    body: Any = None,
    body_example: Any = None,
    errors: tuple[str | tuple[str, int], ...] = (),
    public: bool = False,
) -> dict[str, Any]:
    """Arguments for a route's decorator: what it takes, what it gives, which errors it has of its own."""
    responses: dict[int | str, dict[str, Any]] = {}
    for number, words in {status: "Done", **(also or {})}.items():
        responses[number] = {"description": words}
        if answer is not None:
            responses[number]["content"] = {"application/json": {"schema": reference(answer), "example": example}}
    common = (*(() if public else LOGIN_ERRORS), *(() if body is None else BODY_ERRORS), "RATE_LIMITED")
    for code in dict.fromkeys((*common, *errors)):
        if isinstance(code, str):
            add_error(responses, code, STATUS_OF_CODE.get(code, REFUSED_STATUS))
        else:
            add_error(responses, *code)
    extra: dict[str, Any] = {"security": [] if public else NEEDS_LOGIN}
    if body is not None:
        content = {"application/json": {"schema": reference(body), "example": body_example}}
        extra["requestBody"] = {"required": True, "content": content}
    return {
        "responses": responses,
        "openapi_extra": extra,
        "response_class": Response,
        "response_model": None,
        "status_code": status,
    }


def add_error(responses: dict[int | str, dict[str, Any]], code: str, status: int) -> None:
    known = responses.setdefault(
        status,
        {"description": "", "content": {"application/json": {"schema": reference(ErrorResponse), "examples": {}}}},
    )
    known["description"] = f"{known['description']}, {code}" if known["description"] else code
    examples = known["content"]["application/json"].setdefault("examples", {})
    examples[code] = {"value": {"error": {"code": code, "message": "What was wrong, in words."}}}


def install(app: FastAPI) -> None:
    """Give the application its document and its page."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = build_document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign] # the way the framework documents

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi_document() -> Response:
        return Response(msgspec.json.encode(document()), media_type="application/json")

    @app.get("/docs", include_in_schema=False)
    async def page() -> Response:
        return Response(PAGE, media_type="text/html", headers={"Content-Security-Policy": PAGE_POLICY})

    @app.get("/docs/{name}", include_in_schema=False)
    async def asset(name: str, request: Request) -> Response:
        if name == "start.js":
            return Response(START_SCRIPT, media_type="text/javascript")
        if name not in ASSET_TYPES:
            raise ApiError("NOT_FOUND", f"There is nothing at {request.url.path}.")
        return Response(
            (ASSETS / name).read_bytes(),
            media_type=ASSET_TYPES[name],
            headers={"Cache-Control": "public, max-age=86400"},
        )


def build_document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=__version__, description=DESCRIPTION, routes=app.routes)
    _, schemas = msgspec.json.schema_components(
        sorted(_documented, key=lambda model: model.__name__), ref_template=REF_TEMPLATE
    )
    components = document.setdefault("components", {})
    components["schemas"] = schemas
    components["securitySchemes"] = SECURITY_SCHEMES
    for path in document["paths"].values():
        for operation in path.values():
            drop_framework_error(operation)
    return document


def drop_framework_error(operation: dict[str, Any]) -> None:
    """The framework documents its own 422, which is never sent: what it refuses is answered 400 in our shape."""
    refused = operation.get("responses", {}).get("422", {})
    schema = refused.get("content", {}).get("application/json", {}).get("schema", {})
    if schema.get("$ref", "").endswith("HTTPValidationError"):
        del operation["responses"]["422"]
