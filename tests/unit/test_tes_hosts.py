"""By which names a server may be called, as its configuration is."""

import pytest

from trading_engine.servers.tes.errors import ApiError
from trading_engine.servers.tes.hosts import KNOWN_MAX, Hosts
from trading_engine.shared.config import TesConfig

LOCAL = [
    "localhost",
    "LocalHost:8000",
    "localhost.:8000",
    "127.0.0.1",
    "127.0.0.1:8000",
    "[::1]:8000",
    "192.0.2.1:8000",
]
FOREIGN = ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "", "é"]


def takes(hosts: Hosts, *values: str) -> bool:
    try:
        hosts.check([(b"accept", b"*/*"), *((b"host", value.encode("latin-1")) for value in values)])
    except ApiError as error:
        return (error.code, error.status, error.body.field) != ("HOST_NOT_ALLOWED", 421, "Host")
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_server_for_this_machine_is_called_by_its_names_and_by_addresses_alone(host: str) -> None:
    hosts = Hosts(TesConfig(host=host))
    for _ in range(2):
        assert [takes(hosts, value) for value in LOCAL] == [True] * len(LOCAL)
        assert [takes(hosts, value) for value in FOREIGN] == [False] * len(FOREIGN)
    assert takes(hosts), "no browser leaves it out"
    assert not takes(hosts, "localhost", "evil.example")


@pytest.mark.parametrize(
    "tes", [TesConfig(host="0.0.0.0"), TesConfig(trusted_proxies=("127.0.0.1",)), TesConfig(allowed_hosts=("*",))]
)
def test_server_that_others_reach_is_called_by_any_name_unless_it_says_by_which(tes: TesConfig) -> None:
    assert [takes(Hosts(tes), value) for value in LOCAL + FOREIGN] == [True] * (len(LOCAL) + len(FOREIGN))


def test_server_that_says_its_names_is_called_by_no_other() -> None:
    hosts = Hosts(TesConfig(host="0.0.0.0", allowed_hosts=("Venue.example",)))
    asked = ["venue.example", "VENUE.example:443", "192.0.2.1", "localhost", "a.venue.example"]
    assert [takes(hosts, value) for value in asked] == [True, True, True, False, False]


def test_hosts_that_are_remembered_are_bounded() -> None:
    hosts = Hosts(TesConfig())
    for port in range(2 * KNOWN_MAX):
        assert takes(hosts, f"localhost:{port}")
    assert len(hosts._known) == KNOWN_MAX
