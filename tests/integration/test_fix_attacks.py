"""What bad clients do to the gateway, and what becomes of the others meanwhile; and the gateway's own failures."""

import asyncio
import random
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from support.fix_client import FixClient, FixGateway, fix_gateway, shown
from support.tes_venue import Venue, eventually, running_venue, venue_config
from trading_engine.servers.fix import connection as connection_module
from trading_engine.servers.fix.store import SessionStore, StoreUnusable

pytestmark = pytest.mark.asyncio(loop_scope="module")

KIB = 1024


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    async with running_venue(venue_config(tmp_path_factory.mktemp("v"))) as venue:
        yield venue


async def trades_on(client: FixClient, name: str) -> None:
    """A session that does nothing wrong is served."""
    client.order(name, "1", "1", "200.00")
    assert shown(await client.report(), 11, 39, 58) == [name, "0", "-"]
    client.cancel(f"{name}c", name)
    assert shown(await client.report(), 11, 39) == [f"{name}c", "4"]


async def test_client_that_does_not_read_is_cut_off_and_misses_nothing(venue: Venue) -> None:
    async with (
        fix_gateway(venue, outbox_bytes_max=64 * KIB) as gateway,
        gateway.client(comp_id="SLOW") as slow,
        gateway.client("bob", comp_id="GOOD") as good,
    ):
        await good.log_on()
        await slow.log_on()
        slow.order("f1", "1", "1", "200.00")
        told = await slow.report()
        slow.send_bytes(b"".join(slow.frame("1", (112, "x" * 900)) for _ in range(20_000)))

        async def is_cut_off() -> bool:
            return gateway.server.sessions_of("SLOW") == 0

        await eventually(is_cut_off)
        await trades_on(good, "g1")
        slow.drop()
        slow.next_out = 1_000_000  # How much of the flood was taken only the gateway knows: it will ask.
        assert (await slow.log_on()).msg_type == "A"
        assert (await slow.next("2")).get(16) == "0"
        slow.send("2", (7, told[34]), (16, told[34]))
        assert shown(await slow.report(), 17, 43) == [told[17], "Y"]


async def test_connections_that_say_nothing_or_dribble_are_closed_and_others_are_served(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fix_gateway(venue, connections_max=60) as gateway, gateway.client(comp_id="FIRST") as good:
        await good.log_on()
        monkeypatch.setattr("trading_engine.servers.fix.session.LOGON_WAIT_S", 1.0)
        silent = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(59)]
        refused_reader, refused_writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        assert await refused_reader.read(1) == b""
        refused_writer.close()
        for number, (_, writer) in enumerate(silent):
            if number % 2:
                writer.write(b"8=FIX.4.4\x019=100\x0135=A\x01"[: number % 20])
        await trades_on(good, "h1")
        for reader, writer in silent:
            assert await reader.read(1) == b""
            writer.close()
        monkeypatch.undo()
        async with gateway.client("bob", comp_id="SECOND") as second:
            assert (await second.log_on()).msg_type == "A"


async def test_half_open_session_is_tested_and_ended(venue: Venue) -> None:
    async with fix_gateway(venue) as gateway, gateway.client(comp_id="MUTE") as mute:
        await mute.log_on(heartbeat_s=1)
        await mute.closed()
        assert "1" in [message.msg_type for message in mute.seen]
        assert mute.seen[-1].get(58) == "No answer to a TestRequest"


async def test_flood_of_orders_waits_for_its_turn_and_others_are_served(venue: Venue) -> None:
    """More than the gateway has in flight at once, in one go: each is answered, in order."""
    count = 3 * connection_module.IN_FLIGHT_MAX
    async with (
        fix_gateway(venue) as gateway,
        gateway.client(comp_id="FLOOD") as flood,
        gateway.client("bob", comp_id="CALM") as calm,
    ):
        await flood.log_on()
        await calm.log_on()
        body = [(55, "AAPL"), (54, "1"), (60, flood.now()), (38, "1"), (40, "2"), (44, "150.00"), (59, "3")]
        flood.send_bytes(b"".join(flood.frame("D", (11, f"fl{n}"), *body) for n in range(count)))
        await trades_on(calm, "k1")
        reports: list[dict[int, str]] = []
        while not reports or shown(reports[-1], 11, 39) != [f"fl{count - 1}", "4"]:
            reports.append(await flood.report())
            assert reports[-1][150] in "04", reports[-1].get(58)
        assert [report[11] for report in reports if report[39] == "0"] == [f"fl{n}" for n in range(count)]


@pytest.mark.parametrize("seed", range(6))
async def test_random_bytes_harm_nobody(venue: Venue, seed: int) -> None:
    chance = random.Random(seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with fix_gateway(venue) as gateway, gateway.client("bob", comp_id=f"NEXT{seed}") as good:
        await good.log_on()
        for number in range(20):
            async with gateway.client(comp_id=f"RANDOM{seed}-{number}") as wild:
                if number % 2:
                    await wild.log_on()
                else:
                    await wild.connect()
                for _ in range(chance.randint(1, 5)):
                    data = bytearray(
                        wild.frame("D", (11, "w"), (55, "AAPL"), (54, "1"), (60, wild.now()), (38, "1"), (40, "1"))
                    )
                    data[chance.randrange(len(data))] = chance.randrange(256)
                    wild.send_bytes(chance.choice([bytes(data), chance.randbytes(chance.randint(1, 100_000))]))
        await trades_on(good, f"n{seed}")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * KIB


async def test_session_lives_on_while_the_tes_restarts_and_is_told_what_happens_then(venue: Venue) -> None:
    async with fix_gateway(venue) as gateway, gateway.client(comp_id="RESTART") as ann:
        await ann.log_on()
        ann.order("o1", "1", "10", "230.00", (59, "1"))
        assert (await ann.report())[39] == "0"
        await venue.tes.stop()
        ann.order("o2", "1", "10", "230.00", (59, "1"))
        await venue.tes.start()
        await venue.tes.ready()
        answer = await ann.report()
        assert shown(answer, 11, 150) in (
            ["o2", "0"],
            ["o2", "8"],
        )  # It came before the TES could take orders, or after.
        bob = await venue.log_in("bob")
        await bob.place("sell", "10", "230.00")
        assert shown(await ann.report(), 11, 39) == ["o1", "2"]


async def test_book_is_right_again_when_the_tes_is_back(venue: Venue) -> None:
    bob = await venue.log_in("bob")
    await bob.cancel_all()
    async with fix_gateway(venue) as gateway, gateway.client(comp_id="BOOK") as ann:
        await ann.log_on()
        first = await bob.place("sell", "10", "231.00", time_in_force="gtc")
        ann.send("V", (262, "M"), (263, "1"), (264, "0"), (267, "1"), (269, "1"), (146, "1"), (55, "AAPL"))
        assert shown(dict((await ann.next("W")).fields), 268, 270, 271) == ["1", "231.00", "10"]
        await venue.tes.stop()
        await venue.tes.start()
        await venue.tes.ready()
        bob = await venue.log_in("bob")
        await bob.request("DELETE", f"/v1/orders/{first['order_id']}")
        await bob.place("sell", "7", "232.00", time_in_force="gtc")
        book = {"231.00": "10"}
        while book != {"232.00": "7"}:
            message = await ann.next("X")
            entries = [value for tag, value in message.fields if tag in (279, 270, 271)]
            while entries:
                action, price = entries.pop(0), entries.pop(0)
                if action == "2":
                    del book[price]
                else:
                    book[price] = entries.pop(0)
        await bob.cancel_all()


async def test_order_while_nobody_matches_is_rejected_with_that_reason(venue: Venue) -> None:
    async with fix_gateway(venue) as gateway, gateway.client(comp_id="NO-OBS") as ann:
        await ann.log_on()
        await venue.obs.stop()

        async def is_unavailable() -> bool:
            return not venue.server.health.can_take_orders

        await eventually(is_unavailable)
        ann.order("u1", "1", "10", "230.00")
        report = await ann.report()
        assert shown(report, 39, 103) == ["8", "99"]
        assert report[58].startswith("MATCHING_UNAVAILABLE")
        await venue.obs.start()
        await venue.tes.ready()
        ann.order("u2", "1", "10", "230.00")
        assert shown(await ann.report(), 11, 39) == ["u2", "0"]


async def test_key_that_is_deleted_ends_its_session(venue: Venue) -> None:
    trader = await venue.log_in("ann")
    key = (await trader.request("POST", "/v1/api-keys", json={"label": "fix"})).json()
    async with (
        fix_gateway(venue) as gateway,
        gateway.client(key["key_id"], password=key["secret"], comp_id="ENDS") as client,
    ):
        await client.log_on()
        await trader.request("DELETE", f"/v1/api-keys/{key['key_id']}")
        assert (await client.next("5")).get(58)


async def test_logon_while_the_tes_is_away_is_refused_and_succeeds_when_it_is_back(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trading_engine.servers.fix.server.REPEAT_FOR_S", 0.2)
    async with fix_gateway(venue) as gateway, gateway.client(comp_id="EARLY") as ann:
        await venue.tes.stop()
        answer = await ann.log_on()
        assert answer.msg_type == "5"
        assert "DISCONNECTED" in answer.get(58)
        await venue.tes.start()
        await venue.tes.ready()
        ann.next_out = 1
        assert (await ann.log_on()).msg_type == "A"


async def test_gateway_whose_store_fails_ends_rather_than_send_what_it_cannot_remember(venue: Venue) -> None:
    gateway = await FixGateway(venue).start()
    async with gateway.client(comp_id="BROKEN") as ann:
        await ann.log_on()
        gateway.store._connection.execute("PRAGMA query_only = ON")
        ann.order("b1", "1", "1", "200.00")
        assert isinstance(await gateway.outcome(), StoreUnusable)
        await ann.closed()
        assert ann.seen == []
    gateway.store._connection.execute("PRAGMA query_only = OFF")
    gateway.store.close()


async def test_second_gateway_on_the_same_data_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fix" / "sessions.sqlite"
    store = SessionStore(path, 10)
    with pytest.raises(StoreUnusable, match="in use"):
        SessionStore(path, 10)
    store.close()
    SessionStore(path, 10).close()
