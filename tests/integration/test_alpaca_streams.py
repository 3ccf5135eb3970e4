"""Alpaca's streams as they are spoken: handshakes, an account's updates live and again, market data in both forms."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import websockets

from support.alpaca_account import Account, account_of
from support.stalled_socket import flood_until_cut_off, stalled_socket
from support.tes_venue import Venue, eventually, running_venue, venue_config
from trading_engine.servers.tes.models.views import rfc3339

pytestmark = pytest.mark.asyncio(loop_scope="module")

MSGPACK = {"Content-Type": "application/msgpack"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    config = venue_config(tmp_path_factory.mktemp("v"), websocket_outbox_bytes_max=200_000)
    async with running_venue(config) as venue:
        yield venue


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def accounts(venue: Venue) -> tuple[Account, Account]:
    return await account_of(venue, "ann"), await account_of(venue, "bob")


@pytest_asyncio.fixture(loop_scope="module")
async def ann(accounts: tuple[Account, Account]) -> AsyncIterator[Account]:
    yield accounts[0]
    await accounts[0].send("DELETE", "orders")


@pytest_asyncio.fixture(loop_scope="module")
async def bob(accounts: tuple[Account, Account]) -> AsyncIterator[Account]:
    yield accounts[1]
    await accounts[1].send("DELETE", "orders")


def encode_msgpack(message: Any) -> bytes:
    return msgspec.msgpack.encode(message)


class Stream:
    """A connection in either form."""

    def __init__(self, connection: websockets.ClientConnection, is_msgpack: bool = False) -> None:
        self.connection = connection
        self.is_msgpack = is_msgpack

    async def say(self, message: Any) -> None:
        await self.connection.send(encode_msgpack(message) if self.is_msgpack else json.dumps(message))

    async def hear(self) -> Any:
        async with asyncio.timeout(20):
            if not self.is_msgpack:
                return json.loads(await self.connection.recv())
            return msgspec.msgpack.decode(await self.connection.recv(decode=False))

    async def ask(self, message: Any) -> Any:
        await self.say(message)
        return await self.hear()

    async def until(self, kind: str) -> list[dict[str, Any]]:
        """The next market data messages of a kind."""
        while True:
            messages: list[dict[str, Any]] = await self.hear()
            if messages[0]["T"] == kind:
                return messages

    async def updates(self, *events: str) -> list[dict[str, Any]]:
        """The next updates of the account, up to the last of these events, which have to come in this order."""
        heard = [(await self.hear())["data"] for _ in events]
        assert [update["event"] for update in heard] == list(events)
        return heard


@asynccontextmanager
async def connected(venue: Venue, path: str, headers: dict[str, str] | None = None) -> AsyncIterator[Stream]:
    url = venue.tes.url.replace("http", "ws") + path
    async with websockets.connect(url, compression=None, proxy=None, additional_headers=headers) as connection:
        yield Stream(connection, bool(headers))


@asynccontextmanager
async def listening(venue: Venue, account: Account, query: str = "") -> AsyncIterator[Stream]:
    async with connected(venue, "/stream" + query) as stream:
        data = {"key_id": account.key_id, "secret_key": account.secret}
        answer = await stream.ask({"action": "authenticate", "data": data})
        assert answer == {"stream": "authorization", "data": {"status": "authorized", "action": "authenticate"}}
        answer = await stream.ask({"action": "listen", "data": {"streams": ["trade_updates"]}})
        assert answer == {"stream": "listening", "data": {"streams": ["trade_updates"]}}
        yield stream


@asynccontextmanager
async def subscribed(
    venue: Venue, account: Account, headers: dict[str, str] | None = None, **channels: list[str]
) -> AsyncIterator[Stream]:
    async with connected(venue, "/v2/iex", headers) as stream:
        assert await stream.hear() == [{"T": "success", "msg": "connected"}]
        answer = await stream.ask({"action": "auth", "key": account.key_id, "secret": account.secret})
        assert answer == [{"T": "success", "msg": "authenticated"}]
        (answer,) = await stream.ask({"action": "subscribe", **channels})
        assert {name: answer[name] for name in channels} == channels
        yield stream


# An account's updates


async def test_account_is_told_what_becomes_of_its_orders(venue: Venue, ann: Account, bob: Account) -> None:
    held = int((await ann.ok("GET", "positions/AAPL"))["qty"])
    async with listening(venue, ann) as stream:
        placed = await ann.place("buy", "10", "230.00")
        (new,) = await stream.updates("new")
        assert new["order"] == placed
        await bob.place("sell", "4", "230.00")
        (part,) = await stream.updates("partial_fill")
        assert (part["price"], part["qty"], part["position_qty"]) == ("230.00", "4", str(held + 4))
        assert (part["order"]["status"], part["order"]["filled_qty"]) == ("partially_filled", "4")
        changed = await ann.ok("PATCH", f"orders/{placed['id']}", {"qty": 8, "limit_price": 229})
        replaced, again = await stream.updates("replaced", "new")
        assert replaced["order"] == await ann.ok("GET", f"orders/{placed['id']}")
        assert (replaced["order"]["replaced_by"], again["order"]) == (changed["id"], changed)
        await bob.place("sell", "4", "229.00")
        (fill,) = await stream.updates("fill")
        assert (fill["order"]["id"], fill["order"]["replaces"]) == (changed["id"], placed["id"])
        assert fill["order"] == await ann.ok("GET", f"orders/{changed['id']}")
        assert len({update["execution_id"] for update in (new, part, replaced, fill)}) == 4
        resting = await ann.place("buy", "1", "200.00")
        await ann.ok("DELETE", f"orders/{resting['id']}")
        _, canceled = await stream.updates("new", "canceled")
        assert canceled["order"]["canceled_at"] == canceled["timestamp"]


async def test_position_is_told_after_each_fill_of_a_sweep(venue: Venue, ann: Account, bob: Account) -> None:
    held = {account: int((await account.ok("GET", "positions/AAPL"))["qty"]) for account in (ann, bob)}
    for price in ("230.00", "230.10", "230.20"):
        await bob.place("sell", "2", price)
    async with listening(venue, ann) as buyer, listening(venue, bob) as seller:
        await ann.place("buy", "5", "231.00")
        bought = await buyer.updates("new", "partial_fill", "partial_fill", "fill")
        assert [int(update["position_qty"]) - held[ann] for update in bought[1:]] == [2, 4, 5]
        sold = await seller.updates("fill", "fill", "partial_fill")
        assert [int(update["position_qty"]) - held[bob] for update in sold] == [-2, -4, -5]


async def test_legs_are_told_when_they_work(venue: Venue, ann: Account, bob: Account) -> None:
    legs = {"order_class": "bracket", "take_profit": {"limit_price": 240}, "stop_loss": {"stop_price": 220}}
    async with listening(venue, ann) as stream:
        placed = await ann.place("buy", "1", "229.00", **legs)
        (entry,) = await stream.updates("new")
        assert entry["order"]["id"] == placed["id"]
        await bob.place("sell", "1", "229.00")
        _, profit, loss = await stream.updates("fill", "new", "new")
        assert [profit["order"]["type"], loss["order"]["type"]] == ["limit", "stop"]


async def test_updates_of_the_last_seconds_are_told_again_as_they_were(
    venue: Venue, ann: Account, bob: Account
) -> None:
    async with listening(venue, ann) as stream:
        placed = await ann.place("buy", "10", "230.00")
        await bob.place("sell", "4", "230.00")
        await ann.ok("PATCH", f"orders/{placed['id']}", {"qty": 8})
        told = await stream.updates("new", "partial_fill", "replaced", "new")
    await bob.place("sell", "4", "230.00")
    async with listening(venue, ann, "?replay_s=3600") as stream:
        again = [(await stream.hear())["data"]]
        while again[-1]["event"] != "fill" or again[-1]["order"]["replaces"] != placed["id"]:
            again.append((await stream.hear())["data"])
        without_position = [{k: v for k, v in update.items() if k != "position_qty"} for update in told]
        assert again[-5:-1] == without_position
        await ann.place("buy", "1", "200.00")
        await stream.updates("new")
    async with listening(venue, bob) as other:
        await bob.place("buy", "1", "200.00")
        await other.updates("new")


async def test_nothing_is_missed_while_the_server_is_away(venue: Venue, ann: Account, bob: Account) -> None:
    placed = await ann.place("buy", "2", "231.00")
    changed = await ann.ok("PATCH", f"orders/{placed['id']}", {"limit_price": "232.00"})
    async with listening(venue, ann) as stream:
        await bob.place("sell", "1", "232.00")
        await stream.updates("partial_fill")
        await venue.tes.stop()
        with pytest.raises(websockets.ConnectionClosed):
            await stream.hear()
    await venue.tes.start()
    await venue.tes.ready()
    await bob.place("sell", "1", "232.00")
    async with listening(venue, ann, "?replay_s=3600") as stream:
        update = (await stream.hear())["data"]
        while (update["event"], update["order"]["replaces"]) != ("fill", placed["id"]):
            update = (await stream.hear())["data"]
        assert (update["order"]["id"], update["order"]["filled_qty"]) == (changed["id"], "2")
        again = await ann.place("buy", "1", "200.00")
        newer = await ann.ok("PATCH", f"orders/{again['id']}", {"qty": "2"})
        updates = await stream.updates("new", "replaced", "new")
        assert updates[-1]["order"] == newer


async def test_orders_are_refused_while_nobody_matches_and_the_rest_goes_on(venue: Venue, ann: Account) -> None:
    resting = await ann.place("buy", "1", "200.00")
    async with listening(venue, ann) as stream:
        await venue.obs.stop()
        order = {"symbol": "AAPL", "side": "buy", "type": "market", "time_in_force": "day", "qty": 1}

        async def is_refused() -> bool:
            return await ann.error("POST", "orders", order) == (503, 50310000)

        await eventually(is_refused)
        assert await ann.error("DELETE", f"orders/{resting['id']}") == (503, 50310000)
        assert await ann.ok("GET", f"orders/{resting['id']}") == resting
        assert (await ann.ok("GET", "account"))["status"] == "ACTIVE"
        await venue.obs.start()
        await venue.tes.ready()
        await ann.ok("DELETE", f"orders/{resting['id']}")
        await stream.updates("canceled")


async def test_order_that_was_replaced_before_a_restart_is_still_called_the_same(venue: Venue, ann: Account) -> None:
    placed = await ann.place("buy", "2", "201.00")
    changed = await ann.ok("PATCH", f"orders/{placed['id']}", {"qty": "3"})
    await venue.tes.stop()
    await venue.tes.start()
    await venue.tes.ready()
    assert await ann.ok("GET", "orders") == [changed]
    assert (await ann.ok("GET", f"orders/{placed['id']}"))["replaced_by"] == changed["id"]
    again = await ann.ok("PATCH", f"orders/{changed['id']}", {"qty": "4"})
    assert again["replaces"] == changed["id"]


async def test_client_that_does_not_read_is_cut_off_and_others_are_told(
    venue: Venue, ann: Account, bob: Account
) -> None:
    subscribe = json.dumps({"action": "subscribe", "trades": ["AAPL"]}).encode()
    auth = json.dumps({"action": "auth", "key": ann.key_id, "secret": ann.secret}).encode()
    sessions = venue.server.alpaca_sockets.sessions
    with stalled_socket(venue, "/v2/iex") as stalled:
        await flood_until_cut_off(stalled, sessions, subscribe, auth, at_once=500)
    async with subscribed(venue, ann, trades=["AAPL"]) as other:
        await bob.place("sell", "1", "230.00")
        await ann.place("buy", "1", "230.00")
        assert (await other.until("t"))[0]["p"] == 230.0


async def test_key_has_to_be_right_before_anything_is_told(venue: Venue, ann: Account, bob: Account) -> None:
    async with connected(venue, "/stream") as stream:
        answer = await stream.ask({"action": "listen", "data": {"streams": ["trade_updates"]}})
        assert answer["data"]["status"] == "unauthorized"
        data = {"key_id": ann.key_id, "secret_key": bob.secret}
        answer = await stream.ask({"action": "authenticate", "data": data})
        assert answer["data"]["status"] == "unauthorized"
        answer = await stream.ask({"action": "auth", "key": ann.key_id, "secret": ann.secret})
        assert answer["data"]["status"] == "authorized"


async def test_path_is_shared_with_binance(venue: Venue, ann: Account) -> None:
    async with connected(venue, "/stream") as stream:
        assert await stream.ask({"method": "LIST_SUBSCRIPTIONS", "id": 1}) == {"result": [], "id": 1}
    async with connected(venue, "/stream?streams=aaplusd@trade") as stream:
        listed = await stream.ask({"method": "LIST_SUBSCRIPTIONS", "id": 1})
        assert listed["result"] == ["aaplusd@trade"]
    async with listening(venue, ann):
        pass


# Market data


async def test_market_is_told_in_json_with_exact_numbers(venue: Venue, ann: Account, bob: Account) -> None:
    async with subscribed(venue, ann, trades=["AAPL"], quotes=["*"]) as stream:
        await bob.place("sell", "5", "230.10")
        (quote,) = await stream.until("q")
        assert (quote["S"], quote["ap"], quote["as"], quote["bp"]) == ("AAPL", 230.1, 5, 0)
        await ann.place("buy", "2", "230.10")
        payload = await stream.connection.recv()
        assert '"p":230.10,"s":2,' in str(payload)
        (trade,) = json.loads(payload)
        assert {**trade} == {
            "T": "t", "S": "AAPL", **(await ann.ok("GET", "stocks/AAPL/trades/latest"))["trade"]
        }  # fmt: skip
        (quote,) = await stream.until("q")
        assert quote["as"] == 3
        (answer,) = await stream.ask({"action": "unsubscribe", "quotes": ["*"]})
        assert (answer["T"], answer["quotes"], answer["trades"]) == ("subscription", [], ["AAPL"])


async def test_market_is_told_in_msgpack_with_timestamps(venue: Venue, ann: Account, bob: Account) -> None:
    async with subscribed(venue, ann, MSGPACK, trades=["*"]) as stream:
        await bob.place("sell", "0.04", "60000.5", symbol="COIN")
        await ann.place("buy", "0.04", "60000.5", symbol="COIN")
        payload = await stream.connection.recv(decode=False)
        (trade,) = msgspec.msgpack.decode(payload)
        assert (trade["T"], trade["S"], trade["p"], trade["s"]) == ("t", "COIN", 60000.5, 0.04)
        at = payload.index(b"\xd7\xff") + 2  # an extension of eight bytes, of type -1
        (packed,) = struct.unpack(">Q", payload[at : at + 8])
        told = (await ann.ok("GET", "stocks/COIN/trades/latest"))["trade"]["t"]
        assert told == rfc3339((packed & (1 << 34) - 1) * 10**9 + (packed >> 34))


async def test_bars_are_told_when_their_minute_is_over(venue: Venue, ann: Account, bob: Account) -> None:
    streams = venue.server.alpaca_data_streams
    async with subscribed(venue, ann, bars=["AAPL"], dailyBars=["AAPL"], updatedBars=["AAPL"]) as stream:
        await bob.place("sell", "3", "230.00")
        await ann.place("buy", "3", "230.00")
        venue.server.market_data.flush()
        minute = venue.server.market_data.markets[1].statistics.bars[-1].minute
        streams.tick((minute + 1) * 60 * 10**9)
        (bar,) = await stream.until("b")
        rest = (await ann.ok("GET", "stocks/AAPL/bars/latest"))["bar"]
        assert bar == {"T": "b", "S": "AAPL", **rest}
        (day,) = await stream.until("d")
        assert (day["c"], day["v"] >= bar["v"], day["t"][10:]) == (230.0, True, "T00:00:00.000000000Z")
        await bob.place("sell", "1", "231.00")
        await ann.place("buy", "1", "231.00")
        (updated,) = await stream.until("u")
        assert (updated["t"], updated["c"], updated["v"]) == (bar["t"], 231.0, bar["v"] + 1)


async def test_garbage_and_what_is_not_known_is_refused(venue: Venue, ann: Account) -> None:
    async with connected(venue, "/v2/sip") as stream:
        await stream.hear()
        assert (await stream.ask({"action": "subscribe", "trades": ["AAPL"]}))[0]["code"] == 401
        assert (await stream.ask({"action": "auth", "key": ann.key_id, "secret": "no"}))[0]["code"] == 402
        await stream.ask({"action": "auth", "key": ann.key_id, "secret": ann.secret})
        assert (await stream.ask({"action": "auth", "key": ann.key_id, "secret": ann.secret}))[0]["code"] == 403
        assert (await stream.ask({"action": "subscribe", "trades": ["NOPE"]}))[0]["code"] == 400
        assert (await stream.ask({"action": "subscribe", "trades": ["AAPL"] * 2000}))[0]["code"] == 405
        assert (await stream.ask({"action": "subscribe", "lulds": ["AAPL"], "news": ["*"]}))[0]["lulds"] == ["AAPL"]
        assert (await stream.ask([1, 2]))[0]["code"] == 400
    async with connected(venue, "/v2/iex", MSGPACK) as stream:
        await stream.hear()
        for _ in range(20):
            await stream.connection.send(b"\xc1")
            assert (await stream.hear())[0]["code"] == 400
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await stream.hear()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


async def test_connection_that_does_not_say_whose_it_is_is_closed(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trading_engine.servers.tes.alpaca.sockets.AUTHENTICATION_SECONDS_MAX", 0.05)
    async with connected(venue, "/v2/iex") as stream:
        await stream.hear()
        with pytest.raises(websockets.ConnectionClosed, match="authentication timeout"):
            await stream.hear()
    async with connected(venue, "/stream") as stream:
        await stream.say({"action": "listen"})
        await stream.hear()
        with pytest.raises(websockets.ConnectionClosed, match="authentication timeout"):
            await stream.hear()


async def test_path_of_no_feed_is_refused(venue: Venue) -> None:
    with pytest.raises(websockets.InvalidStatus):
        async with connected(venue, "/v2/nothing"):
            pass
