"""alpaca-py, unmodified, against this venue: a whole session with the address changed and nothing else."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from support.client_programs import run_session, run_snippet, snippets_of
from support.faulty_line import faulty_line
from support.tes_venue import Venue, running_venue, venue_config

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = Path(__file__).parents[2] / "docs" / "clients" / "alpaca-py.md"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path_factory.mktemp("v"))) as venue:
        yield venue


async def test_alpaca_py_trades_a_whole_session_and_misses_nothing(venue: Venue) -> None:
    async with faulty_line(venue.tes.port) as line:

        async def lose() -> None:
            line.loses_answers = True

        async def break_all() -> None:
            line.cut()

        streams = line.url.replace("http", "ws")
        seen = await run_session(
            venue, "alpaca-py", "alpaca_trading", {"lose": lose, "break": break_all}, STREAMS=streams
        )
    assert seen["trading"] == {
        "taken": ["filled", "4", "230.50"],
        "half": ["partially_filled", "4"],
        "edited": ["8", "230.75", True],
        "former": ["replaced", "10", True],
        "by money": ["filled", "2", "230.75"],
        "trailing": ["new", "4.62", "230.75"],
        "canceled": [[True, 200]],
        "closed": ["canceled", "filled", "filled"],
    }
    assert seen["groups"] == {
        "bracket": ["bracket", ["held", "held"]],
        "entered": [True, "filled", ["new", "new"]],
        "oco": ["oco", "240.00", "canceled"],
    }
    assert seen["refusals"] == {
        "too much": [403, 40310000],
        "fraction": [422, 42210000],
        "unknown": [404, 40410000],
        "no position": [422, 42210000],
        "forged": [401, 40110000],
    }
    assert seen["market data"] == {"trades and bars": True, "last": True, "quote": True, "bar": True}
    assert seen["streams"] == {
        "events": ["fill", "new", "partial_fill"],
        "fill": [3.0, 232.0, "5"],
        "trade": ["AAPL", 3.0],
    }
    assert seen["account"] == {
        "closed": ["sell", "13", True],
        "everything": {"AAPL": 200, "COIN": 422},
        "positions": ["COIN"],
        "equity": True,
        "settings": [True, True],
        "history": ["5Min", True],
        "assets": ["AAPL", "COIN"],
        "asset": "AAPL",
        "open": True,
        "calendar": 7,
    }


async def test_alpaca_py_has_an_answer_to_every_method(tmp_path: Path) -> None:
    async with running_venue(venue_config(tmp_path)) as venue, venue.keeping_history():
        seen = await run_session(venue, "alpaca-py", "alpaca_methods")
    assert seen == {
        "trading": {
            "edited": ["6", "partially_filled"],
            "found": True,
            "listed": ["1"],
            "canceled": [200],
            "closed": [True, ["COIN"]],
            "nothing bids": [422],
            "exercised": [403, 40310000],
        },
        "account": {
            "account": ["ACTIVE", "1", False, "0.00", "INACTIVE"],
            "settings": True,
            "history": "1D",
            "assets": ["AAPL", "COIN"],
            "crypto": [],
            "asset": True,
            "open": True,
            "calendar": True,
        },
        "watchlists": {
            "more": ["AAPL", "COIN"],
            "less": ["COIN"],
            "named": ["other", True],
            "listed": [["other", True]],
            "left": [],
        },
        "absent": {
            "contracts": [],
            "contract": [404, 40410000],
            "announcements": [],
            "announcement": [404, 40410000],
        },
        "market data": {"quotes": True, "last": [True, True, True]},
        "streams": {"stopped": [True, True]},
        "not called": {
            "TradingClient": [],
            "StockHistoricalDataClient": [],
            "StockDataStream": [],
            "TradingStream": [],
        },
    }


@pytest.mark.parametrize("number", range(3))
async def test_documented_snippet_runs(venue: Venue, number: int) -> None:
    snippets = snippets_of(PAGE)
    assert len(snippets) == 3
    said = ("OrderStatus.NEW", "latest_quote", "new ")[number]
    assert said in await run_snippet(venue, "alpaca-py", snippets[number])
