"""Find the browser that the end-to-end tests drive, and install one where that can be done: `python scripts/chromium.py`.

Any Chromium or Chrome of the machine serves. As root on Debian or Ubuntu a missing one is installed; elsewhere the tests that need one say
loudly that they did not run (and under CI fail).
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MACOS_APPLICATIONS = ("Chromium.app/Contents/MacOS/Chromium", "Google Chrome.app/Contents/MacOS/Google Chrome")
HOW_TO_GET_ONE = "install Chromium or Chrome, or name one in CHROMIUM_PATH"

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
"""For a browser that opens pages of this machine only: it needs no sandbox (root cannot have one), and must not call home."""


def find_chromium() -> Path | None:
    """The browser's executable; None where there is none. CHROMIUM_PATH wins."""
    chosen = os.environ.get("CHROMIUM_PATH")
    if chosen:
        return Path(chosen)
    for name in NAMES:
        found = shutil.which(name)
        if found and _starts(Path(found)):
            return Path(found)
    for folder in (Path("/Applications"), Path.home() / "Applications"):
        for application in MACOS_APPLICATIONS:
            if (folder / application).is_file():
                return folder / application
    return None


def _starts(path: Path) -> bool:
    """Whether it is a browser: on some systems the name is that of a script that only tells how to get one."""
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _install() -> bool:
    """Through the system's packages; returns whether there was a way to try."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    print("==> Installing Chromium for the browser tests (apt-get install chromium)", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", "chromium"]):
        done = subprocess.run(
            ["apt-get", *command], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False
        )
        if done.returncode != 0:
            print(f"apt-get {command[0]} failed", file=sys.stderr)
            return True
    return True


def main() -> None:
    if find_chromium() or (_install() and find_chromium()):
        return
    print(f"==> No browser was found: the browser tests will not run. To run them, {HOW_TO_GET_ONE}", file=sys.stderr)


if __name__ == "__main__":
    main()
