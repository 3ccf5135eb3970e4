"""Every rule of the house lint finds a violation, and lets a clean sample pass."""

import subprocess
from pathlib import Path

import pytest
from house_lint import (
    INDEX_HOSTS,
    ROOT,
    Finding,
    find_broken_chains,
    find_dead_modules,
    lint_hosts,
    lint_name,
    lint_python,
    lint_repository,
    lint_text,
    repository_files,
)

VENUE = Path("src/trading_engine/venue/sample.py")
CONVERSION = Path("src/trading_engine/venue/conversion.py")
SERVER = Path("src/trading_engine/servers/obs/sample.py")
CLI = Path("src/trading_engine/cli/sample.py")
MARKER = "TO" + "DO"


def rules(findings: object) -> list[str]:
    assert isinstance(findings, list)
    return [finding.rule for finding in findings if isinstance(finding, Finding)]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import time", ["venue-import"]),
        ("from time import time_ns", ["venue-import"]),
        ("import random", ["venue-import"]),
        ("import secrets", ["venue-import"]),
        ("from uuid import uuid4", ["venue-import"]),
        ("import logging.handlers", ["venue-import"]),
        ("import asyncio", ["venue-import"]),
        ("import threading", ["venue-import"]),
        ("from os import environ", ["venue-import"]),
        ("from pathlib import Path", ["venue-import"]),
        ("import sqlalchemy", ["venue-import"]),
        ("from trading_engine.shared.config import Config", ["venue-import"]),
        ("from trading_engine.venues import other", ["venue-import"]),
        ("from datetime import datetime\nx = datetime.now()", ["venue-clock"]),
        ("import datetime\nx = datetime.datetime.utcnow()", ["venue-clock"]),
        ("from datetime import date\nx = date.today", ["venue-clock"]),
        ("async def f(): pass", ["venue-async"]),
        ("def f(xs): return (x async for x in xs)", ["venue-async"]),
        ("x = open('journal')", ["venue-call"]),
        ("x = hash('AAPL')", ["venue-call"]),
        ("x = id(object())", ["venue-call"]),
        ("x = float('1')", ["venue-call", "venue-float"]),
        ("x: float = 1", ["venue-float"]),
        ("x = 1.5", ["venue-float"]),
        ("x = 1e9", ["venue-float"]),
        ("x = 7 / 2", ["venue-float"]),
        ("x = 7\nx /= 2", ["venue-float"]),
    ],
)
def test_venue_rule_on_a_violation_finds_it(code: str, expected: list[str]) -> None:
    assert sorted(rules(list(lint_python(VENUE, code)))) == expected


def test_venue_rules_on_an_await_find_every_part() -> None:
    code = "async def f(x):\n    async with x:\n        await x\n"
    assert rules(list(lint_python(VENUE, code))) == ["venue-async"] * 3


@pytest.mark.parametrize(
    "code",
    [
        "import hashlib\nimport msgspec\nfrom decimal import Decimal\nfrom collections.abc import Mapping",
        "from trading_engine.venue.terms import Side\nfrom trading_engine import venue\nfrom . import terms",
        "from datetime import timedelta\ndef f(time_ns: int) -> int: return time_ns",
        "x = 7 // 2\nx *= 3\nx = 10**9",
        "def snapshot(now_ns: int) -> int: return now_ns",
        "class Book:\n    def open(self): ...\nbook = Book()\nbook.open()",
    ],
)
def test_venue_rules_on_clean_code_find_nothing(code: str) -> None:
    assert list(lint_python(VENUE, code)) == []


def test_venue_rules_let_only_the_conversion_divide() -> None:
    code = "from decimal import Decimal\nx = Decimal(7) / Decimal(2)"
    assert rules(list(lint_python(CONVERSION, code))) == []
    assert rules(list(lint_python(VENUE, code))) == ["venue-float"]


def test_venue_rules_let_only_the_fast_package_compile_and_one_module_look_at_the_disk() -> None:
    fast = VENUE.parent / "fast"
    assert rules(list(lint_python(fast / "order_book.py", "import numba\nimport numpy"))) == []
    assert rules(list(lint_python(VENUE, "import numba"))) == ["venue-import"]
    assert rules(list(lint_python(fast / "kept.py", "from pathlib import Path\nimport tempfile"))) == []
    assert rules(list(lint_python(fast / "kept.py", "import time"))) == ["venue-import"]
    assert rules(list(lint_python(fast / "order_book.py", "from pathlib import Path"))) == ["venue-import"]


def test_venue_rules_elsewhere_do_not_apply() -> None:
    assert list(lint_python(SERVER, "import time\nasync def f(): return 1.5 / time.time()")) == []


@pytest.mark.parametrize(
    ("path", "code", "expected"),
    [
        (SERVER, "try:\n    pass\nexcept:\n    pass", ["bare-except"]),
        (CLI, "try:\n    pass\nexcept:\n    pass", ["bare-except"]),
        (SERVER, "try:\n    pass\nexcept OSError:\n    pass", []),
        (SERVER, "print('ready')", ["print"]),
        (CLI, "print('ready')", []),
        (Path("src/trading_engine/cli.py"), "print('ready')", []),
        (Path("src/trading_engine/client/cli.py"), "print('ready')", ["print"]),
        (SERVER, "console.print('ready')", []),
    ],
)
def test_source_rule_at_each_place_finds_what_is_banned_there(path: Path, code: str, expected: list[str]) -> None:
    assert rules(list(lint_python(path, code))) == expected


@pytest.mark.parametrize(("line", "expected"), [(f"x = 1  # {MARKER}: later", ["leftover"]), ("maximum = 'XXXL'", [])])
def test_leftover_rule_finds_markers_but_not_words_that_hold_them(line: str, expected: list[str]) -> None:
    assert rules(list(lint_text(SERVER, line))) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("src/trading_engine/shared/utils.py", ["name"]),
        ("src/trading_engine/helpers/__init__.py", ["name"]),
        ("src/trading_engine/venue/common/book.py", ["name"]),
        ("src/trading_engine/venue/commands.py", []),
    ],
)
def test_name_rule_finds_packages_named_for_nothing(path: str, expected: list[str]) -> None:
    assert rules(list(lint_name(Path(path)))) == expected


@pytest.mark.parametrize("host", INDEX_HOSTS)
def test_host_rule_finds_every_index_host_in_any_case(host: str) -> None:
    assert list(lint_hosts(Path("x.lock"), f"name\nurl = https://files.{host.upper()}/x.whl")) == [
        Finding(Path("x.lock"), 2, "index-host", f"{host.upper()}: name the package, not where it is fetched from")
    ]


def test_host_rule_on_package_names_finds_nothing() -> None:
    assert list(lint_hosts(Path("README.md"), "pip install py-trading-engine; npm ci")) == []


def make_project(root: Path, files: dict[str, str]) -> Path:
    """A project with a command line that imports `venue`, and whatever else is said."""
    common = {
        "pyproject.toml": '[project]\nname = "x"\nscripts.trading-engine = "trading_engine.cli:main"\n',
        "src/trading_engine/__init__.py": '"""A package."""',
        "src/trading_engine/cli/__init__.py": "from trading_engine.venue import book",
        "src/trading_engine/venue/__init__.py": "",
        "src/trading_engine/venue/book.py": "x = 1",
    }
    for name, text in (common | files).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("files", "dead"),
    [
        ({}, []),
        ({"src/trading_engine/lost.py": "x = 1"}, ["src/trading_engine/lost.py"]),
        (
            {"src/trading_engine/lost.py": "x = 1", "tests/test_lost.py": "import trading_engine.lost"},
            ["src/trading_engine/lost.py"],
        ),
        ({"src/trading_engine/lost.py": "x = 1", "main.py": "import trading_engine.lost"}, []),
        ({"src/trading_engine/lost.py": "x = 1", "benchmarks/lost.py": "from trading_engine import lost"}, []),
        ({"src/trading_engine/lost.py": "x = 1", "src/trading_engine/venue/book.py": "from .. import lost"}, []),
        ({"src/trading_engine/lost.py": "x = 1", "src/trading_engine/venue/__init__.py": "from ..lost import x"}, []),
        (
            {
                "src/trading_engine/lost.py": "x = 1",
                "src/trading_engine/venue/book.py": "x = 'trading_engine.lost:app'",
            },
            [],
        ),
        (
            {
                "src/trading_engine/lost.py": "x = 1",
                "src/trading_engine/venue/book.py": '"""See trading_engine.lost."""',
            },
            ["src/trading_engine/lost.py"],
        ),
        ({"src/trading_engine/lost.py": "if __name__ == '__main__':\n    pass"}, []),
        ({"src/trading_engine/__main__.py": "import trading_engine.cli"}, []),
        ({"src/trading_engine/database/migrations/versions/0001_users.py": "x = 1"}, []),
        ({"src/trading_engine/servers/obs/strategy/newest_first.py": "NAME = 'newest-first'"}, []),
        (
            {
                "src/trading_engine/one.py": "import trading_engine.two",
                "src/trading_engine/two.py": "import trading_engine.one",
            },
            ["src/trading_engine/one.py", "src/trading_engine/two.py"],
        ),
    ],
    ids=[
        *(
            "clean",
            "unused",
            "only by tests",
            "by main",
            "by a benchmark",
            "relative",
            "relative from a package",
            "by name",
            "in prose",
        ),
        *("runs by itself", "package runs", "migration", "matching algorithm", "circle"),
    ],
)
def test_dead_module_rule_finds_what_no_entry_point_reaches(
    tmp_path: Path, files: dict[str, str], dead: list[str]
) -> None:
    findings = list(find_dead_modules(make_project(tmp_path, files)))
    assert [(finding.rule, str(finding.path)) for finding in findings] == [("dead-module", path) for path in dead]


FIRST, SECOND = ("v0001_a.py", "0001", None), ("v0002_b.py", "0002", "0001")


@pytest.mark.parametrize(
    ("migrations", "found"),
    [
        ([FIRST, SECOND], []),
        ([FIRST, SECOND, ("v0002_c.py", "0002", "0001")], ["not v0003", "revision is not '0003'", "down_revision is not '0002'"]),
        ([FIRST, SECOND, ("v0003_c.py", "0003", "0001")], ["down_revision is not '0002'"]),
        ([FIRST, ("v0002_b.py", "0003", "0001")], ["revision is not '0002'"]),
        ([("v0001_a.py", "0001", "0000")], ["down_revision is not None"]),
        ([("a.py", "0001", None)], ["not v0001"]),
    ],
    ids=["one chain", "one number twice", "two heads", "another number inside", "no beginning", "no number"],
)  # fmt: skip
def test_migration_rule_finds_what_is_no_chain(
    tmp_path: Path, migrations: list[tuple[str, str, str | None]], found: list[str]
) -> None:
    """The last migration is the wrong one; the database beside is whole."""
    for database, files in (("one", migrations), ("other", [FIRST])):
        folder = tmp_path / "src" / database / "migrations" / "versions"
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
        for name, revision, before in files:
            (folder / name).write_text(f"revision = {revision!r}\ndown_revision = {before!r}\n", encoding="utf-8")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    findings = find_broken_chains(tmp_path)
    assert {(finding.path.name, finding.rule) for finding in findings} <= {(migrations[-1][0], "migration-chain")}
    assert [finding.message[: len(words)] for finding, words in zip(findings, found, strict=True)] == found


def test_repository_files_are_those_that_git_would_commit(tmp_path: Path) -> None:
    root = make_project(tmp_path, {".gitignore": "var/\n", "var/journal": "x", "new.txt": "x"})
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    names = {str(path) for path in repository_files(root)}
    assert "new.txt" in names
    assert "var/journal" not in names


def test_repository_with_one_violation_of_each_kind_is_reported_in_order(tmp_path: Path) -> None:
    files = {
        "notes.txt": INDEX_HOSTS[0],
        "src/trading_engine/venue/book.py": "import time",
        "src/trading_engine/venue/static/page.js": f"// {MARKER}",
        "src/trading_engine/shared/utils.py": "print(1)",
        "picture.png": "",
    }
    root = make_project(tmp_path, files)
    (root / "picture.png").write_bytes(b"\x89PNG\xff\xfe")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    assert [(str(finding.path), finding.rule) for finding in lint_repository(root)] == [
        ("notes.txt", "index-host"),
        ("src/trading_engine/shared/utils.py", "dead-module"),
        ("src/trading_engine/shared/utils.py", "name"),
        ("src/trading_engine/shared/utils.py", "print"),
        ("src/trading_engine/venue/book.py", "venue-import"),
        ("src/trading_engine/venue/static/page.js", "leftover"),
    ]


def test_this_repository_names_no_index_host() -> None:
    for path in repository_files(ROOT):
        text = (ROOT / path).read_text(encoding="utf-8", errors="replace")
        assert list(lint_hosts(path, text)) == []
