"""Who gets in over FIX: rights of keys, addresses, TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import trustme
from msgspec.structs import replace

from support.fix_client import fix_gateway, shown
from support.tes_venue import PASSWORD, Venue, running_venue, venue_config
from trading_engine.servers.fix.server import check_plain
from trading_engine.shared.config import Config, ConfigError, FixConfig

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN_PASSWORD = "the-administrator-1"
HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    """A TES that trusts the gateway, which connects from `HERE`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRADING_ENGINE_ADMIN_PASSWORD", ADMIN_PASSWORD)
        async with running_venue(venue_config(tmp_path_factory.mktemp("v"), trusted_proxies=(HERE,))) as venue:
            yield venue


async def key_of(venue: Venue, **terms: object) -> dict[str, str]:
    trader = await venue.log_in("ann")
    key: dict[str, str] = (await trader.request("POST", "/v1/api-keys", json={"label": "fix", **terms})).json()
    return key


@pytest.mark.parametrize(("address", "answer"), [(ELSEWHERE, "A"), (HERE, "5")])
async def test_key_with_addresses_is_held_to_the_address_of_the_fix_client(
    venue: Venue, address: str, answer: str
) -> None:
    key = await key_of(venue, addresses=[ELSEWHERE])
    async with (
        fix_gateway(venue) as gateway,
        gateway.client(key["key_id"], password=key["secret"], comp_id="PLACE", address=address) as client,
    ):
        message = await client.log_on()
        assert message.msg_type == answer
        assert answer == "A" or message.get(58).startswith("NOT_ALLOWED")


async def test_key_that_may_only_read_gets_reports_and_places_nothing(venue: Venue) -> None:
    key = await key_of(venue, scopes=["read"])
    trader = await venue.log_in("ann")
    async with (
        fix_gateway(venue) as gateway,
        gateway.client(key["key_id"], password=key["secret"], comp_id="READER") as client,
    ):
        await client.log_on()
        client.order("a1", "1", "1", "200.00")
        report = await client.report()
        assert shown(report, 39, 103) == ["8", "99"]
        assert report[58].startswith("NOT_ALLOWED")
        await trader.place("buy", "1", "200.00")
        assert shown(await client.report(), 39, 55) == ["0", "AAPL"]


async def test_drop_copy_of_an_operator_tells_what_all_accounts_do_and_what_they_did_meanwhile(venue: Venue) -> None:
    admin = await venue.log_in("admin", ADMIN_PASSWORD)
    made = await admin.request("POST", "/v1/users", json={"username": "olga", "password": PASSWORD, "role": "operator"})
    assert made.status_code == 201
    ann, bob = await venue.log_in("ann"), await venue.log_in("bob")
    await ann.cancel_all()
    async with fix_gateway(venue) as gateway, gateway.client("olga", target="DROPCOPY") as copy:
        await copy.log_on()
        await ann.place("buy", "5", "200.00", client_order_id="oa")
        await copy.log_out()
        await bob.place("sell", "5", "200.00", client_order_id="ob")
        await copy.log_on()
        told = [shown(await copy.report(), 11, 39, 797) for _ in range(4)]
        assert told == [["oa", "0", "Y"], ["ob", "0", "Y"], ["oa", "2", "Y"], ["ob", "2", "Y"]]


async def test_drop_copy_of_all_accounts_needs_the_scope_for_it(venue: Venue) -> None:
    login = await venue.log_in("admin", ADMIN_PASSWORD)
    key = (await login.request("POST", "/v1/api-keys", json={"label": "copy", "scopes": ["read"]})).json()
    async with (
        fix_gateway(venue) as gateway,
        gateway.client(key["key_id"], password=key["secret"], comp_id="COPY", target="DROPCOPY") as copy,
    ):
        answer = await copy.log_on()
        assert answer.msg_type == "5"
        assert answer.get(58).startswith("NOT_ALLOWED")


async def test_gateway_with_a_certificate_speaks_tls_and_nothing_else(venue: Venue, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert(HERE)
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "tls.key")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    tls = {"tls_certificate": str(tmp_path / "tls.crt"), "tls_key": str(tmp_path / "tls.key")}
    async with fix_gateway(venue, **tls) as gateway, gateway.client(comp_id="TLS", tls=context) as client:
        assert (await client.log_on()).msg_type == "A"
        reader, writer = await asyncio.open_connection(HERE, gateway.port)
        writer.write(client.frame("A", (98, "0"), (108, "30")))
        assert b"8=FIX" not in await reader.read()
        writer.close()


@pytest.mark.parametrize(
    ("fix", "is_safe"),
    [
        (FixConfig(), True),
        (FixConfig(host="localhost"), True),
        (FixConfig(host="0.0.0.0"), False),
        (FixConfig(host="0.0.0.0", tls_certificate="tls.crt"), True),
        (FixConfig(host="0.0.0.0", plain_beyond_loopback=True), True),
    ],
)
async def test_gateway_that_others_could_reach_needs_tls_or_a_word(fix: FixConfig, is_safe: bool) -> None:
    config = replace(Config(), fix=fix)
    if is_safe:
        check_plain(config)
        return
    with pytest.raises(ConfigError, match="there is no TLS"):
        check_plain(config)
