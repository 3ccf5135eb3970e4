"""What all tests share: where outside things are found, and that a missing one is never passed over in silence.

A test that lacks something of the machine (recorded market data, a browser) asks for it through a fixture here. Where it is missing the
test is skipped and named in a section at the end of the run. Under CI (the variable `CI` is set) nothing may be skipped, for whatever
reason: the run fails.
"""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from chromium import ARGUMENTS, HOW_TO_GET_ONE, find_chromium

UNDER_CI = os.environ.get("CI", "").lower() not in ("", "0", "false")


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
