"""Users of a venue that is being killed, what they were told, and whether it is all there afterwards."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from support.processes import VenueProcesses
from trading_engine.clients import AsyncClient
from trading_engine.clients.sdk.calls import OrderTerms
from trading_engine.clients.sdk.errors import OutcomeUnknown, Refused, ServerFailed, Unavailable
from trading_engine.clients.sdk.views import Order, OrderUpdate, Side, StreamEvent

TRADERS_PER_USER = 4
PAUSE_S_MAX = 0.3
"""Before each order: that a life is long in faults, and not in orders to be compared, whatever the machine can do."""
STARTING_CASH = 1_000_000_00
STARTING_LOTS = 100_000
USERS = ("alice", "bob")
SYMBOLS = ("AAA", "BBB")

CONFIGURATION: dict[str, object] = {
    "venue": {
        "instruments": [{"symbol": symbol, "name": symbol, "reference_price": "100.00"} for symbol in SYMBOLS],
        "currencies": {"USD": {"decimals": 2}},
    },
    "obs": {"snapshot_every_commands": 300},
    "tes": {
        "order_timeout_s": 2.0,
        "rate_limits": {
            "orders_per_second": 100000,
            "orders_burst": 100000,
            "requests_per_second": 100000,
            "requests_burst": 100000,
            "logins_per_minute": 10000,
        },
    },
    "demo": {
        "users": [
            {"username": user, "password": f"{user}-password", "cash": {"USD": "1000000.00"}, "quantity_each": "100000"}
            for user in USERS
        ]
    },
    "bots": {"makers": 0, "takers": 0, "noise": 0},
}


@dataclass
class Record:
    """What one user was told."""

    attempted: set[str] = field(default_factory=set)
    accepted: dict[str, str] = field(default_factory=dict)
    """Client order id → order id."""
    canceled: set[str] = field(default_factory=set)
    """Order ids whose cancel was acknowledged."""
    fills: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(trade id, order id) → how often the private stream has told it."""


async def trade(client: AsyncClient, user: str, record: Record, rng: random.Random, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await asyncio.sleep(rng.uniform(0.0, PAUSE_S_MAX))
        try:
            if record.accepted and rng.random() < 0.3:
                order_id = rng.choice(list(record.accepted.values()))
                order = await client.cancel(order_id)
                if order.status == "canceled":  # A cancel repeated after a crash may find that the order had filled.
                    record.canceled.add(order_id)
                continue
            client_order_id = f"{user}-{len(record.attempted) + 1}"
            record.attempted.add(client_order_id)
            side: Side = "buy" if rng.random() < 0.5 else "sell"
            price = f"{100 + rng.randint(-5, 5) / 100:.2f}"
            symbol, quantity, terms = rng.choice(SYMBOLS), rng.randint(1, 20), OrderTerms()
            if rng.random() < 0.2:
                terms = OrderTerms(display_quantity=rng.randint(1, quantity))
            order = await client.place(symbol, side, quantity, price=price, client_order_id=client_order_id, **terms)
            record.accepted[client_order_id] = order.order_id
        except Refused:
            continue
        except (Unavailable, OutcomeUnknown, ServerFailed):
            await asyncio.sleep(0.05)


async def move_money(client: AsyncClient, shards: int, rng: random.Random, stop: asyncio.Event) -> None:
    """What is lost on the way to the server or back is sent again by the client, under the same id."""
    while not stop.is_set():
        source, target = rng.sample(range(shards), 2)
        with contextlib.suppress(Refused, Unavailable, OutcomeUnknown, ServerFailed):
            await client.transfer("USD", rng.randint(1, 500), from_shard=source, to_shard=target)
        await asyncio.sleep(rng.uniform(0.0, 0.3))


async def follow(client: AsyncClient, record: Record, stack: AsyncExitStack) -> None:
    """The account's private stream, over all lives of the server."""
    stream = client.stream()

    def on_event(event: StreamEvent) -> None:
        if isinstance(event, OrderUpdate) and event.fill is not None:
            record.fills[event.fill.trade_id, event.fill.order_id] += 1

    stream.on_event = on_event
    await stack.enter_async_context(stream)
    await stream.subscribe_orders()


def client_of(venue: VenueProcesses, user: str) -> AsyncClient:
    return AsyncClient(venue.url, username=user, password=f"{user}-password")


@asynccontextmanager
async def users_of(venue: VenueProcesses) -> AsyncIterator[dict[str, Record]]:
    """What each of them is told, in all loads until the block ends."""
    records = {user: Record() for user in USERS}
    async with AsyncExitStack() as stack:
        for user, record in records.items():
            client = await stack.enter_async_context(client_of(venue, user))
            await follow(client, record, stack)
        yield records


@asynccontextmanager
async def under_load(
    venue: VenueProcesses, records: dict[str, Record], rng: random.Random, shards: int
) -> AsyncIterator[None]:
    """Users trade, and move money between shards, until the block ends."""
    stop = asyncio.Event()
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        for user, record in records.items():
            client = await stack.enter_async_context(client_of(venue, user))
            for _ in range(TRADERS_PER_USER):
                group.create_task(trade(client, user, record, random.Random(rng.random()), stop))
            if shards > 1:
                group.create_task(move_money(client, shards, random.Random(rng.random()), stop))
        try:
            yield
            await asyncio.sleep(0.3)
        finally:
            stop.set()


async def orders_of(client: AsyncClient) -> dict[str, Order]:
    """All orders that the API knows, by order id; fails where one is listed twice."""
    orders: dict[str, Order] = {}
    async for order in client.all_orders("all"):
        assert order.order_id not in orders, order
        orders[order.order_id] = order
    return orders


def check_user(record: Record, orders: dict[str, Order]) -> None:
    by_client_order_id = {order.client_order_id: order for order in orders.values()}
    assert len(by_client_order_id) == len(orders), "an order was placed twice under one client order id"
    assert by_client_order_id.keys() <= record.attempted
    for client_order_id, order_id in record.accepted.items():
        assert by_client_order_id[client_order_id].order_id == order_id
    for order_id in record.canceled:
        assert orders[order_id].status == "canceled", orders[order_id]
