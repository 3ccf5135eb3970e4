"""docs/clients.md, and the index of docs/clients, say the truth: its examples run, its tables are complete."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec import structs

from support.tes_venue import Venue, running_venue, venue_config
from trading_engine.clients import AsyncClient, Client
from trading_engine.clients.sdk import errors
from trading_engine.clients.terminal.commands import ENTRIES
from trading_engine.shared.config import DemoConfig, DemoUser

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "clients.md").read_text(encoding="utf-8")
INDEX = (DOCS / "clients" / "README.md").read_text(encoding="utf-8")
"""Of the pages for other venues' clients; it shows how a key for them is made."""
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT + INDEX, re.DOTALL)
ADDRESS = "http://127.0.0.1:8000"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    users = tuple(
        DemoUser(username=name, password=f"{name}-trader", cash={"USD": "1000000.00"}, quantity_each="500")
        for name in ("demo", "rival")
    )
    config = structs.replace(venue_config(tmp_path_factory.mktemp("v")), demo=DemoConfig(users=users))
    async with (
        running_venue(config) as venue,
        AsyncClient(venue.tes.url, username="rival", password="rival-trader") as rival,
    ):
        await rival.place("AAPL", "sell", 100, price="230.10")
        await rival.place("AAPL", "buy", 100, price="228.10")
        yield venue


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("number", range(len(EXAMPLES)))
async def test_documentation_example_runs(venue: Venue, number: int, capsys: pytest.CaptureFixture[str]) -> None:
    code = EXAMPLES[number].replace(ADDRESS, venue.tes.url)
    # In a thread: the blocking examples block, and the others start a loop of their own.
    await asyncio.to_thread(exec, compile(code, f"example {number + 1}", "exec"), {"__name__": "example"})
    assert capsys.readouterr().out


def test_documentation_has_examples_of_both_clients() -> None:
    assert len(EXAMPLES) >= 5
    assert any("AsyncClient" in example for example in EXAMPLES)


def test_documentation_lists_every_exception() -> None:
    kinds = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.TradingError)
    }
    listed = set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE))
    assert kinds - {"TradingError"} <= listed


def test_documentation_lists_every_method_of_the_clients() -> None:
    methods = {name for name in vars(Client) if not name.startswith("_")} - {"close"}
    assert methods == {name for name in vars(AsyncClient) if not name.startswith("_")} - {"close"}
    assert methods - {"base_url"} <= set(re.findall(r"`(\w+)`", TEXT))


def test_documentation_lists_every_command_of_the_terminal() -> None:
    table = TEXT.replace("\\|", "|")
    for entry in ENTRIES:
        assert f"`{entry.usage}` | {entry.meaning.split(':')[0]}" in table, entry.usage
