"""Trading bots made for Binance, unmodified, against this venue: each through whole trades. They are large, so `make soak` runs them."""

import asyncio
import platform
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import trustme

from support.client_programs import pointed_at, run_session, snippets_of
from support.tes_venue import Venue, running_venue, venue_config

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.soak]


PAGES = Path(__file__).parents[2] / "docs" / "clients"


def documented(venue: Venue, page: str, language: str) -> str:
    (snippet,) = snippets_of(PAGES / f"{page}.md", language)
    return pointed_at(venue, snippet)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path_factory.mktemp("v"))) as venue:
        yield venue


async def test_nautilus_buys_in_part_cancels_the_rest_and_sells(venue: Venue) -> None:
    bob = await venue.log_in("bob")
    await bob.place("sell", "10", "230.00")
    await bob.place("buy", "10", "229.00")
    seen = await run_session(venue, "nautilus", "nautilus_trading", SNIPPET=documented(venue, "nautilus", "python"))
    assert [name for name in seen["events"] if name not in ("OrderInitialized", "OrderPendingCancel")] == [
        *("OrderSubmitted", "OrderAccepted", "OrderFilled", "OrderCanceled"),
        *("OrderSubmitted", "OrderAccepted", "OrderFilled"),
    ]
    assert seen["fills"] == [["230.00", "10", "0.69 USD"], ["229.00", "4", "0.28 USD"]]
    assert seen["trades"] == [["230.00", "10"], ["229.00", "4"]]
    assert seen["quotes"][-1] == ["229.00", "0.00"]
    assert seen["books"] > 0
    assert seen["position"] == "6"
    await bob.cancel_all()


async def test_freqtrade_buys_protects_and_sells_again(venue: Venue) -> None:
    snippet = documented(venue, "freqtrade", "json")
    assert await run_session(venue, "freqtrade", "freqtrade_trading", SNIPPET=snippet) == {
        "pair": "AAPL/USD",
        "exit": "protected",
        "fees": [0.28, 0.28],
        "orders": [
            ["buy", "closed", 4.0, 230.1],
            ["stoploss", "canceled", 0.0, None],
            ["sell", "closed", 4.0, 229.9],
        ],
    }


async def keep_trading(venue: Venue) -> None:
    ann, bob = await venue.log_in("ann"), await venue.log_in("bob")
    while True:
        await bob.place("sell", "5", "230.00")
        await ann.place("buy", "2", "230.00")
        await asyncio.sleep(0.2)


@pytest.mark.skipif(
    sys.version_info >= (3, 12) or (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="what cryptofeed needs can be had for Python 3.11 on Linux on x86_64",
)
async def test_cryptofeed_follows_the_market_and_its_own_account(tmp_path: Path) -> None:
    authority, trusted = trustme.CA(), tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(trusted)
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "tls.pem")
    config = venue_config(tmp_path, tls_certificate=str(tmp_path / "tls.pem"), tls_key=str(tmp_path / "tls.pem"))
    bundle = str(trusted)
    async with running_venue(config, verify=ssl.create_default_context(cafile=str(trusted))) as venue:
        trading = asyncio.create_task(keep_trading(venue))
        try:
            snippet = documented(venue, "cryptofeed", "python")
            seen = await run_session(
                venue,
                "cryptofeed",
                "cryptofeed_following",
                SNIPPET=snippet,
                SSL_CERT_FILE=bundle,
                REQUESTS_CA_BUNDLE=bundle,
            )
        finally:
            trading.cancel()
    assert seen == {
        "trades": ["buy", "230.00", "2.00"],
        "ticker": ["230.00"],
        "l2_book": ["230.00"],
        "order_info": ["buy", "230.00"],
        "balances": ["USD"],
    }
