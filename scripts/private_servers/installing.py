"""Install the servers that are missing, where that can be done: as root on Debian or Ubuntu.

Only their programs are wanted: nothing that the packages would start or enable is started.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from private_servers.server import PrivateServer

START_POLICY = Path("/usr/sbin/policy-rc.d")
"""Asked by Debian's packages before they start a service; 101 means that it may not be."""


def install_missing(kinds: Iterable[type[PrivateServer]]) -> list[type[PrivateServer]]:
    """Returns those that are missing still."""
    missing = [kind for kind in kinds if not kind.is_installed()]
    packages = [kind.debian_package for kind in missing if kind.debian_package]
    if packages and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"==> Installing servers for the tests (apt-get install {' '.join(packages)})", flush=True)
        with _nothing_is_started():
            _apt_get("update", "-qq") and _apt_get("install", "-qq", "-y", "--no-install-recommends", *packages)
    return [kind for kind in missing if not kind.is_installed()]


@contextmanager
def _nothing_is_started() -> Iterator[None]:
    if START_POLICY.exists():
        yield  # The administrator has a policy; it is not ours to replace.
        return
    START_POLICY.write_text("#!/bin/sh\nexit 101\n")
    START_POLICY.chmod(0o755)
    try:
        yield
    finally:
        START_POLICY.unlink(missing_ok=True)


def _apt_get(*arguments: str) -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        ["apt-get", *arguments], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False
    )
    if done.returncode != 0:
        print(f"apt-get {arguments[0]} failed", file=sys.stderr)
    return done.returncode == 0
