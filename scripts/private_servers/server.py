"""What all private servers have in common: a folder, a port, a process, a log, and a way to ask whether they are ready."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar, TypeVar

READY_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
ANSWER_TIMEOUT_S = 2.0
POLL_S = 0.05
LOG_TAIL_BYTES = 4000


class ServerFailed(Exception):
    """It did not start; the message has the end of its log."""


class PrivateServer(ABC):
    name: ClassVar[str]
    debian_package: ClassVar[str] = ""
    how_to_get_it: ClassVar[str]
    url_variable: ClassVar[str]
    """Environment variable with the address of a server that is to be used instead of a private one."""
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        """`folder` is for this server alone. One that was used before is taken up again."""
        self.folder = folder.absolute()
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @abstractmethod
    def is_installed(cls) -> bool: ...

    @property
    @abstractmethod
    def url(self) -> str: ...

    @abstractmethod
    def prepare(self) -> None:
        """Bring the folder into the state that `command` needs. Called before each start."""

    @abstractmethod
    def command(self) -> list[str | Path]: ...

    @abstractmethod
    def answers(self, connection: socket.socket) -> bool:
        """Whether it serves, asked in its own protocol on a new connection. Raises `OSError` where it does not."""

    def environment(self) -> Mapping[str, str]:
        """What its environment has besides that of this process."""
        return {}

    def account(self) -> tuple[int, int] | None:
        """User and group to run as; None for our own."""
        return None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log_path(self) -> Path:
        return self.folder / "server.log"

    def log(self) -> str:
        """The end of it."""
        return self.log_path.read_text(errors="replace")[-LOG_TAIL_BYTES:] if self.log_path.exists() else ""

    def start(self) -> None:
        """Returns when it is ready. Raises `ServerFailed`."""
        assert not self.is_running, f"{self.name} runs already"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.prepare()
        self._process = self.spawn(self.command())
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Have it shut down in good order, or, where that takes too long, kill it."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(self.stop_signal)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT_S)
        self.kill()

    def kill(self) -> None:
        """kill -9, its own children included."""
        process, self._process = self._process, None
        if process is not None:
            kill_group(process)

    def spawn(self, command: list[str | Path]) -> subprocess.Popen[bytes]:
        """A process in a group of its own (an interrupt of the terminal is not for it), whose output goes to the log."""
        user, group = self.account() or (None, None)
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                [*ending_with_its_starter(), *command],
                cwd=self.folder,
                env={**os.environ, **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=user,
                group=group,
                extra_groups=None if user is None else [],
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not self._is_ready():
            if not self.is_running:
                raise ServerFailed(f"{self.name} ended instead of starting:\n{self.log()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} was not ready within {READY_TIMEOUT_S:.0f} s:\n{self.log()}")
            time.sleep(POLL_S)

    def _is_ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), ANSWER_TIMEOUT_S) as connection:
                return self.answers(connection)
        except OSError:
            return False


ServerT = TypeVar("ServerT", bound=PrivateServer)


@contextmanager
def running(kind: type[ServerT]) -> Iterator[ServerT]:
    """A server of one's own in a temporary folder, ready."""
    with temporary_folder() as folder:
        server = kind(folder / kind.name)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Others may pass through it, because a server may have to run as another user."""
    folder = Path(tempfile.mkdtemp(prefix="te-servers-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def ending_with_its_starter() -> list[str]:
    """What to put before a command so that the kernel kills it with the thread that started it, however that ends (Linux)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
