"""The matching algorithms that instruments of this venue may ask for: each module in this package is one.

A module has a `NAME`, by which instruments ask for it, and a function `allocate` (see `trading_engine.venue.matching.Allocate`).
`IN_TIME_ORDER = True` says of it that the orders of a level are met one after the other, first come first served. To add an algorithm,
add a module; nothing else has to know of it.

What an algorithm does is a rule of the market, and the journal is read with the rules that are there when it is read. So a module whose
name instruments have asked for stays as it is: a changed algorithm is a new one, with a name of its own.
"""

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType

from trading_engine.servers.obs.errors import CannotStart
from trading_engine.venue.matching import Strategy


class BrokenStrategy(CannotStart):
    """A module of this package is not what it has to be."""


def strategies() -> Mapping[str, Strategy]:
    """All matching algorithms, by name. Raises `BrokenStrategy`."""
    found: dict[str, Strategy] = {}
    for name in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        strategy = strategy_in(import_module(f"{__name__}.{name}"))
        if strategy.name in found:
            raise BrokenStrategy(f"{name}: another module has the name {strategy.name!r} too")
        found[strategy.name] = strategy
    return found


def strategy_in(module: ModuleType) -> Strategy:
    """Raises `BrokenStrategy`."""
    name, allocate = getattr(module, "NAME", None), getattr(module, "allocate", None)
    if not isinstance(name, str) or not name:
        raise BrokenStrategy(
            f"{module.__name__}: NAME is to be the name by which instruments ask for it, and is {name!r}"
        )
    if not callable(allocate):
        raise BrokenStrategy(f"{module.__name__}: it has no function allocate")
    return Strategy(name, allocate, bool(getattr(module, "IN_TIME_ORDER", False)))
