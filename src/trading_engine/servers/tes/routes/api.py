"""The REST paths that are not hot, on FastAPI: one router per subject, put together by `build_api`."""

from collections.abc import Callable

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from trading_engine.database.errors import DatabaseError
from trading_engine.servers.tes.errors import ApiError, invalid_request
from trading_engine.servers.tes.models.views import encode
from trading_engine.servers.tes.routes import openapi
from trading_engine.servers.tes.routes.account import account_router
from trading_engine.servers.tes.routes.administration import administration_router
from trading_engine.servers.tes.routes.analytics import analytics_router
from trading_engine.servers.tes.routes.auth import auth_router
from trading_engine.servers.tes.routes.history import history_router
from trading_engine.servers.tes.routes.market_data import market_data_router
from trading_engine.servers.tes.routes.model_parameters import model_parameters_router
from trading_engine.servers.tes.routes.order_control import OrderControl, order_control_router
from trading_engine.servers.tes.routes.order_documentation import order_documentation_router
from trading_engine.servers.tes.routes.scenarios import scenario_router
from trading_engine.servers.tes.routes.transfers import transfers_router
from trading_engine.servers.tes.services.account_reset import AccountReset
from trading_engine.servers.tes.services.administration import Administration
from trading_engine.servers.tes.services.analytics import Analytics
from trading_engine.servers.tes.services.authentication import Authentication
from trading_engine.servers.tes.services.health import Health
from trading_engine.servers.tes.services.history import History
from trading_engine.servers.tes.services.market_data import MarketData
from trading_engine.servers.tes.services.model_parameters import ModelParametersService
from trading_engine.servers.tes.services.queue_positions import QueuePositions
from trading_engine.servers.tes.services.readings import Readings, database_unavailable
from trading_engine.servers.tes.services.scenarios import Scenarios
from trading_engine.servers.tes.services.statements import Statements
from trading_engine.servers.tes.services.transfers import Transfers

CODE_OF_STATUS = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}


class ApiServices(msgspec.Struct, frozen=True):
    authentication: Authentication
    administration: Administration
    account_reset: AccountReset
    readings: Readings
    queue_positions: QueuePositions
    statements: Statements
    market_data: MarketData
    history: History
    analytics: Analytics
    health: Health
    order_control: OrderControl
    transfers: Transfers
    model_parameters: ModelParametersService
    decimals_of: Callable[[str], int]
    now_ns: Callable[[], int]
    scenarios: Scenarios | None = None
    """On a venue under test."""


def build_api(services: ApiServices) -> FastAPI:
    app = FastAPI(
        title="Native API",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    app.include_router(auth_router(services.authentication))
    app.include_router(administration_router(services.administration, services.account_reset))
    app.include_router(order_documentation_router())
    app.include_router(order_control_router(services.order_control))
    app.include_router(
        account_router(services.readings, services.queue_positions, services.statements, services.authentication)
    )
    app.include_router(transfers_router(services.transfers))
    app.include_router(
        market_data_router(
            services.market_data, services.readings, services.health, services.decimals_of, services.now_ns
        )
    )
    app.include_router(history_router(services.history, services.market_data.market))
    app.include_router(analytics_router(services.analytics))
    app.include_router(model_parameters_router(services.model_parameters))
    if services.scenarios is not None:
        app.include_router(scenario_router(services.scenarios))
    openapi.install(app)
    app.add_exception_handler(ApiError, api_error)
    app.add_exception_handler(DatabaseError, database_error)
    app.add_exception_handler(RequestValidationError, validation_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(Exception, unexpected_error)
    return app


def json_answer(value: object, status: int = 200) -> Response:
    return Response(encode(value), status, media_type="application/json")


def error_answer(error: ApiError) -> Response:
    response = Response(error.to_json(), error.status, media_type="application/json")
    response.raw_headers.extend(error.headers)
    return response


async def api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_answer(error)


async def database_error(_: Request, __: Exception) -> Response:
    return error_answer(database_unavailable())


async def validation_error(_: Request, error: Exception) -> Response:
    """The framework found a parameter of the query or the path wrong."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:])
    return error_answer(invalid_request(f"The field {field!r} is wrong: {first['msg']}.", field, first.get("input")))


async def http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = CODE_OF_STATUS.get(error.status_code, "INVALID_REQUEST")
    words = {
        "NOT_FOUND": f"There is nothing at {request.url.path[:200]}.",
        "METHOD_NOT_ALLOWED": f"{request.method} is not possible here.",
    }
    answer = error_answer(ApiError(code, words.get(code, str(error.detail)), status=error.status_code))
    if error.status_code == 405:
        answer.headers["Allow"] = ", ".join(allowed_methods(request))
    return answer


def allowed_methods(request: Request) -> list[str]:
    """Of all routes of this path: the framework itself names those of the first one only."""
    paths = request.app.openapi()["paths"]
    return sorted(
        {
            method.upper()
            for template, methods in paths.items()
            if compile_path(template)[0].fullmatch(request.url.path)
            for method in methods
        }
    )


async def unexpected_error(_: Request, __: Exception) -> Response:
    """The cause is logged by the server; it is not for the client."""
    return error_answer(ApiError("INTERNAL_ERROR", "Something went wrong inside the server; it was logged."))
