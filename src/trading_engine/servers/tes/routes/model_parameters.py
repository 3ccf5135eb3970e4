"""The parameters of models, to read for those who run models and to set for those who operate the market."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Request, Response

from trading_engine.servers.tes.models.requests import ModelParametersRequest
from trading_engine.servers.tes.routes.answers import CurrentPrincipal, answer, body_of
from trading_engine.servers.tes.routes.examples import TIME
from trading_engine.servers.tes.routes.openapi import described
from trading_engine.servers.tes.services.model_parameters import ModelParametersService, ModelParametersView

PATH = "/v1/model-parameters/{model}/{name}"
PARAMETERS = {"orders_per_second": 60.0, "volatility": 2.0}
ACTIVE = {
    "model": "simulated_traders",
    "name": "default",
    "version": 3,
    "active_from": TIME,
    "parameters": PARAMETERS,
}
Model = Annotated[str, Path(examples=["simulated_traders"])]
Name = Annotated[str, Path(examples=["default"])]
decode_parameters = msgspec.json.Decoder(ModelParametersRequest)


def model_parameters_router(service: ModelParametersService) -> APIRouter:
    router = APIRouter(tags=["Models"])

    @router.get(
        PATH,
        summary="The parameters of a model that are active",
        **described(ModelParametersView, ACTIVE, errors=("NOT_FOUND",)),
    )
    async def active(principal: CurrentPrincipal, model: Model, name: Name) -> Response:
        return answer(service.active(principal, model, name))

    @router.put(
        PATH,
        summary="Set the parameters of a model, from now or a later time on",
        **described(
            ModelParametersView,
            ACTIVE,
            body=ModelParametersRequest,
            body_example={"parameters": PARAMETERS},
            errors=("INVALID_REQUEST", "DATABASE_UNAVAILABLE"),
        ),
    )
    async def add(request: Request, principal: CurrentPrincipal, model: Model, name: Name) -> Response:
        return answer(await service.add(principal, model, name, await body_of(request, decode_parameters)))

    return router
