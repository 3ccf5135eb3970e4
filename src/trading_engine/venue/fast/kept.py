"""Where the machine code of this package is kept, and whether it is there.

Numba's own cache sits beside the sources, which may be read-only, and looks only at the file of the function that is called: an edit in a
module that it imports goes unnoticed. So the code is kept in a directory of our own, named after everything that it was made from: all
sources of this package, Numba and Python. Where that cannot be written, functions are compiled at each start.

What is computed does not depend on any of this. Nothing here needs Numba, so asking costs no more than reading the sources.
"""

import hashlib
import sys
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path


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
    digest = hashlib.blake2b(f"{version('numba')} {sys.version}".encode(), digest_size=8)
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


def _mark(directory: Path) -> Path:
    """The file that says that all is there: Numba goes by path and age of the sources, so they are part of its name."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    ages = " ".join(f"{source} {source.stat().st_mtime_ns}" for source in sources)
    return directory.joinpath("whole-" + hashlib.blake2b(ages.encode(), digest_size=8).hexdigest())


def is_kept() -> bool:
    """Whether the fast venue can start without compiling anything."""
    directory = cache_directory()
    return directory is not None and _mark(directory).exists()


def compile_all() -> bool:
    """Compile whatever is not kept yet, which takes up to a minute; returns whether it is kept now."""
    import trading_engine.venue.fast.venue
    import trading_engine.venue.fast.wire  # noqa: F401  (compiling is what the imports do)

    directory = cache_directory()
    if directory is None:
        return False
    _mark(directory).touch()
    return True
