"""Compiling is done by one process at a time, and waited for only as long as somebody wants it."""

import subprocess
import sys
from pathlib import Path

IMPORT = "import os, pathlib, sys\nfrom trading_engine.cli.compile import NobodyWaits, alone\n"
HOLD = (
    IMPORT
    + """
with alone(pathlib.Path(sys.argv[1]), os.getppid()):
    print("in", flush=True)
    sys.stdin.read()
"""
)
WAIT = (
    IMPORT
    + """
parent = os.getppid()
print("begun", flush=True)
try:
    with alone(pathlib.Path(sys.argv[1]), parent):
        print("in", flush=True)
except NobodyWaits:
    print("left", flush=True)
"""
)
START_AND_WAIT = """
import subprocess, sys
subprocess.run([sys.executable, "-c", *sys.argv[1:]])
"""


def holder(lock: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_compiling_waits_until_another_process_is_done(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with holder(lock) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "in\n"
        with holder(lock) as second:
            first.communicate()
            assert second.stdout is not None
            assert second.stdout.readline() == "in\n"
            second.communicate()


def test_compiling_is_not_waited_for_when_nobody_wants_it_any_more(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with holder(lock) as first:
        assert first.stdout is not None
        first.stdout.readline()
        command = [sys.executable, "-c", START_AND_WAIT, WAIT, str(lock)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None
            assert parent.stdout.readline() == "begun\n"
            parent.kill()
            assert parent.stdout.readline() == "left\n"
        first.communicate()
