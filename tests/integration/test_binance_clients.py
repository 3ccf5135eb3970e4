"""Clients of Binance, unmodified, against this venue: a whole session each, with the address changed and nothing else."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from support.binance_account import signing_account_of
from support.client_programs import run_session, run_snippet, snippets_of
from support.tes_venue import Venue, running_venue, venue_config

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGES = Path(__file__).parents[2] / "docs" / "clients"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path_factory.mktemp("v"))) as venue:
        yield venue


async def test_ccxt_trades_knows_refusals_and_passes_its_own_checks(venue: Venue) -> None:
    seen = await run_session(venue, "clients", "ccxt_trading")
    assert seen["trading"] == {
        "taken": ["closed", 230.5, [4.0]],
        "half": ["open", 4.0, 6.0],
        "edited": ["open", 230.75, 6.0],
        "stop": ["open", 221.0, True, "canceled"],
        "left": [],
        "trade": [["sell", "maker"]],
        "held": 0.0,
    }
    assert seen["refusals"] == {
        "too much": "InsufficientFunds",
        "crossing": "OrderImmediatelyFillable",
        "unknown": "OrderNotFound",
        "forged": "AuthenticationError",
    }
    wrong = [f"{name}: {found}" for name, found in seen["checks"].items() if found]
    assert not wrong, "\n".join(wrong)
    assert len(seen["checks"]) == 12


@pytest.mark.parametrize(
    ("environment", "session", "calls", "refused"),
    [
        (
            "clients",
            "python_binance_methods",
            95,
            {
                "v3_post_cancel_replace": -1000,  # It asks for a path that Binance does not have either.
                **dict.fromkeys(("v3_post_sor_order", "v3_post_sor_order_test"), -2010),
                **dict.fromkeys(("ws_create_sor_order", "ws_create_test_sor_order"), -2010),
            },
        ),
        ("binance-connector", "connector_methods", 39, {}),
    ],
)
async def test_client_has_an_answer_to_every_method(
    venue: Venue, environment: str, session: str, calls: int, refused: dict[str, int]
) -> None:
    assert await run_session(venue, environment, session) == {"codes": refused, "not called": [], "calls": calls}


@pytest.mark.parametrize(
    ("environment", "session", "seen"),
    [
        (
            "clients",
            "private_keys",
            {"python-binance": ["CANCELED", "CANCELED"], "ccxt": "canceled", "ccxt.pro": "canceled"},
        ),
        ("binance-connector", "connector_private_key", {"canceled": "CANCELED"}),
    ],
)
async def test_client_whose_owner_signs_with_a_private_key_trades(
    venue: Venue, environment: str, session: str, seen: dict[str, Any]
) -> None:
    ann = await signing_account_of(venue, "ann")
    pem = ann.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    assert await run_session(venue, environment, session, SIGNING_KEY=ann.key_id, PRIVATE_KEY=pem) == seen


async def test_every_path_that_ccxt_knows_is_served(venue: Venue) -> None:
    known = await run_session(venue, "clients", "ccxt_endpoints")
    paths = {(method, path) for section in known.values() for method, path in section}
    assert len(paths) > 40
    assert paths <= set(venue.server.binance.routes)


async def test_ccxt_follows_the_market_and_its_own_account_over_websockets(venue: Venue) -> None:
    assert await run_session(venue, "clients", "ccxt_streaming") == {
        "status": "ok",
        "fee": 0.0003,
        "book": [240.0, 1.0],
        "ticker": 231.5,
        "best": True,
        "trade": 231.5,
        "candle": 231.5,
        "order": "AAPL/USD",
        "own trade": "buy",
        "balance": True,
        "open": [True],
        "canceled": "canceled",
    }


async def test_python_binance_trades_and_follows_the_market_and_its_own_account(venue: Venue) -> None:
    seen = await run_session(venue, "clients", "python_binance_trading")
    assert seen["rest"] == {
        "oco": [True, "ALL_DONE", 0],
        "bought": ["FILLED", "2", "231.00"],
        "canceled": ["CANCELED", "2"],
        "trade": "2",
        "kline": "231.00",
        "aggregate": "2",
        "average": True,
    }
    assert seen["sockets"] == {
        "placed": ["FILLED", "3"],
        "trade": ["232.00", False],
        "reports": [["NEW", "NEW"], ["TRADE", "FILLED"]],
    }


async def test_binance_connector_trades_and_keeps_a_listen_key(venue: Venue) -> None:
    assert await run_session(venue, "binance-connector", "connector_trading") == {
        "taken": ["PARTIALLY_FILLED", "2"],
        "canceled": [["CANCELED", "2"]],
        "oco": [[True], "ALL_DONE", "ALL_DONE"],
        "window": "230.00",
        "sockets": {"placed": "FILLED", "trade": ["231.00", "3"]},
        "orders": "FILLED",
        "book": [],
        "symbols": 2,
        "listen key": [{}, {}],
    }


@pytest.mark.parametrize(
    ("page", "environment", "count"),
    [("ccxt", "clients", 2), ("python-binance", "clients", 1), ("binance-connector", "binance-connector", 1)],
)
async def test_documented_snippet_runs(venue: Venue, page: str, environment: str, count: int) -> None:
    """Each places an order, cancels it, and shows the bids last or with the order among them."""
    snippets = snippets_of(PAGES / f"{page}.md")
    assert len(snippets) == count
    for snippet in snippets:
        written = await run_snippet(venue, environment, snippet)
        assert "[" in written.splitlines()[-1]
