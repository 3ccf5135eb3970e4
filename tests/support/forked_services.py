"""Services as forks of one process that has imported everything already.

Imports are two thirds of what it costs to start a service, and lives of faults start hundreds. A fork is a process like any other: it has
its own number, memory, files and limits, is killed and paused like any other, and runs the command line from its beginning. The process
that forks does nothing else: it has no event loop, opens nothing and reads no configuration. When those who use it are gone, it kills what
it started and ends.

Requests and answers are lines of JSON on its standard input and output.
"""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from support.processes import Launch

TESTS = Path(__file__).resolve().parent.parent


class ForkedService:
    def __init__(self, ask: Callable[..., Any], pid: int) -> None:
        self.pid = pid
        self._ask = ask
        self._status: int | None = None

    def poll(self) -> int | None:
        if self._status is None:
            self._status = self._ask("poll", self.pid)
        return self._status

    def wait(self, timeout: float | None = None) -> int:
        if self._status is None:
            handle = os.pidfd_open(self.pid)
            try:
                if not select.select([handle], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            finally:
                os.close(handle)
        status = self.poll()
        assert status is not None
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:  # Until it has been asked for, nobody else gets its number.
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@contextmanager
def forking() -> Iterator[Launch]:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from support import forked_services; forked_services.serve()"
    )
    command = [sys.executable, "-c", program, str(TESTS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin
        assert server.stdout
        requests, answers = server.stdin, server.stdout

        def ask(*request: object) -> Any:
            requests.write(json.dumps(request) + "\n")
            requests.flush()
            return json.loads(answers.readline())

        yield lambda arguments, log: ForkedService(ask, ask("start", str(log), *arguments))
        requests.close()


def serve() -> None:
    import_everything()
    children = set[int]()
    while line := sys.stdin.readline():
        request, *rest = json.loads(line)
        if request == "start":
            log, *arguments = rest
            pid = os.fork()
            if pid == 0:
                become_service(Path(log), arguments)
            children.add(pid)
            answer(pid)
        else:
            [pid] = rest
            answer(status_of(pid, children))
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def import_everything() -> None:
    """What any of the services imports, at once or when it is needed, and the machine code of the matching core."""
    import asyncpg  # noqa: F401

    import trading_engine.cli.services
    import trading_engine.database.analytics.projection
    import trading_engine.database.historical.opening
    import trading_engine.database.historical.tick_store
    import trading_engine.messaging.transports.rabbitmq
    import trading_engine.servers.obs.server
    import trading_engine.servers.projections.server
    import trading_engine.servers.tes.server  # noqa: F401
    from trading_engine.servers.obs.core import FAST, core_for

    core_for(FAST)


def become_service(log: Path, arguments: Sequence[str]) -> None:
    """Does not return."""
    with Path(os.devnull).open("rb") as nothing, log.open("ab") as its_log:
        os.dup2(nothing.fileno(), 0)
        os.dup2(its_log.fileno(), 1)
        os.dup2(its_log.fileno(), 2)
    sys.argv = ["trading_engine", *arguments]
    from trading_engine.cli import main

    sys.exit(main())


def status_of(pid: int, children: set[int]) -> int | None:
    """None while it runs. It has to be known no more than once."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    if not ended:
        return None
    children.remove(pid)
    return os.waitstatus_to_exitcode(status)


def answer(value: object) -> None:
    with suppress(BrokenPipeError):  # Then there will be no other request.
        sys.stdout.write(json.dumps(value) + "\n")
        sys.stdout.flush()
