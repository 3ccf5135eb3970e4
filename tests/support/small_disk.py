"""A file system of a test's own, that gets full for everybody who writes to it, and has room again.

It lies in memory. To mount one takes a superuser; where that is not permitted, there is none.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

ROOM_BYTES = 1 << 30
PAGE_BYTES = 4096
ATTEMPTS = 20


class SmallDisk:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def leave(self, pages: int) -> None:
        """So much can be written yet, by all together."""
        for _ in range(ATTEMPTS):
            if self._resize(self._used_bytes + pages * PAGE_BYTES):
                return
        raise AssertionError("whatever room was left was used in the moment of asking, twenty times in a row")

    def make_room(self) -> None:
        assert self._resize(ROOM_BYTES)

    @property
    def _used_bytes(self) -> int:
        state = os.statvfs(self._folder)
        return (state.f_blocks - state.f_bfree) * state.f_frsize

    def _resize(self, size_bytes: int) -> bool:
        """Not below what is in use."""
        return mounted("-o", f"remount,size={max(size_bytes, PAGE_BYTES)}", str(self._folder))


def mounted(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    folder.mkdir()
    assert mounted("-t", "tmpfs", "-o", f"size={ROOM_BYTES}", "tmpfs", str(folder))
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@cache
def can_have_small_disk() -> bool:
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory(prefix="te-disk-") as folder:
        if not mounted("-t", "tmpfs", "tmpfs", folder):
            return False
        subprocess.run(["umount", folder], check=True)
        return True
