"""Environments for clients of other venues, which tests drive unchanged: `python scripts/client_environments.py [--large]`.

These clients pin what they need to exact versions, and two of them call their package by the same name; so each list of
`requirements/` named in `lock.CLIENTS`, and with `--large` also in `lock.LARGE_CLIENTS`, has an environment of its own in `.clients/`,
with the interpreter of this one, or with another one of the machine where a client is made for that alone. One that is there and up to date
costs nothing, and needs no network.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from lock import CLIENTS, LARGE_CLIENTS, ROOT, wheels_only

FOLDER = ROOT / ".clients"
UV = [sys.executable, "-m", "uv"]
ONE_PYTHON = {"quickfix": "3.11"}
"""Environments whose client has a wheel for one Python alone."""


def interpreter_for(name: str) -> str | None:
    """What an environment is made with: this interpreter, or the one of the machine that it needs; None where there is none."""
    version = ONE_PYTHON.get(name)
    if version is None or version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    command = [*UV, "python", "find", "--system", "--no-python-downloads", version]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else None


def client_python(name: str) -> Path | None:
    """The interpreter of an environment, such as `clients`; None where it is not there or not up to date."""
    folder = FOLDER / name
    installed, wanted = folder / "installed.txt", ROOT / "requirements" / f"{name}.txt"
    if not installed.is_file() or installed.read_bytes() != wanted.read_bytes():
        return None
    if name in ONE_PYTHON and not (folder / "lib" / f"python{ONE_PYTHON[name]}").is_dir():
        return None
    return folder / "bin" / "python"


def _make(name: str, interpreter: str) -> None:
    folder, wanted = FOLDER / name, ROOT / "requirements" / f"{name}.txt"
    print(f"==> Installing the clients of requirements/{name}.txt, to test with them", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([*UV, "venv", "--quiet", "--python", interpreter, str(folder)], check=True)
    options = ["--quiet", "--require-hashes", *wheels_only(wanted.name), "--python", str(folder / "bin" / "python")]
    subprocess.run([*UV, "pip", "install", *options, "-r", str(wanted)], check=True)
    shutil.copyfile(wanted, folder / "installed.txt")


def main() -> None:
    parser = argparse.ArgumentParser(description="Install the clients of other venues that tests drive.")
    parser.add_argument("--large", action="store_true", help="also those that only the soak tests use")
    for target in [*CLIENTS, *(LARGE_CLIENTS if parser.parse_args().large else ())]:
        name = target.removesuffix(".txt")
        if client_python(name) is None:
            _try_to_make(name)


def _try_to_make(name: str) -> None:
    interpreter = interpreter_for(name)
    problem = f"There is no Python {ONE_PYTHON.get(name)}, the only one that they are made for"
    if interpreter is not None:
        try:
            _make(name, interpreter)
        except subprocess.CalledProcessError:
            problem = "They could not be installed"
        else:
            return
    print(f"==> {problem}: tests with the clients of {name}.txt will not run", file=sys.stderr)


if __name__ == "__main__":
    main()
