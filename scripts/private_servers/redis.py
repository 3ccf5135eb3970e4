"""A private Redis that keeps an append-only file, so that what was acknowledged is there again after a restart."""

import shutil
import socket
from pathlib import Path

from private_servers.server import PrivateServer


class Redis(PrivateServer):
    name = "redis"
    debian_package = "redis-server"
    how_to_get_it = "install Redis (Debian, Ubuntu: redis-server; macOS: brew install redis)"
    url_variable = "TEST_REDIS_URL"

    @classmethod
    def is_installed(cls) -> bool:
        return shutil.which("redis-server") is not None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def prepare(self) -> None:
        (self.folder / "data").mkdir(exist_ok=True)

    def command(self) -> list[str | Path]:
        place = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder / "data")]
        return ["redis-server", *place, "--daemonize", "no", "--appendonly", "yes", "--save", ""]

    def answers(self, connection: socket.socket) -> bool:
        """While it loads its file, it answers with an error."""
        connection.sendall(b"PING\r\n")
        return connection.recv(64).startswith(b"+PONG")
