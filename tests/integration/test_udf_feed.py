"""`/udf` as TradingView's charts ask it: configuration, symbols, search, bars, marks, quotes, time; and what goes wrong."""

import asyncio
import os
import re
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from support.tes_venue import Venue, running_venue, venue_config
from trading_engine.venue.commands import SetTradingPhase
from trading_engine.venue.terms import TradingPhase

pytestmark = pytest.mark.asyncio(loop_scope="module")
DOCUMENT = Path(__file__).parents[2] / "docs" / "api" / "udf.md"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path_factory.mktemp("v"))) as venue:
        ann, bob = await venue.log_in("ann"), await venue.log_in("bob")
        await ann.place("buy", "7", "230.05")
        await bob.place("sell", "3", "230.05")
        yield venue


async def ask(venue: Venue, path: str, **query: Any) -> Any:
    response = await venue.http.get(f"/udf/{path}", params=query)
    assert response.status_code == 200, response.text
    return response.json()


async def test_configuration_has_what_the_chart_reads(venue: Venue) -> None:
    configuration = await ask(venue, "config")
    assert (configuration["supports_search"], configuration["supports_group_request"]) == (True, False)
    assert {"1S", "1", "60", "1D", "1W"} <= set(configuration["supported_resolutions"])
    assert all({"value", "name"} <= exchange.keys() for exchange in configuration["exchanges"])


@pytest.mark.parametrize(
    ("symbol", "pricescale", "minmov", "volume_precision"), [("AAPL", 100, 1, 0), ("VENUE:COIN", 10, 5, 2)]
)
async def test_symbol_has_its_tick_as_a_scale(
    venue: Venue, symbol: str, pricescale: int, minmov: int, volume_precision: int
) -> None:
    info = await ask(venue, "symbols", symbol=symbol)
    assert (info["pricescale"], info["minmov"], info["volume_precision"]) == (pricescale, minmov, volume_precision)
    assert (info["ticker"], info["exchange"], info["timezone"]) == (symbol.removeprefix("VENUE:"), "VENUE", "Etc/UTC")
    for resolution in info["supported_resolutions"][:-2]:
        answer = await ask(venue, "history", symbol=symbol, resolution=resolution, **{"from": 0, "to": 10})
        assert answer == {"s": "no_data"}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"query": "a"}, ["AAPL", "COIN"]),
        ({"query": "coin"}, ["COIN"]),
        ({"query": "VENUE:AAPL"}, ["AAPL"]),
        ({"query": "", "limit": "1"}, ["AAPL"]),
        ({"query": "", "exchange": "VENUE", "type": "spot"}, ["AAPL", "COIN"]),
        ({"query": "", "exchange": "NYSE"}, []),
        ({"query": "", "type": "crypto"}, []),
    ],
)
async def test_search_finds_by_symbol_and_name(venue: Venue, query: dict[str, str], found: list[str]) -> None:
    assert [row["symbol"] for row in await ask(venue, "search", **query)] == found


async def test_history_has_the_bar_that_is_under_way(venue: Venue) -> None:
    now = int(time.time())
    answer = await ask(
        venue, "history", symbol="AAPL", resolution="1", countback=2, **{"from": now - 120, "to": now + 60}
    )
    assert answer["s"] == "ok"
    assert (answer["t"][-1] % 60, answer["c"][-1], answer["v"][-1]) == (0, 230.05, 3)


async def test_quotes_are_of_each_symbol_that_there_is(venue: Venue) -> None:
    answer = await ask(venue, "quotes", symbols="AAPL,COIN,NONE")
    assert (answer["s"], [row["s"] for row in answer["d"]]) == ("ok", ["ok", "ok", "error"])
    values = answer["d"][0]["v"]
    assert (values["lp"], values["bid"], values["volume"]) == (230.05, 230.05, 3)
    assert "lp" not in answer["d"][1]["v"]


async def test_halt_is_marked(venue: Venue) -> None:
    for phase in (TradingPhase.HALTED, TradingPhase.CONTINUOUS):
        await venue.server.gateway.submit(SetTradingPhase(2, phase))
    period = {"from": 0, "to": int(time.time()) + 60}
    marks = await ask(venue, "marks", symbol="COIN", resolution="1", **period)
    assert (marks["label"], marks["text"]) == (["H"], ["halted"])
    assert (await ask(venue, "marks", symbol="AAPL", resolution="1", **period))["id"] == []


async def test_time_is_plain_seconds(venue: Venue) -> None:
    response = await venue.http.get("/udf/time")
    assert abs(int(response.text) - time.time()) < 60
    assert response.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("symbols?symbol=NONE", 404, "unknown_symbol NONE"),
        ("symbols", 404, "unknown_symbol"),
        ("history?symbol=AAPL&resolution=7&from=0&to=1", 400, "unsupported resolution 7"),
        ("history?symbol=AAPL&resolution=1&from=x&to=1", 400, "from is no whole number: x"),
        ("history?symbol=AAPL&resolution=1&from=2&to=1", 400, "from 2 is after to 1"),
        ("history?symbol=AAPL&resolution=1&from=0&to=1&countback=-1", 400, "countback is no whole number: -1"),
        ("history?symbol=AAPL&resolution=1", 400, "from is no whole number"),
        ("marks?symbol=AAPL&from=0", 400, "to is no whole number"),
        ("search?query=%ff", 200, ""),
        ("config?" + "&".join(f"p{n}=1" for n in range(60)), 400, "cannot be read"),
        ("nothing", 404, "there is nothing at this path"),
    ],
)
async def test_chart_is_told_what_is_wrong_in_the_body(venue: Venue, path: str, status: int, message: str) -> None:
    response = await venue.http.get(f"/udf/{path}")
    assert response.status_code == status
    if status != 200:
        assert response.json()["s"] == "error"
        assert message in response.json()["errmsg"]


async def test_other_methods_are_refused(venue: Venue) -> None:
    assert (await venue.http.post("/udf/config")).status_code == 405


async def test_documented_program_prints_the_last_bars(venue: Venue) -> None:
    [program] = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program.replace("http://127.0.0.1:8000", venue.tes.url)),
        stdout=asyncio.subprocess.PIPE,
        env={key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")},
    )
    output, _ = await process.communicate()
    assert re.fullmatch(r"ok \[.*\(\d+, 230\.05\)\]\n", output.decode())


async def test_every_path_that_is_documented_answers(venue: Venue) -> None:
    paths = re.findall(r"GET /udf/([^`]*)", DOCUMENT.read_text())
    assert len(paths) >= 7
    for path in paths:
        response = await venue.http.get(f"/udf/{path}")
        assert response.status_code == 200, path
