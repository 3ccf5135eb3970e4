"""Environments for clients of other venues, which tests drive unchanged: `python scripts/client_environments.py [--large]`.

These clients pin what they need to exact versions, and two of them call their package by the same name; so each list of
`requirements/` named in `lock.CLIENTS`, and with `--large` also in `lock.LARGE_CLIENTS`, has an environment of its own in `.clients/`,
with the interpreter of this one. One that is there and up to date costs nothing, and needs no network.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from lock import CLIENTS, LARGE_CLIENTS, ROOT, wheels_only

FOLDER = ROOT / ".clients"


def client_python(name: str) -> Path | None:
    """The interpreter of an environment, such as `clients`; None where it is not there or not up to date."""
    folder = FOLDER / name
    installed, wanted = folder / "installed.txt", ROOT / "requirements" / f"{name}.txt"
    if not installed.is_file() or installed.read_bytes() != wanted.read_bytes():
        return None
    return folder / "bin" / "python"


def _make(name: str) -> None:
    folder, wanted = FOLDER / name, ROOT / "requirements" / f"{name}.txt"
    print(f"==> Installing the clients of requirements/{name}.txt, to test with them", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    options = ["--quiet", "--require-hashes", *wheels_only(wanted.name), "--python", str(folder / "bin" / "python")]
    subprocess.run([*uv, "pip", "install", *options, "-r", str(wanted)], check=True)
    shutil.copyfile(wanted, folder / "installed.txt")


def main() -> None:
    parser = argparse.ArgumentParser(description="Install the clients of other venues that tests drive.")
    parser.add_argument("--large", action="store_true", help="also those that only the soak tests use")
    for target in [*CLIENTS, *(LARGE_CLIENTS if parser.parse_args().large else ())]:
        name = target.removesuffix(".txt")
        if client_python(name) is None:
            try:
                _make(name)
            except subprocess.CalledProcessError:
                print(
                    f"==> They could not be installed: tests with the clients of {target} will not run", file=sys.stderr
                )


if __name__ == "__main__":
    main()
