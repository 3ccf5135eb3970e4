"""`compile`: machine code for the matching core, made once and kept."""

import sys
import threading
import time
from typing import Any

from trading_engine.venue.fast.kept import cache_directory, compile_all, is_kept

PROGRESS_S = 1.0


def run_compile() -> int:
    """Returns the exit status: 0 when the machine code is there and kept."""
    if is_kept():
        print("the matching core is compiled")
        return 0
    if cache_directory() is None:
        print("error: the home directory cannot be written, so machine code cannot be kept", file=sys.stderr)
        return 1
    return 0 if _compile_with_progress() else 1


def _compile_with_progress() -> bool:
    begun, done = time.monotonic(), threading.Event()
    is_terminal = sys.stdout.isatty()
    print("compiling the matching core (once, about half a minute)", flush=True)

    def tell() -> None:
        while not done.wait(PROGRESS_S):
            print(f"\r  {time.monotonic() - begun:.0f} s", end="", flush=True)

    teller: Any = threading.Thread(target=tell, daemon=True)
    if is_terminal:
        teller.start()
    try:
        is_whole = compile_all()
    finally:
        done.set()
    print(f"{chr(13) if is_terminal else ''}  done in {time.monotonic() - begun:.0f} s")
    return is_whole
