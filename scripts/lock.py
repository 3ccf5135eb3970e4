"""Pin every package that this repository installs: `make lock`.

`requirements/lock.txt` is the lock: one resolution of everything, with hashes of all files of each release, valid on Python 3.11 to 3.13 on
Linux and macOS (markers tell where a line applies). The other lists are exported from it, so that a package has the same version in each:

| List | For | From pyproject.toml |
|---|---|---|
| base.txt | `make run` | dependencies |
| prod.txt | a production image | dependencies and the extra `prod` |
| dev.txt | `make test`, `make check` | dependencies, the extra `prod`, and the group `dev` |
| bootstrap.txt | the installer itself | the group `bootstrap` |
| clients.txt and the like: `CLIENTS`, `LARGE_CLIENTS` | tests with clients of other venues | the groups of these names, each by itself |

Not `uv.lock` and no other format of that kind, because those write the address of the package index into every entry: these lists install
the same from any mirror. Each list carries a digest of the tables that it was made from, so that a test can tell, without a network,
when it has fallen behind.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = "lock.txt"
EXPORTS: dict[str, list[str]] = {
    "base.txt": ["pyproject.toml"],
    "prod.txt": ["pyproject.toml", "--extra", "prod"],
    "dev.txt": ["pyproject.toml", "--extra", "prod", "--group", "dev"],
}
BOOTSTRAP = "bootstrap.txt"
CLIENTS = ["clients.txt", "binance-connector.txt", "alpaca-py.txt", "quickfix.txt"]
LARGE_CLIENTS = ["freqtrade.txt", "nautilus.txt", "cryptofeed.txt"]
"""Of more than 300 MB, or to be compiled: only `make soak` installs them and runs their tests."""
WITHOUT_WHEELS: dict[str, list[str]] = {"freqtrade.txt": ["sdnotify"], "cryptofeed.txt": ["cryptofeed", "yapic-json"]}
"""Packages that are released as sources only, and built where they are installed."""
NEWER_LINUX = {
    "x86_64-unknown-linux-gnu": "x86_64-manylinux_2_35",
    "aarch64-unknown-linux-gnu": "aarch64-manylinux_2_35",
}
"""Where the large clients' wheels can be installed: a Linux of 2022. Elsewhere their tests do not run, and say so."""
OF_ONE_GROUP = [BOOTSTRAP, *CLIENTS, *LARGE_CLIENTS]
LISTS = [LOCK, *EXPORTS, *OF_ONE_GROUP]
INTEL_MAC = "x86_64-apple-darwin"
"""Where some of the clients cannot be installed: tests with them do not run there, and say so."""
PLATFORMS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "aarch64-apple-darwin", INTEL_MAC]
PYTHONS = ["3.11", "3.12", "3.13"]
DIGEST_LABEL = "# digest of the dependency tables: "


def wheels_only(target: str) -> list[str]:
    """The installer's options: nothing is built but what cannot be had otherwise."""
    return ["--only-binary", ":all:", *(f"--no-binary={package}" for package in WITHOUT_WHEELS.get(target, ()))]


def dependency_digest(pyproject: Path, target: str) -> str:
    """The digest of everything in pyproject.toml that decides what a list holds."""
    document = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    project, groups = document["project"], document["dependency-groups"]
    tables = {"requires-python": project["requires-python"]}
    if target in OF_ONE_GROUP:
        tables["group"] = groups[target.removesuffix(".txt")]
    else:  # The others come from one resolution, which each table may change.
        tables |= {
            "dependencies": project["dependencies"],
            "extras": project["optional-dependencies"],
            "group": groups["dev"],
        }
    return hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()


def recorded_digest(requirements: Path) -> str:
    """The digest that a list was made from; empty when it says none."""
    for line in requirements.read_text(encoding="utf-8").splitlines():
        if line.startswith(DIGEST_LABEL):
            return line.removeprefix(DIGEST_LABEL)
    return ""


def _compile(target: str, sources: list[str], options: list[str]) -> None:
    path = ROOT / "requirements" / target
    command = [sys.executable, "-m", "uv", "pip", "compile", *sources, "--universal", "--python-version", "3.11"]
    command += ["--generate-hashes", *wheels_only(target), "--no-header", "--quiet", *options]
    command += ["--output-file", str(path)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    digest = dependency_digest(ROOT / "pyproject.toml", target)
    header = f"# Made by `make lock` from pyproject.toml; do not edit.\n{DIGEST_LABEL}{digest}\n"
    path.write_text(header + path.read_text(encoding="utf-8"), encoding="utf-8")


def _check_wheels(target: str, platform: str, python: str) -> None:
    """A release without a wheel for this platform would fail to install there: fail here instead, naming it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "uv", "pip", "install", "--dry-run", "--quiet", "--target", folder]
        command += ["--python-platform", platform, "--python-version", python]
        command += [*wheels_only(target), "--require-hashes", "-r", f"requirements/{target}"]
        if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
            sys.exit(f"error: requirements/{target} cannot be installed with Python {python} on {platform}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Pin all packages again.")
    parser.add_argument(
        "--upgrade", action="store_true", help="take the newest versions; otherwise what is pinned stays where it can"
    )
    upgrade = ["--upgrade"] if parser.parse_args().upgrade else []
    print("==> Resolving requirements/lock.txt")
    _compile(LOCK, ["pyproject.toml", "--all-extras", "--group", "dev"], upgrade)
    for target, sources in EXPORTS.items():
        print(f"==> Exporting requirements/{target}")
        _compile(target, sources, ["--no-annotate", "--constraint", f"requirements/{LOCK}"])
    for target in OF_ONE_GROUP:
        print(f"==> Resolving requirements/{target}")
        _compile(target, ["--group", target.removesuffix(".txt")], ["--no-annotate", *upgrade])
    print("==> Checking that every platform finds its wheels")
    for platform in PLATFORMS:
        for python in PYTHONS:
            _check_wheels("dev.txt", platform, python)
            _check_wheels(BOOTSTRAP, platform, python)
            for target in CLIENTS if platform != INTEL_MAC else ():
                _check_wheels(target, platform, python)
            for target in LARGE_CLIENTS if platform in NEWER_LINUX else ():
                _check_wheels(target, NEWER_LINUX[platform], python)


if __name__ == "__main__":
    main()
