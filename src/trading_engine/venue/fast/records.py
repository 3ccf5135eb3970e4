"""Records of compiled code as the commands that they stand for."""

import numpy as np

from trading_engine.venue import commands as c
from trading_engine.venue.fast import core
from trading_engine.venue.terms import OrderType, SelfTradePrevention, Side, TimeInForce

SIDES = (Side.BUY, Side.BUY, Side.SELL)
MODES = {int(mode): mode for mode in SelfTradePrevention}

ORDER_COMMANDS = (c.PlaceOrder, c.CancelOrder, c.ReplaceOrder)


def command_of(record: np.void, text: bytes) -> c.AnyCommand:
    """The command that a record stands for."""
    start = int(record["name_offset"])
    name = text[start : start + int(record["name_bytes"])].decode()
    account_id, target_id = int(record["account_id"]), int(record["target_id"])
    quantity_lots, price_ticks = int(record["quantity_lots"]), int(record["price_ticks"])
    kind = int(record["kind"])
    if kind == core.CANCEL_TAG:
        return c.CancelOrder(account_id, target_id, name)
    if kind == core.REPLACE_TAG:
        return c.ReplaceOrder(account_id, target_id, name, quantity_lots, price_ticks)
    if kind != core.PLACE_TAG:
        raise ValueError(f"command kind {kind}")
    return c.PlaceOrder(
        account_id,
        name,
        target_id,
        Side(int(record["side"])),
        OrderType(int(record["order_type"])),
        TimeInForce(int(record["time_in_force"])),
        quantity_lots,
        price_ticks,
        bool(record["post_only"]),
        SelfTradePrevention(int(record["self_trade_prevention"])),
    )
