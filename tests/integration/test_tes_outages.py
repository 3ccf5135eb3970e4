"""The order book server goes and comes, the trading engine server restarts, things come in any order: nothing is lost or doubled."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from support.processes import VenueProcesses
from support.tes_venue import (
    PASSWORD,
    ObsHandle,
    TesHandle,
    Venue,
    eventually,
    order,
    running_venue,
    venue_config,
    with_tes,
)
from trading_engine.database.transactional.records import Role
from trading_engine.messaging.broker import StreamMessage
from trading_engine.messaging.schemas import BooksPart, VenueStatus, books_calls, encode, event_stream, venue_calls
from trading_engine.messaging.transports.hub import Hub
from trading_engine.messaging.transports.memory import InMemoryBroker
from trading_engine.servers.tes.server import trading_engine_server
from trading_engine.servers.tes.services.gateway import StreamInconsistent
from trading_engine.shared.config import Config, ConfigError
from trading_engine.venue import Venue as PureVenue
from trading_engine.venue.events import EventBatch, InstrumentListed, TradingPhaseChanged
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.terms import TradingPhase


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path)) as venue:
        yield venue


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


async def test_orders_are_refused_and_reads_work_while_matching_is_away(venue: Venue) -> None:
    ann = await venue.log_in("ann")
    placed = await ann.place("buy", "5", "229.00")
    async with venue.socket(ann) as socket:
        await venue.obs.stop()
        assert (await socket.of_type("status"))["matching"] == "unavailable"
        for method, path, body in [
            ("POST", "/v1/orders", order("buy", "1", "200.00")),
            ("DELETE", f"/v1/orders/{placed['order_id']}", None),
            ("PATCH", f"/v1/orders/{placed['order_id']}", {"quantity": "4"}),
            ("DELETE", "/v1/orders", None),
        ]:
            response = await ann.request(method, path, json=body)
            assert code_of(response) == (503, "MATCHING_UNAVAILABLE"), (method, path)
            assert response.headers["retry-after"] == "1"
        assert (await socket.error(op="cancel_all"))["code"] == "MATCHING_UNAVAILABLE"
        assert await ann.get(f"/v1/orders/{placed['order_id']}") == placed
        assert (await ann.get("/v1/instruments/AAPL/book"))["bids"] == [["229.00", "5", 1]]
        assert (await ann.get("/v1/portfolio"))["cash"][0]["held"] != "0.00"
        health = await venue.http.get("/v1/health")
        assert (health.status_code, health.json()["status"], health.json()["matching"]) == (
            503,
            "degraded",
            "unavailable",
        )
        await venue.obs.start()
        assert (await socket.of_type("status"))["matching"] == "ok"
        canceled = await socket.result(op="cancel", order_id=placed["order_id"])
        assert canceled["status"] == "canceled"
    assert (await venue.http.get("/v1/health")).status_code == 200


async def test_private_stream_has_no_gap_and_no_repetition_across_outages(venue: Venue) -> None:
    ann = await venue.log_in("ann")
    async with venue.socket(ann) as socket:
        await socket.result(op="subscribe", channel="orders", since="0")
        acknowledged = []
        for round_ in range(3):
            names = [f"r{round_}-{number}" for number in range(10)]
            acknowledged += [await ann.place("buy", "1", "200.00", client_order_id=name) for name in names]
            await venue.obs.stop()
            await venue.obs.start()
            await venue.tes.ready()
        await ann.place("buy", "1", "199.00", client_order_id="last")
        last = await socket.until(lambda m: m["type"] == "order" and m["order"]["client_order_id"] == "last")
        told = [m for m in socket.seen if m["type"] == "order"]
        assert [m["order"]["order_id"] for m in told] == [o["order_id"] for o in acknowledged]
        sequences = [int(m["event_sequence"]) for m in [*told, last]]
        assert sequences == sorted(set(sequences))


async def test_restarted_tes_goes_on_where_it_was(venue: Venue) -> None:
    ann = await venue.log_in("ann")
    bob = await venue.log_in("bob")
    resting = await ann.place("buy", "7", "229.00", client_order_id="stays")
    await bob.place("sell", "2", "229.00")
    async with venue.socket(ann) as before:
        await before.result(op="subscribe", channel="orders", since="0")
        messages = [await before.of_type("order") for _ in range(2)]
    seen = messages[-1]["event_sequence"]
    book = (await venue.http.get("/v1/instruments/AAPL/book")).json()
    tickers = (await venue.http.get("/v1/tickers")).json()
    portfolio = await ann.get("/v1/portfolio")
    await venue.tes.stop()
    await venue.tes.start()
    await venue.tes.ready()
    assert (await venue.http.get("/v1/instruments/AAPL/book")).json() == book
    assert (await venue.http.get("/v1/tickers")).json() == tickers
    assert await ann.get("/v1/portfolio") == portfolio
    async with venue.socket(ann) as socket:
        await socket.result(op="subscribe", channel="orders", since=seen)
        await ann.request("DELETE", f"/v1/orders/{resting['order_id']}")
        message = await socket.of_type("order")
        assert (message["event"], message["order"]["filled_quantity"]) == ("canceled", "2")
        assert socket.seen == [m for m in socket.seen if m["type"] != "order"]


async def test_tes_started_first_serves_and_gets_ready_when_matching_comes(tmp_path: Path) -> None:
    config = venue_config(tmp_path)
    tes, obs = TesHandle(config), ObsHandle(config)
    await tes.start()
    try:
        async with httpx.AsyncClient(base_url=tes.url, trust_env=False) as http:
            health = await eventually(lambda: health_of(http))
            assert (health["matching"], health["database"]) == ("unavailable", "ok")
            assert (await http.get("/v1/instruments")).json() == {"instruments": []}
            login = await http.post("/v1/auth/login", json={"username": "ann", "password": PASSWORD})
            assert code_of(login) == (401, "INVALID_CREDENTIALS")
            await obs.start()
            await tes.ready()
            login = await http.post("/v1/auth/login", json={"username": "ann", "password": PASSWORD})
            assert login.status_code == 200
    finally:
        await tes.stop()
        await obs.stop()


async def health_of(http: httpx.AsyncClient) -> Any:
    return (await http.get("/v1/health")).json()


async def test_second_start_opens_no_account_twice(venue: Venue) -> None:
    ann = await venue.log_in("ann")
    await ann.place("buy", "1", "200.00")
    before = await ann.get("/v1/portfolio")
    for _ in range(2):
        await venue.tes.stop()
        await venue.obs.stop()
        await venue.obs.start()
        await venue.tes.start()
        await venue.tes.ready()
    assert await ann.get("/v1/portfolio") == before


async def test_tokens_and_keys_outlive_a_restart(venue: Venue) -> None:
    ann = await venue.log_in("ann")
    key = (await ann.request("POST", "/v1/api-keys", json={"label": "x"})).json()
    await venue.tes.stop()
    await venue.tes.start()
    await venue.tes.ready()
    await ann.get("/v1/me")
    headers = {"X-API-Key": key["key_id"], "X-API-Secret": key["secret"]}
    assert (await venue.http.get("/v1/me", headers=headers)).status_code == 200


async def test_database_that_was_lost_is_written_again_from_the_stream(venue: Venue) -> None:
    """The projection starts from nothing; the rows that only the database had, users and logins, are made anew in the same order."""
    ann = await venue.log_in("ann")
    placed = await ann.place("buy", "3", "229.00")
    portfolio = await ann.get("/v1/portfolio")
    await venue.tes.stop()
    for path in venue.config.data_path.glob("transactional.db*"):
        path.unlink()
    await venue.tes.start()
    await venue.tes.ready()
    ann = await venue.log_in("ann")
    assert (await ann.get("/v1/orders"))["orders"] == [placed]
    assert await ann.get("/v1/portfolio") == portfolio


# A venue that never answers: a bare hub in its place


INSTRUMENT = Instrument(1, "AAPL", "Apple Inc", "USD", "0.01", "1", 1)
LISTED = EventBatch(
    1, 10, "obs", 1, 1, (InstrumentListed(INSTRUMENT), TradingPhaseChanged(0, TradingPhase.CONTINUOUS, False))
)


class SilentVenue:
    """Answers that it is there, takes commands into its queue, and never does anything."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.broker = InMemoryBroker(self.hub)
        self.event_sequence = 2

    async def start(self) -> None:
        await self.broker.connect()
        await self.broker.serve(venue_calls(0), self._status)
        await self.broker.serve(books_calls(0), self._books)
        await self.broker.stream_publisher(event_stream(0)).append([StreamMessage(2, encode(LISTED))])

    async def _status(self, _: bytes) -> bytes:
        return encode(VenueStatus(1, self.event_sequence, 10, 0, 0))

    async def _books(self, _: bytes) -> bytes:
        """As they were before the first event."""
        return encode(BooksPart(0, 1, PureVenue().markets_snapshot()))


async def test_order_without_an_outcome_is_answered_unknown(tmp_path: Path) -> None:
    silent = SilentVenue()
    await silent.start()
    config = with_tes(venue_config(tmp_path), order_timeout_s=0.2)
    async with trading_engine_server(config, [InMemoryBroker(silent.hub)]) as server:
        following = asyncio.create_task(server.follow_events())
        transport = httpx.ASGITransport(server.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:

            async def is_ready() -> bool:
                return server.gateway.is_ready

            await eventually(is_ready)
            token = await token_of(server, "ann")
            response = await http.post(
                "/v1/orders", headers={"Authorization": f"Bearer {token}"}, json=order("buy", "1", "230.00")
            )
            assert code_of(response) == (503, "OUTCOME_UNKNOWN")
            assert "client order id" in response.json()["error"]["message"]
        following.cancel()


async def token_of(server: Any, username: str) -> str:
    """A token for a user that is in the database only: this venue opens no accounts."""
    accounts, authentication = server.accounts, server.authentication
    user = await accounts.ensure_user(username, PASSWORD, Role.TRADER)
    pair = await authentication.log_in(user.username, PASSWORD, "test")
    return str(pair.access_token)


async def test_venue_that_stops_answering_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trading_engine.servers.tes.services.gateway.HEARTBEAT_SECONDS", 0.02)
    silent = SilentVenue()
    await silent.start()
    async with trading_engine_server(venue_config(tmp_path), [InMemoryBroker(silent.hub)]) as server:
        following = asyncio.create_task(server.follow_events())

        async def is_ready() -> bool:
            return server.gateway.is_ready

        async def is_not_ready() -> bool:
            return not server.gateway.is_ready

        await eventually(is_ready)
        await silent.broker.close()
        await eventually(is_not_ready)
        await silent.start()
        await eventually(is_ready)
        following.cancel()


async def test_journal_of_another_venue_is_refused(tmp_path: Path) -> None:
    """The database is ahead of the order book server: showing anything from then on would be wrong."""
    silent = SilentVenue()
    await silent.start()
    config = venue_config(tmp_path)
    async with trading_engine_server(config, [InMemoryBroker(silent.hub)]) as server:
        following = asyncio.create_task(server.follow_events())

        async def has_handled() -> bool:
            return server.gateway.handled_sequences == (2,)

        await eventually(has_handled)
        following.cancel()
    silent.event_sequence = 1
    async with trading_engine_server(config, [InMemoryBroker(silent.hub)]) as server:
        with pytest.raises(StreamInconsistent, match="do not belong together"):
            await server.follow_events()


# Processes


@pytest.mark.e2e
def test_processes_are_killed_and_started_in_any_order(tmp_path: Path) -> None:
    """Over the embedded transport, as people run it."""
    config = venue_config(tmp_path)
    processes = VenueProcesses(tmp_path, as_document(config))
    try:
        processes.start("tes", "-s", "TES")
        processes.start("obs", "-s", "OBS")
        processes.wait_ready()
        with httpx.Client(base_url=processes.url, trust_env=False) as http:
            tokens = http.post("/v1/auth/login", json={"username": "ann", "password": PASSWORD}).json()
            http.headers["Authorization"] = f"Bearer {tokens['access_token']}"
            placed = http.post("/v1/orders", json=order("buy", "3", "229.00")).json()
            processes.kill("obs")
            refused = http.post("/v1/orders", json=order("buy", "3", "229.00"))
            assert refused.json()["error"]["code"] in ("MATCHING_UNAVAILABLE", "OUTCOME_UNKNOWN")
            processes.start("obs", "-s", "OBS")
            processes.wait_ready()
            assert http.get(f"/v1/orders/{placed['order_id']}").json() == placed
            processes.kill("tes", "obs")
            processes.start_servers()
            processes.wait_ready()
            assert http.get("/v1/orders", params={"status": "open"}).json()["orders"][-1] == placed
        assert (processes.stop("tes"), processes.stop("obs")) == (0, 0)
    finally:
        processes.close()


def as_document(config: Config) -> Any:
    document = msgspec.to_builtins(config)
    document.pop("data_dir")
    return document


async def test_configured_holding_that_is_no_quantity_stops_the_start(tmp_path: Path) -> None:
    config = venue_config(tmp_path)
    users = tuple(msgspec.structs.replace(user, quantity_each="0.03") for user in config.demo.users)
    config = msgspec.structs.replace(config, demo=msgspec.structs.replace(config.demo, users=users))
    obs, tes = ObsHandle(config), TesHandle(config)
    await obs.start()
    try:
        await tes.start()
        with pytest.raises(ConfigError, match="no quantity of AAPL"):
            await tes.ready()
    finally:
        await obs.stop()
