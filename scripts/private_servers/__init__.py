"""Private servers of the kinds that a production venue stands on: for tests, and for people to try it (`make services`).

Each is the real program in a folder of its own, on a free port of loopback, with nothing shared with a server of the machine, and can be
stopped, killed and started again on what it left behind. Ready means that it has answered in its own protocol: a port accepts connections
long before that.

    with running(PostgreSQL) as server:
        connect(server.url)
"""

from private_servers.postgresql import PostgreSQL
from private_servers.qipc import QIPC
from private_servers.rabbitmq import RabbitMQ
from private_servers.redis import Redis
from private_servers.server import PrivateServer, ServerFailed, running

SERVERS: dict[str, type[PrivateServer]] = {server.name: server for server in (RabbitMQ, PostgreSQL, Redis, QIPC)}

__all__ = ["QIPC", "SERVERS", "PostgreSQL", "PrivateServer", "RabbitMQ", "Redis", "ServerFailed", "running"]
