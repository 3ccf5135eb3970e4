"""Random orders as records of the fast venue: quick enough to make for millions of them."""

import numpy as np
from numpy.typing import NDArray

from trading_engine.venue import commands as c
from trading_engine.venue.fast import core, layout
from trading_engine.venue.terms import OrderType, SelfTradePrevention, Side, TimeInForce

NAMES = [f"name {number}".encode() for number in range(300)]
TEXT = b"".join(NAMES)
STARTS = np.cumsum([0, *map(len, NAMES)])
LENGTHS = np.array([*map(len, NAMES)])


def random_records(
    random: np.random.Generator,
    count: int,
    accounts: int,
    instruments: int,
    middle: int,
    working: NDArray[np.int64],
    last_order_id: int,
) -> NDArray[np.void]:
    """Orders, cancels and replaces of all kinds that a record can hold, around one price, rightly and wrongly addressed.

    `working` has rows of (account, order id), of which most cancels and replaces take one. Producer and time are left to the caller.
    """
    records = np.zeros(count, layout.COMMAND)
    records["kind"] = random.choice((core.PLACE_TAG, core.CANCEL_TAG, core.REPLACE_TAG), count, p=(0.55, 0.25, 0.2))
    is_new = records["kind"] == core.PLACE_TAG
    records["side"] = random.integers(1, 3, count)
    is_market = is_new & (random.random(count) < 0.07)
    records["order_type"] = np.where(is_market, int(OrderType.MARKET), int(OrderType.LIMIT))
    records["time_in_force"] = random.choice((0, 1, 3, 4), count, p=(0.3, 0.5, 0.12, 0.08))
    records["post_only"] = random.random(count) < 0.08
    records["self_trade_prevention"] = random.choice(5, count, p=(0.6, 0.1, 0.1, 0.1, 0.1))
    records["account_id"] = random.integers(1, accounts + 1, count)
    recent = np.maximum(0, last_order_id + random.integers(-30, count // 2 + 1, count))
    records["target_id"] = np.where(is_new, random.integers(1, instruments + 1, count), recent)
    if len(working):
        row = working[random.integers(0, len(working), count)]
        aimed = ~is_new & (random.random(count) < 0.6)
        records["account_id"] = np.where(aimed, row[:, 0], records["account_id"])
        records["target_id"] = np.where(aimed, row[:, 1], records["target_id"])
    records["quantity_lots"] = np.where(
        random.random(count) < 0.3, random.integers(1, 5, count), random.integers(0, 80, count)
    )
    price = np.maximum(-1, middle + np.rint(random.normal(0, 6, count)).astype(int))
    records["price_ticks"] = np.where(is_market | (~is_new & (random.random(count) < 0.3)), 0, price)
    chosen = random.integers(0, len(NAMES), count)
    is_named = random.random(count) < 0.3
    records["name_offset"] = np.where(is_named, STARTS[chosen], 0)
    records["name_bytes"] = np.where(is_named, LENGTHS[chosen], 0)
    records["target_id"] = np.where(is_named & ~is_new, 0, records["target_id"])
    return records


SIDES = (Side.BUY, Side.BUY, Side.SELL)
TYPES = {int(kind): kind for kind in OrderType}
TIMES = {int(time): time for time in TimeInForce}
MODES = {int(mode): mode for mode in SelfTradePrevention}


def commands_of(records: NDArray[np.void], first_sequence: int, producer: str) -> list[c.SequencedCommand]:
    """The records as commands, numbered from `first_sequence` on."""
    columns = (records[name].tolist() for name in layout.COMMAND.names or ())
    made = []
    for row, (
        kind,
        side,
        order_type,
        time,
        post_only,
        mode,
        length,
        time_ns,
        number,
        account,
        target,
        lots,
        price,
        at,
        _,
    ) in enumerate(zip(*columns, strict=True)):
        name = TEXT[at : at + length].decode()
        command: c.AnyCommand
        if kind == core.PLACE_TAG:
            command = c.PlaceOrder(
                account,
                name,
                target,
                SIDES[side],
                TYPES[order_type],
                TIMES[time],
                lots,
                price,
                bool(post_only),
                MODES[mode],
            )
        elif kind == core.CANCEL_TAG:
            command = c.CancelOrder(account, target, name)
        else:
            command = c.ReplaceOrder(account, target, name, lots, price)
        made.append(c.SequencedCommand(first_sequence + row, time_ns, producer, number, command))
    return made
