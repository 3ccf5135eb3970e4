"""A private server that speaks kdb+'s protocol (qIPC): chili-pie, since a q server needs a licence."""

import shutil
import socket
import sys
from pathlib import Path

from private_servers.server import PrivateServer

PROTOCOL_VERSION = b"\x03"


def find_server() -> Path | None:
    """Beside the interpreter, where pip puts it, or on the path."""
    beside = Path(sys.executable).parent / "chili"
    found = beside if beside.is_file() else shutil.which("chili")
    return Path(found) if found else None


class QIPC(PrivateServer):
    """`boot_script` (of the language pepper, `*.pep`) is run before it serves; write it before `start`."""

    name = "qipc"
    how_to_get_it = "install the development packages (make environment-dev has chili-pie)"
    url_variable = "TEST_QIPC_URL"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.boot_script = ""

    @classmethod
    def is_installed(cls) -> bool:
        return find_server() is not None

    @property
    def url(self) -> str:
        return f"qipc://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        (self.folder / "boot.pep").write_text(self.boot_script)

    def command(self) -> list[str | Path]:
        server = find_server()
        assert server is not None
        return [server, "-P", "-p", str(self.port), "--headless", self.folder / "boot.pep"]

    def answers(self, connection: socket.socket) -> bool:
        """To the greeting it answers with its protocol version."""
        connection.sendall(b"ready:" + PROTOCOL_VERSION + b"\x00")
        return len(connection.recv(1)) == 1
