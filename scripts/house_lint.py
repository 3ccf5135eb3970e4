"""The rules of this house that no general tool knows: `make check`, or `python scripts/house_lint.py`.

Four kinds of rule, each a function that yields findings:

- Of the package `venue`, which is a pure function of its log: nothing of the clock, chance, the outside world, or binary floating point.
  `conversion.py`, where decimal strings become integers, may divide: it divides decimals.
- Of all sources: no bare `except`, no `print` outside the command line, no leftover markers, no package named for nothing, no dead module.
- Of the migrations of each database: one chain without gaps.
- Of every file of the repository: no host of a package index. Lists and locks then install the same from any mirror.

A module is dead when no entry point reaches it: `main.py`, a script, a benchmark, a module that can be run with `-m`, the entry points of
pyproject.toml, the migrations, which Alembic finds by their place, and the matching algorithms, which the OBS finds by theirs. Reaching
is importing, or naming the module in a string, as servers and `python -m` do. Tests do not count: what only tests use is dead.

Every rule has a violating and a clean sample in tests/unit/test_house_lint.py. There is no way to switch a rule off for one line: a rule
that needs that is the wrong rule.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "trading_engine"


@dataclass(frozen=True, order=True)
class Finding:
    path: Path
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.message}"


# --- The venue is pure ---------------------------------------------------------------------------------------------------------------

VENUE_BANNED_MODULES = {
    "the clock": {"calendar", "sched", "time", "zoneinfo"},
    "chance": {"random", "secrets", "uuid"},
    "the outside world": {
        *(
            "argparse",
            "fcntl",
            "glob",
            "http",
            "io",
            "mmap",
            "os",
            "pathlib",
            "platform",
            "pickle",
            "shutil",
            "signal",
            "socket",
        ),
        *("sqlite3", "ssl", "subprocess", "sys", "tempfile", "urllib"),
    },
    "logging": {"logging", "warnings"},
    "concurrency": {
        "asyncio",
        "concurrent",
        "contextvars",
        "multiprocessing",
        "queue",
        "select",
        "selectors",
        "threading",
    },
    "floating point": {"cmath", "statistics"},
}
VENUE_BANNED_CALLS = {
    "float": "binary floating point is never exact: use integers, or decimals at the edge",
    "complex": "binary floating point is never exact: use integers",
    "open": "the venue reads and writes nothing",
    "input": "the venue reads and writes nothing",
    "hash": "differs from process to process for strings: use hashlib over canonical bytes",
    "id": "differs from process to process",
    "eval": "not from a pure package",
    "exec": "not from a pure package",
    "__import__": "not from a pure package",
}
VENUE_BANNED_ATTRIBUTES = {"now", "utcnow", "today"}
VENUE_THIRD_PARTY = {"msgspec"}
VENUE_FAST_THIRD_PARTY = {"llvmlite", "numba", "numpy"}
"""Also in the package `fast`."""
VENUE_MAY_ASK_THE_SYSTEM = {"kept.py", "state.py"}
"""Where machine code is kept, and memory: that changes how soon a result is there, never the result."""
VENUE_MAY_DIVIDE = {"conversion.py"}


def lint_venue(path: Path, tree: ast.Module) -> Iterator[Finding]:
    """The rules of the pure package, for one module of it."""
    for node in ast.walk(tree):
        for rule, message in (*_impure_imports(node, path), *_impure_code(node), *_floating_point(node, path.name)):
            place = node.target if isinstance(node, ast.comprehension) else node
            yield Finding(path, getattr(place, "lineno", 1), rule, message)


def _impure_imports(node: ast.AST, path: Path) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Import):
        modules = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.level == 0:
        names = [alias.name for alias in node.names]
        modules = [f"{PACKAGE}.{name}" for name in names] if node.module == PACKAGE else [node.module or ""]
    else:
        return
    packages = VENUE_THIRD_PARTY | (VENUE_FAST_THIRD_PARTY if path.parent.name == "fast" else set())
    for module in modules:
        top = module.partition(".")[0]
        for subject, banned in VENUE_BANNED_MODULES.items():
            if top in banned and not (subject == "the outside world" and path.name in VENUE_MAY_ASK_THE_SYSTEM):
                yield "venue-import", f"{module}: {subject} does not belong in the venue"
        if top not in sys.stdlib_module_names and top not in packages and top != PACKAGE:
            yield (
                "venue-import",
                f"{module}: not one of the packages that the venue may use ({', '.join(sorted(packages))})",
            )
        if top == PACKAGE and not (module + ".").startswith(f"{PACKAGE}.venue."):
            yield "venue-import", f"{module}: the venue imports nothing of the project but itself"


def _impure_code(node: ast.AST) -> Iterator[tuple[str, str]]:
    asynchronous = isinstance(node, ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await)
    if asynchronous or (isinstance(node, ast.comprehension) and node.is_async):
        yield "venue-async", "the venue is synchronous"
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in VENUE_BANNED_CALLS:
        yield "venue-call", f"{node.func.id}(): {VENUE_BANNED_CALLS[node.func.id]}"
    elif isinstance(node, ast.Attribute) and node.attr in VENUE_BANNED_ATTRIBUTES:
        yield "venue-clock", f".{node.attr}: time is an input, stamped when a command is sequenced"


def _floating_point(node: ast.AST, filename: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
        yield "venue-float", f"{node.value!r}: use integers"
    elif (
        isinstance(node, ast.BinOp | ast.AugAssign)
        and isinstance(node.op, ast.Div)
        and filename not in VENUE_MAY_DIVIDE
    ):
        yield "venue-float", "true division makes a float: use // and say how it rounds"
    elif isinstance(node, ast.Name) and node.id == "float" and isinstance(node.ctx, ast.Load):
        yield "venue-float", "float: use integers"


# --- All sources ---------------------------------------------------------------------------------------------------------------------

LEFTOVER = re.compile(r"\b(TODO|FIXME|XXX)\b")
SOURCE_SUFFIXES = {".py", ".js", ".mjs", ".css", ".html", ".sql", ".sh", ".yaml", ".toml", ".ini", ".mako"}
NAMELESS = {"utils", "util", "helpers", "helper", "misc", "common", "impl"}


def lint_source(path: Path, tree: ast.Module, *, is_command_line: bool) -> Iterator[Finding]:
    """The rules of every Python module under src."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield Finding(path, node.lineno, "bare-except", "say which exception, and what is done about it")
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "print"
            and not is_command_line
        ):
            yield Finding(
                path, node.lineno, "print", "only the command line prints: log, or return what there is to say"
            )


def lint_text(path: Path, text: str) -> Iterator[Finding]:
    """The rules of every text file under src."""
    for number, line in enumerate(text.splitlines(), 1):
        found = LEFTOVER.search(line)
        if found:
            yield Finding(path, number, "leftover", f"{found.group()}: do it, or file an issue")


def lint_name(path: Path) -> Iterator[Finding]:
    """A package is named for what it does."""
    for part in (*path.parent.parts, path.stem):
        if part.lower().strip("_") in NAMELESS:
            yield Finding(path, 1, "name", f"{part} says nothing of what it does")


# --- Dead modules --------------------------------------------------------------------------------------------------------------------

DOTTED = re.compile(rf"\b{PACKAGE}(?:\.\w+)+")


def find_dead_modules(root: Path) -> Iterator[Finding]:
    """Modules that no entry point reaches. `root` holds src, pyproject.toml and, where there are any, main.py, scripts and benchmarks."""
    source = root / "src"
    paths = [path for path in sorted((source / PACKAGE).rglob("*.py")) if "node_modules" not in path.parts]
    modules = {_module_name(path.relative_to(source)): path for path in paths}
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in modules.items()}
    found: set[str] = set()
    waiting = [
        *_outside_references(root),
        *_declared_entry_points(root),
        *(n for n, t in trees.items() if _is_entry_point(modules[n], t)),
    ]
    while waiting:
        name = waiting.pop()
        if name in found or name not in trees:
            continue
        found.add(name)
        waiting += _references(trees[name], name, is_package=modules[name].name == "__init__.py")
        waiting.append(name.rpartition(".")[0])
    for name in sorted(modules.keys() - found):
        if trees[name].body:
            yield Finding(
                modules[name].relative_to(root), 1, "dead-module", f"{name}: nothing uses it but, at most, tests"
            )


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _outside_references(root: Path) -> Iterator[str]:
    paths = [root / "main.py", *(root / "scripts").rglob("*.py"), *(root / "benchmarks").rglob("*.py")]
    for path in paths:
        if path.is_file():
            yield from _references(ast.parse(path.read_text(encoding="utf-8")), "", is_package=False)


def _declared_entry_points(root: Path) -> Iterator[str]:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tables = [project.get("scripts", {}), project.get("gui-scripts", {}), *project.get("entry-points", {}).values()]
    for table in tables:
        for target in table.values():
            yield target.partition(":")[0]


def _is_entry_point(path: Path, tree: ast.Module) -> bool:
    if path.name == "__main__.py" or "migrations" in path.parts or path.parent.parts[-2:] == ("obs", "strategy"):
        return True
    return any(isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'" for node in tree.body)


def _references(tree: ast.Module, module: str, *, is_package: bool) -> Iterator[str]:
    """Every name that the tree imports or writes in a string, as `a.b.c`; some are not modules, which does no harm."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = _package_imported_from(node, module, is_package=is_package)
            yield package
            yield from (f"{package}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not _is_prose(node.value):
            yield from DOTTED.findall(node.value)


def _is_prose(text: str) -> bool:
    """Docstrings and messages may mention a module without using it."""
    return " " in text.strip()


def _package_imported_from(node: ast.ImportFrom, module: str, *, is_package: bool) -> str:
    if node.level == 0:
        return node.module or ""
    parts = module.split(".")
    parts = parts[: len(parts) - node.level + (1 if is_package else 0)]
    return ".".join([*parts, node.module] if node.module else parts)


# --- Migrations ----------------------------------------------------------------------------------------------------------------------

MIGRATION_NAME = re.compile(r"v(\d{4})_\w+\.py")


def find_broken_chains(root: Path) -> list[Finding]:
    """The migrations of each database are one chain: numbered from 0001 without gaps, each after the one before it.

    Two branches that each add the next one merge without a conflict, and the database then has two heads.
    """
    folders: dict[Path, list[Path]] = {}
    for path in repository_files(root):
        if path.parts[-3:-1] == ("migrations", "versions") and path.name != "__init__.py" and path.suffix == ".py":
            folders.setdefault(path.parent, []).append(path)
    return [finding for paths in folders.values() for finding in _lint_chain(root, paths)]


def _lint_chain(root: Path, paths: list[Path]) -> Iterator[Finding]:
    for number, path in enumerate(paths, 1):
        expected = f"{number:04}"
        name = MIGRATION_NAME.fullmatch(path.name)
        if name is None or name[1] != expected:
            yield Finding(path, 1, "migration-chain", f"not v{expected}_….py: numbers are given once and without gaps")
        said = _assigned_constants(ast.parse((root / path).read_text(encoding="utf-8")))
        before = f"{number - 1:04}" if number > 1 else None
        for variable, value in (("revision", expected), ("down_revision", before)):
            if said.get(variable, "") != value:
                yield Finding(path, 1, "migration-chain", f"{variable} is not {value!r}")


def _assigned_constants(tree: ast.Module) -> dict[str, object]:
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


# --- Every file of the repository ----------------------------------------------------------------------------------------------------

INDEX_HOSTS = [
    ".".join(labels)
    for labels in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"), ("yarnpkg", "com"))
]
INDEX_HOST = re.compile("|".join(map(re.escape, INDEX_HOSTS)), re.IGNORECASE)


def lint_hosts(path: Path, text: str) -> Iterator[Finding]:
    """No file names a host of a package index."""
    for number, line in enumerate(text.splitlines(), 1):
        found = INDEX_HOST.search(line)
        if found:
            yield Finding(
                path, number, "index-host", f"{found.group()}: name the package, not where it is fetched from"
            )


def repository_files(root: Path) -> list[Path]:
    """What is, or would be, committed; relative to root."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
    return sorted(Path(name) for name in names if name and (root / name).is_file())


def lint_repository(root: Path) -> list[Finding]:
    """All rules on all files."""
    findings: list[Finding] = []
    for path in repository_files(root):
        try:
            text = (root / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        findings += lint_hosts(path, text)
        if path.parts[:2] == ("src", PACKAGE):
            findings += lint_name(path)
            findings += lint_text(path, text) if path.suffix in SOURCE_SUFFIXES else ()
            findings += lint_python(path, text) if path.suffix == ".py" else ()
    return sorted([*findings, *find_dead_modules(root), *find_broken_chains(root)])


def lint_python(path: Path, text: str) -> Iterator[Finding]:
    """The rules that hold for a Python module at this place, `path` being relative to the repository."""
    tree = ast.parse(text, filename=str(path))
    inner = path.parts[2:]
    yield from lint_source(path, tree, is_command_line=inner[0] in ("cli", "cli.py"))
    if inner[0] == "venue":
        yield from lint_venue(path, tree)


def main() -> None:
    findings = lint_repository(ROOT)
    for finding in findings:
        print(finding)
    if findings:
        sys.exit(f"{len(findings)} finding{'s' if len(findings) > 1 else ''}")


if __name__ == "__main__":
    main()
