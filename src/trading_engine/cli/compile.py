"""`compile`: machine code for the matching core, made once and kept."""

import fcntl
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trading_engine.venue.fast.kept import cache_directory, compile_all, is_kept

PROGRESS_S = 1.0
WAIT_S = 0.5
LOCK_FILE = "compiling"


class NobodyWaits(Exception):
    """Whoever wanted it compiled is gone."""


def run_compile() -> int:
    """Returns the exit status: 0 when the machine code is there and kept."""
    if is_kept():
        print("the matching core is compiled")
        return 0
    directory = cache_directory()
    if directory is None:
        print("error: the home directory cannot be written, so machine code cannot be kept", file=sys.stderr)
        return 1
    try:
        with alone(directory / LOCK_FILE, os.getppid()):
            return 0 if is_kept() or _compile_with_progress() else 1
    except NobodyWaits:
        return 1


@contextmanager
def alone(lock: Path, parent: int) -> Iterator[None]:
    """One process at a time: order book servers that are started again and again would otherwise compile the same side by side.

    Whoever has to wait here, and is no longer a child of the process `parent`, raises `NobodyWaits`.
    """
    with lock.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if os.getppid() != parent:
                    raise NobodyWaits from None
                time.sleep(WAIT_S)
        yield


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
