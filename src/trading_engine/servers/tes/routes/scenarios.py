"""What administrators make happen on a venue under test. These routes are there with `tes.scenarios` only."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Request, Response

from trading_engine.servers.tes.models.requests import ClockRequest, ForcedFillRequest, PhaseRequest, TroubleRequest
from trading_engine.servers.tes.routes.answers import CurrentPrincipal, answer, body_of, no_content
from trading_engine.servers.tes.routes.examples import ORDER, TIME
from trading_engine.servers.tes.routes.openapi import UNLISTED, described
from trading_engine.servers.tes.services.scenarios import (
    ClockView,
    ForcedFillView,
    PhaseView,
    Scenarios,
    TroubleView,
)

decode_trouble = msgspec.json.Decoder(TroubleRequest)
decode_phase = msgspec.json.Decoder(PhaseRequest)
decode_fill = msgspec.json.Decoder(ForcedFillRequest)
decode_clock = msgspec.json.Decoder(ClockRequest)

TROUBLE = {"reject_orders": 3, "reject_code": "INSUFFICIENT_FUNDS", "latency_ms": 250, "lose_answers": 0}
CLOCK = {"time": TIME, "speed": 60.0}
WAYS_DOWN = ("MATCHING_UNAVAILABLE", "OUTCOME_UNKNOWN")
PortfolioId = Annotated[str, Path(examples=["1"])]


def scenario_router(scenarios: Scenarios) -> APIRouter:
    router = APIRouter(prefix="/v1/scenarios", tags=["Scenarios"])
    add_trouble_routes(router, scenarios)
    add_market_routes(router, scenarios)
    add_clock_routes(router, scenarios)
    return router


def add_trouble_routes(router: APIRouter, scenarios: Scenarios) -> None:
    path = "/accounts/{portfolio_id}"

    @router.get(
        path,
        summary="What waits for an account's requests on this server",
        **described(TroubleView, {"portfolio_id": "1", **TROUBLE}, errors=("NOT_FOUND",)),
    )
    async def trouble(portfolio_id: PortfolioId, principal: CurrentPrincipal) -> Response:
        return answer(await scenarios.trouble(principal, portfolio_id))

    @router.put(
        path,
        summary="Reject an account's next orders, delay its requests, lose the answers; what is 0 is over",
        **described(
            TroubleView,
            {"portfolio_id": "1", **TROUBLE},
            body=TroubleRequest,
            body_example=TROUBLE,
            errors=("NOT_FOUND",),
        ),
    )
    async def set_trouble(request: Request, portfolio_id: PortfolioId, principal: CurrentPrincipal) -> Response:
        return answer(await scenarios.set_trouble(principal, portfolio_id, await body_of(request, decode_trouble)))

    @router.post(
        path + "/disconnect",
        summary="Cut all WebSockets of an account on this server",
        **described(status=204, errors=("NOT_FOUND",)),
    )
    async def disconnect(portfolio_id: PortfolioId, principal: CurrentPrincipal) -> Response:
        await scenarios.disconnect(principal, portfolio_id)
        return no_content()


def add_market_routes(router: APIRouter, scenarios: Scenarios) -> None:
    @router.put(
        "/phase",
        summary="Halt one market or all, or bring them into any other phase",
        **described(
            PhaseView,
            {"symbol": "AAPL", "phase": "halted"},
            body=PhaseRequest,
            body_example={"symbol": "AAPL", "phase": "halted"},
            errors=(UNLISTED, "PHASE_UNCHANGED", *WAYS_DOWN),
        ),
    )
    async def set_phase(request: Request, principal: CurrentPrincipal) -> Response:
        return answer(await scenarios.set_phase(principal, await body_of(request, decode_phase)))

    @router.post(
        "/fills",
        summary="Have a counterparty trade so much with the first order at the best price",
        **described(
            ForcedFillView,
            {"filled": "5", "order": ORDER},
            body=ForcedFillRequest,
            body_example={"order_id": "123", "quantity": "5"},
            errors=("UNKNOWN_ORDER", "NOT_FIRST_IN_QUEUE", *WAYS_DOWN),
        ),
    )
    async def fill(request: Request, principal: CurrentPrincipal) -> Response:
        return answer(await scenarios.fill(principal, await body_of(request, decode_fill)))


def add_clock_routes(router: APIRouter, scenarios: Scenarios) -> None:
    @router.get(
        "/clock",
        summary="The venue's virtual clock",
        **described(ClockView, CLOCK, errors=("MATCHING_UNAVAILABLE",)),
    )
    async def clock(principal: CurrentPrincipal) -> Response:
        return answer(await scenarios.clock(principal))

    @router.put(
        "/clock",
        summary="Have the virtual clock go on to a time, or at another speed; 0 holds it",
        **described(
            ClockView,
            CLOCK,
            body=ClockRequest,
            body_example={"advance_s": 3600, "speed": 60},
            errors=("MATCHING_UNAVAILABLE",),
        ),
    )
    async def set_clock(request: Request, principal: CurrentPrincipal) -> Response:
        return answer(await scenarios.set_clock(principal, await body_of(request, decode_clock)))
