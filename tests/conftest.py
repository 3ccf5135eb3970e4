"""What all tests share: where outside things are found, and that a missing one is never passed over in silence.

A test that needs something of the machine (recorded market data, a browser, a RabbitMQ) asks for it through a fixture here. Where it is
missing the test is skipped and named in a section at the end of the run. Under CI (the variable `CI` is set) nothing may be skipped, for
whatever reason: the run fails.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from chromium import ARGUMENTS, HOW_TO_GET_ONE, find_chromium
from hypothesis import settings
from private_servers import QIPC, PostgreSQL, PrivateServer, RabbitMQ, Redis
from private_servers.server import temporary_folder
from private_servers.shared import SharedServers

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
"""A test must not fail because the machine is busy."""

UNDER_CI = os.environ.get("CI", "").lower() not in ("", "0", "false")
SERVERS_FOLDER = "TEST_SERVERS_FOLDER"
"""Names the folder of this run's servers to the workers."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one file run in one worker, which starts their servers once; those that are marked to spread, in any."""
    for item in items:
        if item.get_closest_marker("spread") is None:
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(item.config.rootpath))))


@pytest.fixture(scope="session")
def market_data_dir() -> Path:
    """The folder of recorded market data (`lobster/`, `kraken/`), which may not be redistributed and is therefore not in the repository."""
    value = os.environ.get("MARKET_DATA_DIR")
    if not value:
        pytest.skip("needs recorded market data: set MARKET_DATA_DIR to the folder that holds lobster/ and kraken/")
    folder = Path(value).expanduser().resolve()
    assert folder.is_dir(), f"MARKET_DATA_DIR={value} is no folder"
    return folder


@pytest.fixture(scope="session")
def chromium_path() -> Path:
    """The executable of a Chromium or Chrome."""
    path = find_chromium()
    if path is None:
        pytest.skip(f"needs a browser: {HOW_TO_GET_ONE}")
    return path


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any], chromium_path: Path) -> dict[str, Any]:
    """Have pytest-playwright drive the browser of the machine instead of one that it would download."""
    arguments = [*browser_type_launch_args.get("args", ()), *ARGUMENTS]
    return {**browser_type_launch_args, "executable_path": str(chromium_path), "args": arguments}


def server_url(kind: type[PrivateServer], key: str = "") -> str:
    """The address that the environment names, or that of a private server which is started now; skips where there can be none."""
    named = os.environ.get(kind.url_variable)
    if named:
        return named
    require_installed(kind)
    return SharedServers(Path(os.environ[SERVERS_FOLDER])).url(kind, key)


def require_installed(kind: type[PrivateServer]) -> None:
    if not kind.is_installed():
        pytest.skip(f"needs {kind.name}: {kind.how_to_get_it}, or name one in {kind.url_variable}")


@pytest.fixture(scope="session")
def rabbitmq_url() -> str:
    """A RabbitMQ that all workers share: names of queues and streams must be a test's own. Nobody may restart or kill it."""
    return server_url(RabbitMQ)


@pytest.fixture(scope="session")
def postgresql_url() -> str:
    """A PostgreSQL that all workers share, as its superuser: a test makes a database of its own in it. Nobody may restart or kill it."""
    return server_url(PostgreSQL)


@pytest.fixture(scope="session")
def redis_url(worker_id: str) -> str:
    """A Redis of this worker; tests flush it before use."""
    return server_url(Redis, worker_id)


@pytest.fixture(scope="session")
def qipc_server(worker_id: str) -> tuple[str, int]:
    """Host and port of a qIPC server of this worker, with nothing in it."""
    return host_and_port(server_url(QIPC, worker_id))


@pytest.fixture
def start_qipc_server() -> Iterator[Callable[[str], tuple[str, int]]]:
    """Starts qIPC servers that run a boot script (pepper) first, and stops them after the test; gives host and port."""
    require_installed(QIPC)
    with ExitStack() as stack:

        def start(boot_script: str) -> tuple[str, int]:
            server = QIPC(stack.enter_context(temporary_folder()))
            server.boot_script = boot_script
            stack.callback(server.stop)
            server.start()
            return host_and_port(server.url)

        yield start


@pytest.fixture
def start_server() -> Iterator[Callable[[type[PrivateServer]], PrivateServer]]:
    """Starts servers of a test's own, which it may stop, kill and start again; they are stopped after it."""
    with ExitStack() as stack:

        def start(kind: type[PrivateServer]) -> PrivateServer:
            require_installed(kind)
            server = kind(stack.enter_context(temporary_folder()))
            stack.callback(server.stop)
            server.start()
            return server

        yield start


def host_and_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname, url
    assert parts.port, url
    return parts.hostname, parts.port


def pytest_configure(config: pytest.Config) -> None:
    if not is_worker(config):
        folder = Path(tempfile.mkdtemp(prefix="te-test-servers-"))
        os.environ[SERVERS_FOLDER] = str(folder)
        SharedServers(folder).own()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not is_worker(config):
        folder = Path(os.environ.pop(SERVERS_FOLDER))
        SharedServers(folder).stop()
        shutil.rmtree(folder, ignore_errors=True)


def is_worker(config: pytest.Config) -> bool:
    """Of pytest-xdist."""
    return hasattr(config, "workerinput")


def _skipped(config: pytest.Config) -> dict[str, list[str]]:
    """Reason to tests, of everything skipped in this run; in a worker of pytest-xdist, nothing."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    reasons: dict[str, list[str]] = {}
    for report in reporter.stats.get("skipped", []) if reporter else []:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons.setdefault(re.sub(r"^Skipped: ", "", reason), []).append(report.nodeid)
    return reasons


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if UNDER_CI and exitstatus == pytest.ExitCode.OK and _skipped(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    skipped = _skipped(config)
    if not skipped:
        return
    terminalreporter.section("NOT TESTED HERE", sep="!", red=UNDER_CI, yellow=not UNDER_CI, bold=True)
    for reason, tests in skipped.items():
        terminalreporter.line(f"{len(tests)} test{'s' if len(tests) > 1 else ''}: {reason}")
        for test in tests:
            terminalreporter.line(f"    {test}")
    if UNDER_CI:
        terminalreporter.line("Under CI nothing may be skipped: this run has failed.", red=True, bold=True)
