"""Random batches on the fast venue and, one by one, on the reference: equal counts of events, and equal states.

`SIM_COMMANDS=100000000 make sim ARGS="-k batches"` is the long run, `SIM_SEED` its seed.
"""

import os

import numpy as np
import pytest

from support.record_market import TEXT, commands_of, random_records
from trading_engine.venue import Venue
from trading_engine.venue import commands as c
from trading_engine.venue.fast.venue import FastVenue
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.terms import TradingPhase

COMMANDS = int(os.environ.get("SIM_COMMANDS", "60000"))
SEED = int(os.environ.get("SIM_SEED", "1"))
BATCH = 10_000
STATES_COMPARED_EVERY = 5
ACCOUNTS = 40
INSTRUMENTS = (
    Instrument(1, "PLAIN", "No fees, no band", "USD", "0.01", "1", 1, price_ticks_max=10_000),
    Instrument(
        2, "FEES", "Uneven fees", "USD", "0.01", "1", 7, market_protection_ticks=5, maker_fee_ppm=333, taker_fee_ppm=777
    ),
    Instrument(
        3,
        "BAND",
        "Narrow limits everywhere",
        "EUR",
        "0.5",
        "10",
        500,
        quantity_lots_min=3,
        quantity_lots_max=60,
        price_ticks_max=150,
        notional_min=200_000,
        notional_max=2_000_000,
        market_protection_ticks=3,
        price_band_ppm=150_000,
        taker_fee_ppm=100_000,
        reference_price_ticks=100,
    ),
)


def opening(random: np.random.Generator) -> list[c.AnyCommand]:
    commands: list[c.AnyCommand] = [c.ListInstrument(instrument) for instrument in INSTRUMENTS]
    commands.append(c.SetTradingPhase(0, TradingPhase.CONTINUOUS))
    for account in range(1, ACCOUNTS + 1):
        cash, lots = int(random.choice((10**12, 10**8, 10**6))), int(random.choice((10**9, 10**5, 1_000)))
        positions = tuple((instrument.instrument_id, lots) for instrument in INSTRUMENTS)
        open_orders_max, group = int(random.choice((5, 50, 1000))), int(random.choice((0, 0, 7)))
        commands.append(c.OpenAccount(account, (("USD", cash), ("EUR", cash)), positions, open_orders_max, group))
    return commands


def working_orders(venue: Venue) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    orders = [
        (order.account_id, order.order_id)
        for instrument_id in venue.instruments
        for order in venue._markets[instrument_id].resting_orders()
    ]
    return np.array(orders, np.int64).reshape(-1, 2)


@pytest.mark.timeout(0)
def test_batches_leave_both_venues_in_one_state() -> None:
    random = np.random.default_rng(SEED)
    reference, fast = Venue(), FastVenue()
    for number, command in enumerate(opening(random), 1):
        sequenced = c.SequencedCommand(number, number, "opening", number, command)
        assert fast.apply(sequenced) == reference.apply(sequenced)
    middle, batches = 100, max(1, COMMANDS // BATCH)
    for batch in range(batches):
        first = reference.command_sequence + 1
        middle = int(np.clip(middle + random.integers(-2, 3), 20, 140))
        working = working_orders(reference)
        records = random_records(random, BATCH, ACCOUNTS, len(INSTRUMENTS), middle, working, reference._last_order_id)
        records["time_ns"] = first + np.arange(BATCH)
        records["producer"] = fast.producer_number("batches")
        records["producer_sequence"] = batch * BATCH + 1 + np.arange(BATCH) - 3 * (random.random(BATCH) < 0.01)
        fast.apply_batch(records, TEXT)
        for sequenced in commands_of(records, first, "batches"):
            reference.apply(sequenced)
        assert fast.event_sequence == reference.event_sequence, f"SIM_SEED={SEED}, batch {batch}"
        if batch % STATES_COMPARED_EVERY == 0 or batch == batches - 1:
            assert fast.snapshot() == reference.snapshot(), f"SIM_SEED={SEED}, batch {batch}"
    assert reference._last_trade_id > COMMANDS // 10
