"""The gateway as a process of its own, killed while orders and changes go through it: each is made once, and each is answered."""

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest
import yaml

from support.fix_client import FixClient
from support.processes import VenueProcesses, free_port
from trading_engine.clients import Client

KILLS = 4
ORDERS_EACH = 40
SOAK_KILLS = 30
CHANGED = ("4", "5")
"""ExecTypes of a cancel and a replace."""
CONFIG = Path(__file__).parents[2] / "config" / "dev.yaml"
USER = {"username": "ann", "password": "long-enough-password", "cash": {"USD": "100000000.00"}}


class Killed:
    """A client whose gateway dies again and again."""

    def __init__(self, venue: VenueProcesses, port: int) -> None:
        self.client = FixClient(port, "ann")
        self.accepted: Counter[str] = Counter()
        self.refused: set[str] = set()
        self.changed: Counter[str] = Counter()
        """Reports of changes, by the ClOrdID of what asked for them."""
        self.unchanged: list[str] = []
        self._numbers: set[int] = set()
        self._venue = venue
        self._port = port

    def start_gateway(self) -> None:
        self._venue.start("fix", "-s", "FIX", "--fix-port", str(self._port))

    async def log_on(self) -> None:
        """As soon as the gateway is there. Asks for what it had sent and what did not arrive."""
        missing = self.client.next_in
        while True:
            try:
                answer = await self.client.log_on()
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
        assert answer.msg_type == "A", answer
        if self.client.next_in == missing:
            self.client.send("2", (7, str(missing)), (16, "0"))

    async def take_until_answered(self, names: set[str]) -> None:
        """Take reports until all of these orders have been accepted; send again what is asked for."""
        while not names <= self.accepted.keys():
            await self._take()

    async def take_until_settled(self, names: set[str]) -> None:
        """The same, where orders may be refused; what became of an order is asked for where the venue could not say."""
        while not names <= self.accepted.keys() | self.refused:
            await self._take()

    async def take_until_changed(self, names: set[str]) -> None:
        """Take reports until all of these changes have been told."""
        while not names <= self.changed.keys():
            await self._take()

    def change(self, name: str, *, cancels: bool) -> str:
        """Cancel or replace an order; the ClOrdID of that."""
        if cancels:
            self.client.cancel(f"c-{name}", name)
            return f"c-{name}"
        self.client.replace(f"r-{name}", name, "2", "199.00")
        return f"r-{name}"

    async def _take(self) -> None:
        message = await self.client.next("8", "9", "2", "5", "j")
        name = message.get(11) or message.get(379)
        if message.msg_type == "2":
            self.client.send_again(int(message.get(7)))
            return
        assert message.msg_type in "89j", message
        number = int(message.get(34))
        if number in self._numbers:
            return
        self._numbers.add(number)
        if message.msg_type == "j":
            self.client.order(name, "1", "1", "200.00", (59, "1"))
        elif message.get(150) == "0":
            self.accepted[name] += 1
            self.refused.discard(name)
        elif message.get(150) == "8":
            self.refused.add(name)
        elif message.msg_type == "9":
            self.unchanged.append(repr(message))
        elif message.get(150) in CHANGED:
            self.changed[name] += 1


@pytest.mark.spread
async def test_gateway_killed_under_orders_and_changes_makes_and_answers_each_once(tmp_path: Path) -> None:
    venue = VenueProcesses(tmp_path, yaml.safe_load(CONFIG.read_text()) | {"demo": {"users": [USER]}})
    try:
        venue.start_servers()
        venue.wait_ready()
        killed = Killed(venue, free_port())
        names: set[str] = set()
        changes: dict[str, str] = {}
        for kill in range(KILLS):
            killed.start_gateway()
            await killed.log_on()
            fresh = {f"n{kill}-{number}" for number in range(ORDERS_EACH)}
            known = sorted(killed.accepted.keys() - changes.keys())
            for name in sorted(fresh):
                killed.client.order(name, "1", "1", "200.00", (59, "1"))
                if known:
                    older = known.pop()
                    changes[older] = killed.change(older, cancels=len(known) % 2 == 0)
            names |= fresh
            # It dies with some answered, some on their way and some not yet read.
            some = set(sorted(fresh)[: ORDERS_EACH // 4 * kill])
            await killed.take_until_answered(some)
            venue.kill("fix")
            killed.client.drop()
        killed.start_gateway()
        await killed.log_on()
        await killed.take_until_answered(names)
        await killed.take_until_changed(set(changes.values()))
        assert killed.accepted == dict.fromkeys(names, 1)
        assert killed.changed == dict.fromkeys(changes.values(), 1)
        assert killed.unchanged == []
        with Client(venue.url, username="ann", password=str(USER["password"])) as client:
            orders = list(client.all_orders("all"))
        assert Counter(order.client_order_id for order in orders) == dict.fromkeys(names, 1)
        left = {order.client_order_id: (str(order.status), int(order.quantity)) for order in orders}
        assert {name: left[name] for name in changes} == {
            name: ("canceled", 1) if change.startswith("c-") else ("new", 2) for name, change in changes.items()
        }
        assert venue.stop("fix") == 0
    finally:
        venue.close()


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3))
async def test_gateway_and_servers_killed_at_random_under_orders_lose_and_double_nothing(
    tmp_path: Path, seed: int
) -> None:
    """What was accepted is in the venue, and the other way round; each once. Orders may be refused while a server is away."""
    chance = random.Random(seed)
    venue = VenueProcesses(tmp_path, yaml.safe_load(CONFIG.read_text()) | {"demo": {"users": [USER]}})
    services = {"obs": ("-s", "OBS"), "tes": ("-s", "TES")}
    try:
        venue.start_servers()
        venue.wait_ready()
        killed = Killed(venue, free_port())
        killed.start_gateway()
        await killed.log_on()
        sent: set[str] = set()
        for kill in range(SOAK_KILLS):
            fresh = {f"n{kill}-{number}" for number in range(ORDERS_EACH)}
            for name in sorted(fresh):
                killed.client.order(name, "1", "1", "200.00", (59, "1"))
            sent |= fresh
            await killed.take_until_settled(set(sorted(sent)[: chance.randrange(len(sent))]))
            victim = chance.choice(["fix", "obs", "tes"])
            venue.kill(victim)
            if victim == "fix":
                killed.client.drop()
                killed.start_gateway()
                await killed.log_on()
            else:
                venue.start(victim, *services[victim])
                venue.wait_ready()
        await killed.take_until_settled(sent)
        assert set(killed.accepted.values()) == {1}, seed
        with Client(venue.url, username="ann", password=str(USER["password"])) as client:
            entered = Counter(order.client_order_id for order in client.all_orders("all"))
        assert entered == killed.accepted, seed
    finally:
        venue.close()
