"""A test that could not run is named; under CI it fails the run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SAMPLE = """
import pytest

def test_passes():
    pass

{test}
"""
SKIPPED = """
def test_recorded_hour(market_data_dir):
    assert market_data_dir
"""
MODULE_SKIPPED = """
pytest.importorskip("a_module_that_is_not_there")
"""


def run_sample(folder: Path, test: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on one test module beside a copy of our conftest."""
    (folder / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "test_always.py").write_text(SAMPLE.format(test=""), encoding="utf-8")
    (folder / "test_sample.py").write_text(SAMPLE.format(test=test), encoding="utf-8")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("CI", "MARKET_DATA_DIR") and "PYTEST" not in name
    }
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--rootdir",
            str(folder),
            "-c",
            os.devnull,
            "-p",
            "no:cacheprovider",
            *options,
            str(folder),
        ],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT / "scripts"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("options", [(), ("-p", "xdist", "-n", "2")], ids=["one process", "parallel"])
@pytest.mark.parametrize("test", [SKIPPED, MODULE_SKIPPED], ids=["test", "module"])
def test_skip_under_ci_fails_the_run(tmp_path: Path, test: str, options: tuple[str, ...]) -> None:
    done = run_sample(tmp_path, test, *options, CI="true")
    assert done.returncode == 1, done.stdout
    assert "NOT TESTED HERE" in done.stdout
    assert "this run has failed" in done.stdout


@pytest.mark.parametrize("value", ["", "false", "0"])
def test_skip_elsewhere_passes_and_says_what_to_set(tmp_path: Path, value: str) -> None:
    done = run_sample(tmp_path, SKIPPED, CI=value)
    assert done.returncode == 0, done.stdout
    assert "NOT TESTED HERE" in done.stdout
    assert "1 test: needs recorded market data: set MARKET_DATA_DIR" in done.stdout
    assert "test_sample.py::test_recorded_hour" in done.stdout


def test_full_run_under_ci_passes_without_the_section(tmp_path: Path) -> None:
    done = run_sample(tmp_path, SKIPPED, CI="true", MARKET_DATA_DIR=str(tmp_path))
    assert done.returncode == 0, done.stdout
    assert "NOT TESTED" not in done.stdout


def test_market_data_dir_that_is_not_there_fails(tmp_path: Path) -> None:
    done = run_sample(tmp_path, SKIPPED, MARKET_DATA_DIR=str(tmp_path / "nowhere"))
    assert done.returncode == 1, done.stdout
    assert "nowhere is no folder" in done.stdout
