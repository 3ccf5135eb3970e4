"""A venue under random commands, audited after each one, interrupted, and replayed.

Each seed decides everything: the workload, how hostile it is, how much the venue remembers, and when it is restored from its snapshot
in mid-flight. Afterwards the journal of the run is replayed from the start, and from a snapshot somewhere on the way.

    SIM_SEED=123 pytest -m soak …     runs one seed, as long as the soak does
    SIM_SECONDS=600 pytest -m soak …  runs new seeds for ten minutes
"""

import os
import time
from random import SystemRandom

import pytest
from msgspec.structs import replace

from support.simulation import check_replay, simulate
from support.workload import INSTRUMENTS, NO_EMPHASIS, TRANSFERS
from trading_engine.venue import accounts, transfers
from trading_engine.venue import commands as c
from trading_engine.venue import events as e
from trading_engine.venue import venue as venue_module
from trading_engine.venue.shards import INSTRUMENTS_PER_SHARD, SHARD_MAX


@pytest.fixture(autouse=True)
def short_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgetting is part of the rules; with the real limits it would hardly ever happen here."""
    monkeypatch.setattr(accounts, "CLIENT_ORDER_IDS_REMEMBERED", 40)
    monkeypatch.setattr(venue_module, "PRODUCERS_REMEMBERED", 3)
    monkeypatch.setattr(transfers, "TRANSFER_IDS_REMEMBERED", 5)


@pytest.mark.parametrize("seed", range(1, 9))
def test_simulation_keeps_the_rules_and_replays_to_the_same_hash(seed: int) -> None:
    driver = simulate(seed, commands_count=600)
    assert len(driver.batches) > 500
    check_replay(driver, seed)


@pytest.mark.parametrize("seed", range(1, 3))
def test_simulation_with_money_that_comes_and_goes_between_shards(seed: int) -> None:
    driver = simulate(seed, commands_count=400, emphasis=TRANSFERS)
    kinds = {type(event) for batch in driver.batches for event in batch.events}
    assert kinds >= {e.TransferBegun, e.TransferRepeated, e.TransferReceived, e.TransferRejected}
    assert kinds >= {e.TransferCompleted, e.TransferReturned}
    check_replay(driver, seed)


@pytest.mark.parametrize("seed", range(1, 3))
def test_simulation_of_the_last_shard_keeps_the_rules_with_the_largest_numbers(seed: int) -> None:
    listed = replace(INSTRUMENTS[0], instrument_id=SHARD_MAX * INSTRUMENTS_PER_SHARD + 1, symbol="LAST")
    driver = simulate(seed, commands_count=400, opening=[c.ListInstrument(listed)])
    events = [event for batch in driver.batches for event in batch.events]
    numbers = [event.order_id for event in events if isinstance(event, e.OrderAccepted)]
    numbers += [event.trade_id for event in events if isinstance(event, e.TradeExecuted)]
    assert SHARD_MAX * 2**43 < min(numbers) < max(numbers) < 2**53
    check_replay(driver, seed)


@pytest.mark.soak
def test_simulation_keeps_the_rules_for_minutes() -> None:
    seconds = float(os.environ.get("SIM_SECONDS", "120"))
    seeds = SystemRandom()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        seed = int(os.environ.get("SIM_SEED") or seeds.randrange(2**32))
        emphasis = TRANSFERS if seed % 2 else NO_EMPHASIS
        check_replay(simulate(seed, commands_count=5_000, emphasis=emphasis), seed)
        if "SIM_SEED" in os.environ:
            return
