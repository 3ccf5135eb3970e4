"""A connection that takes the place of an earlier one: what was sent over that has taken effect by then, or never does.

Over the native API, and in the FIX gateway, which is where somebody loses a connection and has to know what became of his requests.
"""

import contextlib
from collections.abc import AsyncIterator, Collection
from types import ModuleType
from typing import Any

import pytest
import pytest_asyncio
import websockets
from msgspec.structs import replace

from support.fix_client import FixGateway, fix_gateway, shown
from support.tes_venue import Socket, Trader, Venue, eventually, order, running_venue, venue_config
from trading_engine.servers.tes.routes import websocket as websocket_module
from trading_engine.servers.tes.routes.websocket import Session
from trading_engine.servers.tes.services import gateway as gateway_module

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN_PASSWORD = "the-administrator-1"
TAKEN_OVER = (1008, "another connection has taken this session over")
ORDERS = 80


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TRADING_ENGINE_ADMIN_PASSWORD", ADMIN_PASSWORD)
        async with running_venue(venue_config(tmp_path_factory.mktemp("v"), scenarios=True)) as venue:
            yield venue


@pytest_asyncio.fixture(loop_scope="module")
async def ann(venue: Venue) -> AsyncIterator[Trader]:
    trader = await venue.log_in("ann")
    yield trader
    await hold_up(venue, trader, 0)
    await trader.cancel_all()


async def hold_up(venue: Venue, trader: Trader, latency_ms: int) -> None:
    """Have the trader's requests be so long on their way to the venue from now on."""
    admin = await venue.log_in("admin", ADMIN_PASSWORD)
    portfolio_id = (await trader.get("/v1/me"))["portfolios"][0]["portfolio_id"]
    path = f"/v1/scenarios/accounts/{portfolio_id}"
    response = await admin.request("PUT", path, json={"latency_ms": latency_ms})
    assert response.is_success, response.text


async def authenticate(socket: Socket, trader: Trader, name: str) -> None:
    await socket.result(op="auth", token=trader.tokens["access_token"], session=name)


def sessions_of(venue: Venue) -> Collection[Session]:
    return venue.server.websocket.sessions


async def is_under_way(venue: Venue) -> bool:
    return any(not session.is_settled for session in sessions_of(venue))


async def is_alone(venue: Venue) -> bool:
    return len(sessions_of(venue)) == 1


async def no_name_is_kept(venue: Venue) -> bool:
    return len(venue.server.websocket.names) == 0


async def quantities(trader: Trader, orders: Collection[str]) -> dict[str, str]:
    listed = (await trader.get("/v1/orders", status="open", limit=1000))["orders"]
    return {one["order_id"]: one["quantity"] for one in listed if one["order_id"] in orders}


async def closing_of(socket: Socket) -> tuple[int | None, str | None]:
    """Why the server closed it; its answers are passed over."""
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            socket.seen.append(await socket.receive())
    return socket.connection.close_code, socket.connection.close_reason


# The native API


@pytest.mark.parametrize(("limit_of", "latency_ms"), [(gateway_module, 0), (websocket_module, 40)], ids=["all", "own"])
async def test_requests_that_wait_their_turn_are_dropped_when_another_takes_over(
    venue: Venue, ann: Trader, monkeypatch: pytest.MonkeyPatch, limit_of: ModuleType, latency_ms: int
) -> None:
    """They wait for room among all requests that are under way, or among those of their own connection."""
    orders = [(await ann.place("buy", "1", "200.00"))["order_id"] for _ in range(ORDERS)]
    await hold_up(venue, ann, latency_ms)
    monkeypatch.setattr(limit_of, "IN_FLIGHT_MAX", 3)
    async with venue.socket() as earlier, venue.socket() as later:
        await authenticate(earlier, ann, "bot")
        numbers = [await earlier.send(op="replace", order_id=order_id, quantity="2") for order_id in orders]
        await earlier.answer_to(numbers[0])
        await authenticate(later, ann, "bot")
        then = await quantities(ann, orders)
        assert 0 < list(then.values()).count("2") < ORDERS
        assert await closing_of(earlier) == TAKEN_OVER
        await eventually(lambda: is_alone(venue))
        # It arrives at the venue behind everything that had been sent there.
        await later.result(op="place", **order("buy", "1", "200.00"))
        assert await quantities(ann, orders) == then


async def test_request_that_waits_for_others_to_end_is_dropped_when_another_takes_over(
    venue: Venue, ann: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of its own connection is under way."""
    order_id = (await ann.place("buy", "1", "200.00"))["order_id"]
    with monkeypatch.context() as no_room:
        no_room.setattr(gateway_module, "IN_FLIGHT_MAX", 0)
        async with venue.socket() as earlier, venue.socket() as later:
            await authenticate(earlier, ann, "bot")
            await earlier.send(op="replace", order_id=order_id, quantity="2")
            await later.result(op="ping")
            await authenticate(later, ann, "bot")
            no_room.undo()
            await later.result(op="place", **order("buy", "1", "200.00"))  # When it has ended there is room for one.
            await eventually(lambda: is_alone(venue))
            await later.result(op="place", **order("buy", "1", "200.00"))
            assert await quantities(ann, [order_id]) == {order_id: "1"}


@contextlib.asynccontextmanager
async def replacing(venue: Venue, trader: Trader, delay_ms: int) -> AsyncIterator[tuple[Socket, Socket, str]]:
    """An earlier connection over which an order's replace is under way, a later one, and the order."""
    order_id = (await trader.place("buy", "1", "200.00"))["order_id"]
    await hold_up(venue, trader, delay_ms)
    async with venue.socket() as earlier, venue.socket() as later:
        await authenticate(earlier, trader, "bot")
        await earlier.send(op="replace", order_id=order_id, quantity="2")
        await eventually(lambda: is_under_way(venue))
        yield earlier, later, order_id


@pytest.mark.parametrize("is_lost", [False, True], ids=["open", "lost"])
async def test_request_under_way_has_taken_effect_when_another_is_in(venue: Venue, ann: Trader, is_lost: bool) -> None:
    async with replacing(venue, ann, 400) as (earlier, later, order_id):
        if is_lost:
            earlier.connection.transport.abort()
            await eventually(lambda: is_alone(venue))
        await authenticate(later, ann, "bot")
        assert await quantities(ann, [order_id]) == {order_id: "2"}
    await eventually(lambda: no_name_is_kept(venue))


async def test_request_under_way_that_failed_never_takes_effect(venue: Venue, ann: Trader) -> None:
    async with replacing(venue, ann, 300) as (_, later, order_id):
        await venue.obs.stop()
        try:
            await authenticate(later, ann, "bot")
        finally:
            await venue.obs.start()
            await venue.tes.ready()
        await hold_up(venue, ann, 0)
        await later.result(op="place", **order("buy", "1", "200.00"))
        assert await quantities(ann, [order_id]) == {order_id: "1"}


async def test_third_that_takes_over_waits_for_the_first_too(venue: Venue, ann: Trader) -> None:
    order_id = (await ann.place("buy", "1", "200.00"))["order_id"]
    await hold_up(venue, ann, 400)
    async with venue.socket() as first, venue.socket() as second, venue.socket() as third:
        await authenticate(first, ann, "bot")
        await first.send(op="replace", order_id=order_id, quantity="2")
        await eventually(lambda: is_under_way(venue))
        waiting = await second.send(op="auth", token=ann.tokens["access_token"], session="bot")
        assert await closing_of(first) == TAKEN_OVER
        await authenticate(third, ann, "bot")
        assert await quantities(ann, [order_id]) == {order_id: "2"}
        assert await closing_of(second) == TAKEN_OVER
        assert [message for message in second.seen if message.get("id") == waiting] == []
    await eventually(lambda: no_name_is_kept(venue))


async def test_other_names_and_other_users_and_keys_that_may_only_read_take_nothing_over(
    venue: Venue, ann: Trader
) -> None:
    bob = await venue.log_in("bob")
    key = (await ann.request("POST", "/v1/api-keys", json={"label": "look", "scopes": ["read"]})).json()
    async with venue.socket() as earlier, venue.socket() as later:
        await authenticate(earlier, ann, "bot")
        async with venue.socket(ann), venue.socket() as of_bob, venue.socket() as reader:
            await authenticate(later, ann, "other")
            await authenticate(of_bob, bob, "bot")
            await reader.result(op="auth", key=key["key_id"], secret=key["secret"], session="bot")
            placed = await earlier.result(op="place", **order("buy", "1", "200.00"))
            assert placed["status"] == "new"


async def test_connection_keeps_the_name_that_it_has(venue: Venue, ann: Trader) -> None:
    async with venue.socket() as earlier, venue.socket() as later:
        await authenticate(earlier, ann, "bot")
        await authenticate(earlier, ann, "bot")
        await earlier.result(op="auth", token=ann.tokens["access_token"])
        refused = await earlier.error(op="auth", token=ann.tokens["access_token"], session="another")
        assert (refused["code"], refused["field"], refused["value"]) == ("INVALID_REQUEST", "session", "another")
        await authenticate(later, ann, "bot")
        assert await closing_of(earlier) == TAKEN_OVER


@pytest.mark.parametrize("name", ["", "x" * 65, 7])
async def test_name_that_is_none_is_refused(venue: Venue, ann: Trader, name: Any) -> None:
    async with venue.socket() as socket:
        refused = await socket.error(op="auth", token=ann.tokens["access_token"], session=name)
        assert (refused["code"], refused["field"]) == ("INVALID_REQUEST", "session")
        await authenticate(socket, ann, "x" * 64)


async def test_account_whose_connection_is_taken_over_was_not_away(venue: Venue, ann: Trader) -> None:
    response = await ann.request("PUT", "/v1/cancel-on-disconnect", json={"action": "all"})
    assert response.is_success, response.text
    try:
        async with venue.socket() as earlier, venue.socket() as later:
            await authenticate(earlier, ann, "bot")
            placed = await earlier.result(op="place", **order("buy", "1", "200.00"))
            await authenticate(later, ann, "bot")
            await eventually(lambda: is_alone(venue))
            await later.result(op="place", **order("buy", "1", "201.00"))
            assert (await ann.get(f"/v1/orders/{placed['order_id']}"))["status"] == "new"
    finally:
        await ann.request("PUT", "/v1/cancel-on-disconnect", json={"action": "none"})


# The FIX gateway


async def test_replace_on_its_way_when_its_session_is_lost_is_made_and_told_once(venue: Venue, ann: Trader) -> None:
    async with fix_gateway(venue) as gateway, gateway.client(comp_id="LOST") as client:
        await client.log_on()
        client.order("k1", "1", "1", "200.00", (59, "1"))
        await client.report()
        await hold_up(venue, ann, 500)
        client.replace("k2", "k1", "2", "200.00")
        await eventually(lambda: is_under_way(venue))
        client.drop()
        await hold_up(venue, ann, 0)
        await client.log_on_again()
        client.send_again(int((await client.next("2")).get(7)))
        client.order("k3", "1", "1", "200.00", (59, "1"))
        told = [shown(await client.report(), 11, 150, 38) for _ in range(2)]
        assert told == [["k2", "5", "2"], ["k3", "0", "1"]]
        client.send("1", (112, "END"))
        await client.next("0")
        assert [message for message in client.seen if message.msg_type in ("8", "9", "j")] == []


async def test_session_that_logs_on_at_another_gateway_is_logged_out_at_the_first(venue: Venue) -> None:
    async with fix_gateway(venue) as gateway:
        other = FixGateway(venue)
        other.config = replace(other.config, data_dir=f"{other.config.data_dir}/other-gateway")
        other.config.data_path.mkdir()
        await other.start()
        try:
            async with gateway.client(comp_id="MOVES") as first, other.client(comp_id="MOVES") as second:
                await first.log_on()
                assert (await second.log_on()).msg_type == "A"
                assert (await first.next("5")).get(58) == "TAKEN_OVER: Another stream has taken the place of this one."
                await first.closed()
                second.order("m1", "1", "1", "200.00")
                assert (await second.report())[150] == "0"
                second.cancel("m2", "m1")
                assert (await second.report())[150] == "4"
        finally:
            await other.stop()
