"""The lists of packages agree with pyproject.toml and with each other."""

import re
import tomllib
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
