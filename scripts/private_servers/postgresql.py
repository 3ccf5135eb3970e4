"""A private PostgreSQL. It refuses to run as root, so for root it runs as an account that Debian's package or every system has."""

import os
import pwd
import re
import shutil
import signal
import socket
import struct
from contextlib import suppress
from pathlib import Path

from private_servers.server import PrivateServer, ServerFailed

PLACES = (
    Path("/usr/lib/postgresql"),  # Debian, Ubuntu: <version>/bin
    Path("/opt/homebrew/opt"),  # macOS: postgresql@<version>/bin
    Path("/usr/local/opt"),
)
ACCOUNTS = ("postgres", "nobody")
PROTOCOL_VERSION = 3 << 16
AUTHENTICATION = b"R"


def find_binaries() -> Path | None:
    """The folder with `initdb` and `postgres`, the newest; what is on the path is preferred."""
    found = shutil.which("initdb")
    if found and shutil.which("postgres"):
        return Path(found).resolve().parent
    folders = [
        path.parent for place in PLACES for path in place.glob("*/bin/initdb") if (path.parent / "postgres").is_file()
    ]
    return max(folders, key=_version, default=None)


def _version(folder: Path) -> int:
    digits = re.search(r"\d+", folder.parent.name)
    return int(digits.group()) if digits else 0


class PostgreSQL(PrivateServer):
    """Superuser `postgres` without a password; the socket and the data are in the folder."""

    name = "postgresql"
    debian_package = "postgresql"
    how_to_get_it = "install PostgreSQL (Debian, Ubuntu: postgresql; macOS: brew install postgresql)"
    url_variable = "TEST_POSTGRESQL_URL"
    stop_signal = signal.SIGINT  # "fast": with SIGTERM it would wait for its clients to go

    @classmethod
    def is_installed(cls) -> bool:
        return find_binaries() is not None

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def account(self) -> tuple[int, int] | None:
        if os.geteuid() != 0:
            return None
        for name in ACCOUNTS:
            with suppress(KeyError):
                entry = pwd.getpwnam(name)
                return entry.pw_uid, entry.pw_gid
        raise ServerFailed(f"PostgreSQL does not run as root, and there is no account of {', '.join(ACCOUNTS)}")

    def prepare(self) -> None:
        account = self.account()
        if account is not None:
            os.chown(self.folder, *account)
        data = self.folder / "data"
        if (data / "PG_VERSION").exists():
            return
        arguments = ["-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"]
        initializing = self.spawn([_binary("initdb"), *arguments])
        if initializing.wait() != 0:
            raise ServerFailed(f"initdb failed:\n{self.log()}")

    def command(self) -> list[str | Path]:
        data = self.folder / "data"
        settings = ["max_connections=200", "listen_addresses=127.0.0.1", f"unix_socket_directories={self.folder}"]
        options = [option for setting in settings for option in ("-c", setting)]
        return [_binary("postgres"), "-D", data, "-p", str(self.port), *options]

    def answers(self, connection: socket.socket) -> bool:
        """It lets us in; while it starts or recovers, it answers with an error."""
        parameters = b"user\0postgres\0database\0postgres\0\0"
        connection.sendall(struct.pack("!ii", 8 + len(parameters), PROTOCOL_VERSION) + parameters)
        return connection.recv(1) == AUTHENTICATION


def _binary(name: str) -> Path:
    folder = find_binaries()
    assert folder is not None
    return folder / name
