"""The lists of packages agree with pyproject.toml and with each other."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from lock import BOOTSTRAP, EXPORTS, LISTS, LOCK, dependency_digest, recorded_digest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = ROOT / "pyproject.toml"
DOCUMENT = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))

DIRECT: dict[str, list[str]] = {
    "base.txt": DOCUMENT["project"]["dependencies"],
    "prod.txt": DOCUMENT["project"]["dependencies"] + DOCUMENT["project"]["optional-dependencies"]["prod"],
    "dev.txt": DOCUMENT["project"]["dependencies"] + DOCUMENT["dependency-groups"]["dev"],
    BOOTSTRAP: DOCUMENT["dependency-groups"]["bootstrap"],
}


def pins(name: str) -> set[str]:
    """The lines of a list that name a release, with the marker that says where it applies."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8").replace("\\\n", "")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    for line in lines:
        assert re.search(r"==\S+", line), f"{name}: not pinned: {line}"
        assert "--hash=sha256:" in line, f"{name}: without a hash: {line}"
    return {line.split("--hash")[0].strip() for line in lines}


@pytest.mark.parametrize("name", LISTS)
def test_list_is_made_from_the_present_pyproject(name: str) -> None:
    recorded = recorded_digest(ROOT / "requirements" / name)
    assert recorded == dependency_digest(PYPROJECT, name), "run `make lock` and commit what it changed"


@pytest.mark.parametrize("name", DIRECT)
def test_list_holds_what_pyproject_asks_for(name: str) -> None:
    pinned = [Requirement(line) for line in pins(name)]
    for text in DIRECT[name]:
        wanted = Requirement(text)
        found = [r for r in pinned if canonicalize_name(r.name) == canonicalize_name(wanted.name)]
        assert found, f"{text} is not in {name}"
        if wanted.marker is None:
            assert all(wanted.specifier.contains(next(iter(r.specifier)).version) for r in found), f"{text}: {found}"


def test_exports_hold_only_what_is_locked() -> None:
    for name in EXPORTS:
        assert pins(name) <= pins(LOCK), name


def test_run_time_list_is_part_of_the_others() -> None:
    assert pins("base.txt") <= pins("dev.txt")
    assert pins("base.txt") <= pins("prod.txt")


@pytest.mark.parametrize("name", LISTS)
def test_list_names_no_address(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*(-\w|--(?!hash))", text, re.MULTILINE), "an option of the installer"


def test_digest_changes_with_a_dependency(tmp_path: Path) -> None:
    changed = tmp_path / "pyproject.toml"
    changed.write_text(PYPROJECT.read_text(encoding="utf-8").replace('"rich>=', '"richer>='), encoding="utf-8")
    assert dependency_digest(changed, "base.txt") != dependency_digest(PYPROJECT, "base.txt")
    assert dependency_digest(changed, BOOTSTRAP) == dependency_digest(PYPROJECT, BOOTSTRAP)


def modules_of(requirements: list[str]) -> set[str]:
    """What the packages are imported as."""
    names = {canonicalize_name(Requirement(text).name) for text in requirements}
    return {
        module
        for module, distributions in packages_distributions().items()
        if names & {canonicalize_name(distribution) for distribution in distributions}
    }


def modules_of_commands() -> set[str]:
    """What the commands import when they are run."""
    folder = ROOT / "src" / "trading_engine" / "cli"
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in folder.glob("*.py")]
    imports = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {node.module for node in imports if node.module and node.module.startswith("trading_engine.")}


def test_every_command_and_the_benchmarks_start_without_the_packages_of_production() -> None:
    absent = modules_of(DOCUMENT["project"]["optional-dependencies"]["prod"])
    assert {"aio_pika", "asyncpg", "redis"} <= absent
    commands = modules_of_commands()
    assert {"trading_engine.servers.obs.server", "trading_engine.servers.tes.server"} <= commands
    code = f"""
import sys
from importlib import import_module
sys.modules.update(dict.fromkeys({sorted(absent)}))
for name in {[*sorted(commands), "benchmarks.__main__"]}:
    import_module(name)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
