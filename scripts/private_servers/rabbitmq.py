"""A private RabbitMQ, as any user. Debian's wrapper on the path insists on root or its own user, so the script below it is started.

Erlang nodes find each other through `epmd`. A node that finds none starts one that outlives it, so each server here gets its own
beforehand.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from private_servers.server import POLL_S, PrivateServer, ServerFailed, free_port, kill_group

PROGRAM_VARIABLE = "TEST_RABBITMQ_SERVER"
"""Environment variable with the `rabbitmq-server` to start instead of the machine's: that of another version."""
DEBIAN_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
EPMD_TIMEOUT_S = 10.0
EPMD_NAMES_REQUEST = b"\x00\x01n"
AMQP_HEADER = b"AMQP\x00\x00\x09\x01"
METHOD_FRAME = b"\x01"


def find_server() -> Path | None:
    named = os.environ.get(PROGRAM_VARIABLE)
    if named:
        return Path(named)
    if DEBIAN_SERVER.is_file():
        return DEBIAN_SERVER
    found = shutil.which("rabbitmq-server")
    return Path(found) if found else None


class RabbitMQ(PrivateServer):
    name = "rabbitmq"
    debian_package = "rabbitmq-server"
    how_to_get_it = "install RabbitMQ (Debian, Ubuntu: rabbitmq-server; macOS: brew install rabbitmq)"
    url_variable = "TEST_RABBITMQ_URL"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._distribution_port = free_port()
        self._epmd_port = free_port()
        self._epmd: subprocess.Popen[bytes] | None = None

    @classmethod
    def is_installed(cls) -> bool:
        return find_server() is not None and shutil.which("epmd") is not None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def prepare(self) -> None:
        for name in ("home", "data", "logs"):
            (self.folder / name).mkdir(exist_ok=True)
        (self.folder / "environment.conf").touch()
        (self.folder / "enabled_plugins").write_text("[].\n")
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.default = 127.0.0.1:{self.port}\nlog.console = true\nlog.console.level = warning\n"
            "log.file = false\nvm_memory_high_watermark.absolute = 1GB\ndisk_free_limit.absolute = 50MB\n"
        )
        if self._epmd is None:
            self._start_epmd()

    def command(self) -> list[str | Path]:
        server = find_server()
        assert server is not None
        return [server]

    def environment(self) -> Mapping[str, str]:
        return {
            "HOME": str(self.folder / "home"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "environment.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_NODENAME": f"t{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
            ),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RUNNING_UNDER_SYSTEMD": "true",  # the script then becomes the server, instead of waiting for one
        }

    def answers(self, connection: socket.socket) -> bool:
        """It opens with the method `Connection.Start`; while it starts, it hangs up."""
        connection.sendall(AMQP_HEADER)
        return connection.recv(1) == METHOD_FRAME

    def stop(self) -> None:
        super().stop()
        epmd, self._epmd = self._epmd, None
        if epmd is not None:
            kill_group(epmd)

    def _start_epmd(self) -> None:
        self._epmd = self.spawn(["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"])
        deadline = time.monotonic() + EPMD_TIMEOUT_S
        while not _epmd_answers(self._epmd_port):
            if self._epmd.poll() is not None or time.monotonic() > deadline:
                raise ServerFailed(f"epmd did not start:\n{self.log()}")
            time.sleep(POLL_S)


def _epmd_answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0) as connection:
            connection.sendall(EPMD_NAMES_REQUEST)
            return len(connection.recv(4)) > 0
    except OSError:
        return False
