"""Users of a venue that is being killed, what they were told, and whether it is all there afterwards."""

import asyncio
import os
import random
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from support.processes import VenueProcesses
from trading_engine.clients import AsyncClient
from trading_engine.clients.sdk.calls import OrderTerms
from trading_engine.clients.sdk.errors import OutcomeUnknown, Refused, ServerFailed, Unavailable
from trading_engine.clients.sdk.views import Book, Order, Side
from trading_engine.servers.obs.journal import read_journal
from trading_engine.servers.obs.recovery import Paths
from trading_engine.venue import Venue
from trading_engine.venue.terms import Side as VenueSide

SEED = int(os.environ.get("CRASH_SEED", "20260105"))
TRADERS_PER_USER = 4
STARTING_CASH = 1_000_000_00
STARTING_LOTS = 100_000
USERS = ("alice", "bob")

CONFIGURATION: dict[str, object] = {
    "venue": {
        "instruments": [{"symbol": "AAA", "name": "Triple A", "reference_price": "100.00"}],
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


async def trade(client: AsyncClient, name: str, record: Record, rng: random.Random, stop: asyncio.Event) -> None:
    count = 0
    while not stop.is_set():
        count += 1
        try:
            if record.accepted and rng.random() < 0.3:
                order_id = rng.choice(list(record.accepted.values()))
                order = await client.cancel(order_id)
                if order.status == "canceled":  # A cancel repeated after a crash may find that the order had filled.
                    record.canceled.add(order_id)
                continue
            client_order_id = f"{name}-{count}"
            record.attempted.add(client_order_id)
            side: Side = "buy" if rng.random() < 0.5 else "sell"
            price = f"{100 + rng.randint(-5, 5) / 100:.2f}"
            quantity, terms = rng.randint(1, 20), OrderTerms()
            if rng.random() < 0.2:
                terms = OrderTerms(display_quantity=rng.randint(1, quantity))
            order = await client.place("AAA", side, quantity, price=price, client_order_id=client_order_id, **terms)
            record.accepted[client_order_id] = order.order_id
        except Refused:
            continue
        except (Unavailable, OutcomeUnknown, ServerFailed):
            await asyncio.sleep(0.05)


Fault = Callable[[VenueProcesses, random.Random], Awaitable[None]]


async def fail_at_random_moments(venue: VenueProcesses, rng: random.Random, rounds: int, fault: Fault) -> None:
    for _ in range(rounds):
        await asyncio.sleep(rng.uniform(0.1, 1.0))
        await fault(venue, rng)
        await asyncio.to_thread(venue.wait_ready)


def client_of(venue: VenueProcesses, user: str) -> AsyncClient:
    return AsyncClient(venue.url, username=user, password=f"{user}-password")


async def run_under_load(venue: VenueProcesses, rng: random.Random, rounds: int, fault: Fault) -> dict[str, Record]:
    """Users trade while faults come at random moments; returns what each of them was told."""
    records = {user: Record() for user in USERS}
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        clients = []
        for user in USERS:
            clients.append(client_of(venue, user))
            for number in range(TRADERS_PER_USER):
                own_rng = random.Random(rng.random())
                group.create_task(trade(clients[-1], f"{user}-{number}", records[user], own_rng, stop))
        try:
            await fail_at_random_moments(venue, rng, rounds, fault)
            await asyncio.sleep(0.3)
        finally:
            stop.set()
    for client in clients:
        await client.close()
    return records


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


def replayed_venue(data_dir: Path) -> Venue:
    """A venue that was given the whole journal from its first command on."""
    venue = Venue()
    for command in read_journal(Paths.under(data_dir).journal):
        venue.apply(command)
    return venue


def check_database(data_dir: Path, venue: Venue) -> None:
    """Every balance, position and open order of the database is the replayed venue's, and nothing was made or lost."""
    with sqlite3.connect(data_dir / "transactional.db") as database:
        cash = {
            (a, c): (b, h)
            for a, c, b, h in database.execute("select account_id, currency, balance, held from cash_balances")
        }
        lots = {
            (a, i): (q, h)
            for a, i, q, h in database.execute(
                "select account_id, instrument_id, quantity_lots, held_lots from positions"
            )
        }
        open_orders = {row[0] for row in database.execute("select order_id from orders where status in (0, 1)")}
        trades = database.execute("select count(*), count(distinct trade_id) from trades").fetchone()
    for (account_id, currency), balance in cash.items():
        holding = venue.account(account_id).cash[currency]
        assert balance == (holding.quantity, holding.held)
    for (account_id, instrument_id), position in lots.items():
        holding = venue.account(account_id).positions[instrument_id]
        assert position == (holding.quantity, holding.held)
    assert open_orders == {
        order_id for account_id in venue.account_ids for order_id in venue.account(account_id).open_orders
    }
    assert trades[0] == trades[1]
    assert sum(balance for balance, _ in cash.values()) == len(USERS) * STARTING_CASH
    assert sum(quantity for quantity, _ in lots.values()) == len(USERS) * STARTING_LOTS


async def check_all_agrees(venue: VenueProcesses, records: dict[str, Record], rounds: int) -> Venue:
    """What clients were told is in effect once, also after one more crash; the database is what the journal makes.

    Returns a venue that was given the whole journal.
    """
    await check_users(venue, records)
    venue.kill("obs", "tes")
    venue.start_servers()
    venue.wait_ready()
    await check_users(venue, records)
    async with client_of(venue, USERS[0]) as client:
        book = await client.book("AAA", depth=1000)
    assert venue.stop("tes") == 0
    assert venue.stop("obs") == 0
    assert sum(len(record.accepted) for record in records.values()) > 10 * rounds
    replayed = replayed_venue(venue.data_dir)
    check_database(venue.data_dir, replayed)
    check_book(book, replayed)
    return replayed


def check_book(book: Book, venue: Venue) -> None:
    """What a server displays that was killed and began anew: to the lot, what of each iceberg is displayed."""
    for side, levels in ((VenueSide.BUY, book.bids), (VenueSide.SELL, book.asks)):
        displayed = [(level.price_ticks, level.quantity_lots, level.orders) for level in venue.depth(1, side)]
        assert [(int(level.price * 100), int(level.quantity), level.orders) for level in levels] == displayed


async def check_users(venue: VenueProcesses, records: dict[str, Record]) -> None:
    for user in USERS:
        async with client_of(venue, user) as client:
            check_user(records[user], await orders_of(client))
