"""Compiles the functions of this package, and keeps the machine code (`kept.py`) so that only the first start pays for it."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

from trading_engine.venue.fast.kept import cache_directory


def _with_cache(compile_function: Callable[[bool], Any]) -> Any:
    directory = cache_directory()
    settings: Any = numba.config
    before, settings.CACHE_DIR = settings.CACHE_DIR, str(directory or "")
    try:
        return compile_function(directory is not None)
    finally:
        settings.CACHE_DIR = before


Function = TypeVar("Function", bound=Callable[..., object])


def part(function: Function) -> Function:
    """For functions that only compiled functions call: they become part of those."""
    return cast(Function, numba.njit(function, error_model="numpy", forceinline=True))


def entry(argument_count: int) -> Callable[[Function], Function]:
    """For functions that are called from outside, with so many 64-bit integers, and return one: see also `address_of`."""
    signature = numba.types.int64(*[numba.types.int64] * argument_count)

    def decorate(function: Function) -> Function:
        return cast(
            Function, _with_cache(lambda keep: numba.njit(signature, cache=keep, error_model="numpy")(function))
        )

    return decorate


def direct(function: Any) -> Callable[..., int]:
    """A compiled `entry` for who calls it often: it takes integers as they are, without asking for the types of its arguments first."""
    (overload,) = function.overloads.values()
    return cast(Callable[..., int], overload.entry_point)


def address_of(function: Any, argument_count: int) -> int:
    """Address of a C-callable `int64_t f(int64_t, …)` that calls a compiled `entry`."""
    signature = numba.types.int64(*[numba.types.int64] * argument_count)
    callable_from_c = _with_cache(lambda keep: numba.cfunc(signature, cache=keep)(function.py_func))
    return int(callable_from_c.address)
