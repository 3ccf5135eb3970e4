"""One writer per data directory: a file that is locked as long as the process lives, however it ends."""

import fcntl
import os
from pathlib import Path

from trading_engine.servers.obs.errors import CannotStart


class DirectoryLock:
    def __init__(self, path: Path) -> None:
        """Raises `CannotStart` when another process has the lock."""
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise CannotStart(f"the data directory cannot be used: {error}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.read(self._descriptor, 20).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise CannotStart(f"{path.parent} is in use by another order book server (process {owner})") from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        os.close(self._descriptor)
