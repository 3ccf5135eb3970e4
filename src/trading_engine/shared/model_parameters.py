"""The parameters of the models that this project has itself, typed. Of other models the utilities database keeps any JSON object.

Every parameter has a default, so that a set names only what is to be different, and a set of an earlier release is read by a later one.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

SIMULATED_TRADERS = "simulated_traders"


class SimulatedTraders(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What can be changed of the simulated traders while they trade."""

    orders_per_second: Annotated[float, msgspec.Meta(ge=0, le=10_000)] | None = None
    """Of all together, about; null: as `bots.orders_per_second` says. At 0 they enter nothing, and what they have ends in time."""
    volatility: Annotated[float, msgspec.Meta(ge=0, le=20)] = 1.0
    """Times the usual speed at which the hidden value moves."""
    half_spread: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0.25
    """Grid steps from the value to a market maker's best quote, in quiet times."""
    order_size: Annotated[float, msgspec.Meta(gt=0, le=100)] = 1.0
    """Times the ordinary size of an order."""


MODELS: Mapping[str, type[msgspec.Struct]] = {SIMULATED_TRADERS: SimulatedTraders}


def fault_of(model: str, parameters: Mapping[str, Any]) -> str:
    """What is wrong with a set of parameters; empty where nothing is, or nobody here knows the model."""
    kind = MODELS.get(model)
    if kind is None:
        return ""
    try:
        msgspec.convert(parameters, kind)
    except msgspec.ValidationError as error:
        return f"{error}; the parameters are {', '.join(kind.__struct_fields__)}"
    return ""
