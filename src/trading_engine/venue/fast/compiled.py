"""Compiles the functions of this package, and keeps the machine code so that only the first start pays for it.

Numba's own cache sits beside the sources, which may be read-only, and looks only at the file of the function that is called: an edit in a
module that it imports goes unnoticed. So the code is kept in a directory of our own, named after everything that it was made
from: all sources of this package, Numba and Python. Where it cannot be written, functions are compiled at each start. What is computed does
not depend on any of this, so it is the one module of the venue that looks at the disk.
"""

import hashlib
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba


def _is_writable(directory: Path) -> bool:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


@cache
def cache_directory() -> Path | None:
    """Where the machine code of exactly these sources is kept, None where nothing can be written."""
    digest = hashlib.blake2b(f"{numba.__version__} {sys.version}".encode(), digest_size=8)
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    # A directory that somebody else may write to would hand us somebody else's code: the home directory, or none.
    try:
        home = Path.home()
    except RuntimeError:
        return None
    caches = home.joinpath("Library", "Caches") if sys.platform == "darwin" else home.joinpath(".cache")
    directory = caches.joinpath("py-trading-engine", digest.hexdigest())
    return directory if _is_writable(directory) else None


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


def address_of(function: Any, argument_count: int) -> int:
    """Address of a C-callable `int64_t f(int64_t, …)` that calls a compiled `entry`."""
    signature = numba.types.int64(*[numba.types.int64] * argument_count)
    callable_from_c = _with_cache(lambda keep: numba.cfunc(signature, cache=keep)(function.py_func))
    return int(callable_from_c.address)
