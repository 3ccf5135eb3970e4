"""One private server for several processes, the workers of a test run, that is gone when the run is, however it ends.

Whoever first asks for a server starts a keeper for it: a process of its own (`python scripts/services.py --keep ...`), because the worker
that asked may end long before the others. The keeper starts the server, writes its address into a file of the run's folder, and stops
it when it is told to or when the owner (the process that `pytest` was started as) is no longer there.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from private_servers.server import READY_TIMEOUT_S, PrivateServer, ServerFailed

KEEPER = Path(__file__).resolve().parent.parent / "services.py"
POLL_S = 0.1
OWNER_POLL_S = 0.3
GONE_TIMEOUT_S = 40.0
OWNER = "owner"


class SharedServers:
    """The servers of one run. All its processes name the same folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def own(self) -> None:
        """This process is the owner."""
        (self._folder / OWNER).write_text(str(os.getpid()))

    def url(self, kind: type[PrivateServer], key: str = "") -> str:
        """The address of a server; it is started when this is the first to ask. Servers of one kind are told apart by `key`.

        Raises `ServerFailed`.
        """
        name = f"{kind.name}-{key}" if key else kind.name
        announcement = self._folder / f"{name}.url"
        with _lock(self._folder / f"{name}.lock"):
            if not announcement.exists():
                self._start_keeper(kind, name)
                _wait(announcement, self._folder / f"{name}.keeper.log")
        return announcement.read_text()

    def stop(self) -> None:
        """Returns when all have gone."""
        pids = [int(path.read_text()) for path in self._folder.glob("*.pid")]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + GONE_TIMEOUT_S
        while list(self._folder.glob("*.pid")) and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def _start_keeper(self, kind: type[PrivateServer], name: str) -> None:
        with (self._folder / f"{name}.keeper.log").open("wb") as log:
            keeper = subprocess.Popen(
                [sys.executable, KEEPER, "--keep", kind.name, "--as", name, "--folder", self._folder],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        keeper.returncode = 0  # It is not ours to wait for, and need not be warned about.


def keep(server: PrivateServer, folder: Path, name: str) -> None:
    """Be the keeper of a server."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    pid_file = folder / f"{name}.pid"
    owner = int((folder / OWNER).read_text())
    pid_file.write_text(str(os.getpid()))
    try:
        server.start()
        announcement = folder / f"{name}.url.part"
        announcement.write_text(server.url)
        announcement.rename(folder / f"{name}.url")
        while _is_there(owner):
            time.sleep(OWNER_POLL_S)
    finally:
        server.stop()
        pid_file.unlink(missing_ok=True)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _wait(announcement: Path, log: Path) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not announcement.exists():
        text = log.read_text(errors="replace")
        if "ServerFailed" in text or time.monotonic() > deadline:
            raise ServerFailed(text or f"{announcement.stem} was not ready within {READY_TIMEOUT_S:.0f} s")
        time.sleep(POLL_S)


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
