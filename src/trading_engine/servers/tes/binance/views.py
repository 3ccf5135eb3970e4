"""Orders, fills, trades and balances as Binance shows them: decimal strings, times as numbers (`times.py`), ids as numbers."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

from trading_engine.database.transactional.records import AccountState, Prevention, Trade
from trading_engine.servers.tes.binance.symbols import Symbols, commission_rate, symbol_of
from trading_engine.servers.tes.binance.times import timestamp
from trading_engine.servers.tes.services.order_entry import fills_of
from trading_engine.venue.conversion import lots_to_quantity, minor_to_amount, ticks_to_price
from trading_engine.venue.events import TradeExecuted
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.order_state import Fill, OrderReport, OrderState, OrderStatus
from trading_engine.venue.reasons import EndReason
from trading_engine.venue.terms import OrderType, SelfTradePrevention, Side, TimeInForce

NO_LIST = -1
NOT_WORKING = -1
NO_TRADE_GROUP = -1
"""Accounts are opened without one."""
BASIS_POINTS = 10_000
PPM_PER_BASIS_POINT = 100

SIDES = {Side.BUY: "BUY", Side.SELL: "SELL"}
TYPES = {
    OrderType.LIMIT: "LIMIT",
    OrderType.MARKET: "MARKET",
    OrderType.STOP: "STOP_LOSS",
    OrderType.STOP_LIMIT: "STOP_LOSS_LIMIT",
    OrderType.MARKET_TO_LIMIT: "MARKET",
    OrderType.PEGGED: "LIMIT",
}
TIMES_IN_FORCE = {TimeInForce.IOC: "IOC", TimeInForce.FOK: "FOK"}
"""All others are told as GTC: Binance has no more than these three."""
STATUSES = {
    OrderStatus.HELD: "PENDING_NEW",
    OrderStatus.NEW: "NEW",
    OrderStatus.PARTIALLY_FILLED: "PARTIALLY_FILLED",
    OrderStatus.FILLED: "FILLED",
    OrderStatus.CANCELED: "CANCELED",
    OrderStatus.EXPIRED: "EXPIRED",
}
PREVENTION_MODES = {
    SelfTradePrevention.NONE: "NONE",
    SelfTradePrevention.CANCEL_INCOMING: "EXPIRE_TAKER",
    SelfTradePrevention.CANCEL_RESTING: "EXPIRE_MAKER",
    SelfTradePrevention.CANCEL_BOTH: "EXPIRE_BOTH",
    SelfTradePrevention.DECREMENT: "DECREMENT",
}
EXPIRED_REASONS = frozenset(
    {
        EndReason.IOC_REMAINDER,
        EndReason.FOK_NOT_FILLABLE,
        EndReason.MINIMUM_NOT_FILLABLE,
        EndReason.AUCTION_REMAINDER,
        EndReason.OUTSIDE_BAND,
    }
)
"""What FIX calls canceled and Binance expired: the venue's own doing, by the order's terms."""


def status_of(order: OrderState) -> str:
    if order.end_reason is EndReason.SELF_TRADE_PREVENTED:
        return "EXPIRED_IN_MATCH"
    if order.end_reason in EXPIRED_REASONS:
        return "EXPIRED"
    return STATUSES[order.status]


def type_of(order: OrderState) -> str:
    return "LIMIT_MAKER" if order.post_only else TYPES[order.order_type]


def quote_amount(value: int, instrument: Instrument, decimals: int) -> str:
    """Of ticks times lots."""
    return minor_to_amount(value * instrument.tick_value, decimals)


def shown_price(order: OrderState, instrument: Instrument) -> str:
    """A market order has no price, whatever its protection made of it."""
    return ticks_to_price(order.price_ticks if order.order_type.has_limit else 0, instrument)


def order_fields(order: OrderState, instrument: Instrument, decimals: int) -> dict[str, Any]:
    """What all answers about an order have in common."""
    fields: dict[str, Any] = {
        "symbol": symbol_of(instrument),
        "orderId": order.order_id,
        "orderListId": order.group_id or NO_LIST,
        "clientOrderId": client_order_id_of(order),
        "price": shown_price(order, instrument),
        "origQty": lots_to_quantity(order.quantity_lots, instrument),
        "executedQty": lots_to_quantity(order.filled_lots, instrument),
        "origQuoteOrderQty": minor_to_amount(0, decimals),
        "cummulativeQuoteQty": quote_amount(order.filled_value, instrument, decimals),
        "status": status_of(order),
        "timeInForce": TIMES_IN_FORCE.get(order.time_in_force, "GTC"),
        "type": type_of(order),
        "side": SIDES[order.side],
        "workingTime": timestamp(order.created_ns) if is_working(order) else NOT_WORKING,
        "selfTradePreventionMode": PREVENTION_MODES[order.self_trade_prevention],
    }
    terms = order.special
    if terms is not None and terms.stop_price_ticks:
        fields["stopPrice"] = ticks_to_price(order.stop_price_ticks or terms.stop_price_ticks, instrument)
    delta = trailing_delta(order)
    if delta is not None:
        fields["trailingDelta"] = delta
    if terms is not None and terms.display_lots:
        fields["icebergQty"] = lots_to_quantity(terms.display_lots, instrument)
    prevented = prevented_lots(order)
    if prevented:
        fields["preventedQuantity"] = lots_to_quantity(prevented, instrument)
    return fields


def prevented_lots(order: OrderState) -> int:
    """There, what self-trade prevention canceled counts like what it took off."""
    if order.end_reason is EndReason.SELF_TRADE_PREVENTED:
        return order.quantity_lots - order.filled_lots
    return order.prevented_lots


def is_working(order: OrderState) -> bool:
    """Whether the order is in the book, or was; not while it waits for its stop price or for another order of its list."""
    return order.status is not OrderStatus.HELD and order.stop_price_ticks == 0


def trailing_delta(order: OrderState) -> int | None:
    """How far the stop price trails, in hundredths of a percent of the price at the time of entry; None where it does not."""
    terms = order.special
    if terms is None or not terms.trail_ticks:
        return None
    price_ticks = terms.stop_price_ticks - terms.trail_ticks * (1 if order.side is Side.BUY else -1)
    return round(Fraction(terms.trail_ticks * BASIS_POINTS, price_ticks)) if price_ticks > 0 else None


def client_order_id_of(order: OrderState) -> str:
    """Every order has a name there; one that was placed without has its number."""
    return order.client_order_id or f"o{order.order_id}"


def queried_order(order: OrderState, instrument: Instrument, decimals: int) -> dict[str, Any]:
    return {
        "stopPrice": ticks_to_price(0, instrument),
        "icebergQty": lots_to_quantity(0, instrument),
        **order_fields(order, instrument, decimals),
        "time": timestamp(order.created_ns),
        "updateTime": timestamp(order.updated_ns),
        "isWorking": is_working(order),
    }


def amendment(before: OrderState, after: OrderState, instrument: Instrument) -> dict[str, Any]:
    """An order keeps its name here."""
    return {
        "symbol": symbol_of(instrument),
        "orderId": after.order_id,
        "executionId": after.event_sequence,
        "origClientOrderId": client_order_id_of(before),
        "newClientOrderId": client_order_id_of(after),
        "origQty": lots_to_quantity(before.quantity_lots, instrument),
        "newQty": lots_to_quantity(after.quantity_lots, instrument),
        "time": timestamp(after.updated_ns),
    }


def canceled_order(order: OrderState, instrument: Instrument, decimals: int) -> dict[str, Any]:
    fields = order_fields(order, instrument, decimals)
    return {**fields, "origClientOrderId": fields["clientOrderId"], "transactTime": timestamp(order.updated_ns)}


def placed_order(
    order: OrderState, reports: Sequence[OrderReport], instrument: Instrument, decimals: int, kind: str
) -> dict[str, Any]:
    """The answer to a new order, as short as the client asked for. `reports`: what its entry brought about, of all orders."""
    fields = order_fields(order, instrument, decimals)
    fields["transactTime"] = timestamp(order.updated_ns)
    if kind == "ACK":
        return {name: fields[name] for name in ("symbol", "orderId", "orderListId", "clientOrderId", "transactTime")}
    if kind == "RESULT":
        return fields
    matches = [
        prevented_match(prevention_of(report), instrument)
        for report in reports
        if report.prevention is not None and report.prevention.taker_order_id == report.order.order_id == order.order_id
    ]
    return {
        **fields,
        "fills": [fill_of_order(fill, instrument, decimals) for fill in fills_of(reports, order.order_id)],
        **({"preventedMatches": matches} if matches else {}),
    }


def prevention_of(report: OrderReport) -> Prevention:
    event = report.prevention
    assert event is not None, report
    return Prevention(
        event_sequence=report.event_sequence,
        time_ns=report.order.updated_ns,
        mode=event.mode,
        price_ticks=event.price_ticks,
        maker_order_id=event.maker_order_id,
        maker_leaves_lots=event.maker_leaves_lots,
        taker_order_id=event.taker_order_id,
        taker_leaves_lots=event.taker_leaves_lots,
        decremented_lots=event.prevented_lots if event.mode is SelfTradePrevention.DECREMENT else 0,
    )


def prevented_match(prevention: Prevention, instrument: Instrument) -> dict[str, Any]:
    """As the order's answer has it; quantities of what expired by it."""
    match = {
        "preventedMatchId": prevention.event_sequence,
        "makerSymbol": symbol_of(instrument),
        "makerOrderId": prevention.maker_order_id,
        "price": ticks_to_price(prevention.price_ticks, instrument),
    }
    if prevention.taker_lots:
        match["takerPreventedQuantity"] = lots_to_quantity(prevention.taker_lots, instrument)
    if prevention.maker_lots:
        match["makerPreventedQuantity"] = lots_to_quantity(prevention.maker_lots, instrument)
    return match


def queried_match(prevention: Prevention, instrument: Instrument) -> dict[str, Any]:
    return {
        "symbol": symbol_of(instrument),
        "takerOrderId": prevention.taker_order_id,
        "tradeGroupId": NO_TRADE_GROUP,
        "selfTradePreventionMode": PREVENTION_MODES[prevention.mode],
        **prevented_match(prevention, instrument),
        "transactTime": timestamp(prevention.time_ns),
    }


def fill_of_order(fill: Fill, instrument: Instrument, decimals: int) -> dict[str, Any]:
    return {
        "price": ticks_to_price(fill.price_ticks, instrument),
        "qty": lots_to_quantity(fill.quantity_lots, instrument),
        "commission": minor_to_amount(fill.fee, decimals),
        "commissionAsset": instrument.currency,
        "tradeId": fill.trade_id,
    }


def own_trade(fill: Fill, instrument: Instrument, decimals: int) -> dict[str, Any]:
    value = fill.price_ticks * fill.quantity_lots
    return {
        "symbol": symbol_of(instrument),
        "id": fill.trade_id,
        "orderId": fill.order_id,
        "orderListId": fill.group_id or NO_LIST,
        "price": ticks_to_price(fill.price_ticks, instrument),
        "qty": lots_to_quantity(fill.quantity_lots, instrument),
        "quoteQty": quote_amount(value, instrument, decimals),
        "commission": minor_to_amount(fill.fee, decimals),
        "commissionAsset": instrument.currency,
        "time": timestamp(fill.time_ns),
        "isBuyer": fill.side is Side.BUY,
        "isMaker": fill.is_maker,
        "isBestMatch": True,
    }


def public_trade(trade: Trade, instrument: Instrument, decimals: int) -> dict[str, Any]:
    return {
        "id": trade.trade_id,
        "price": ticks_to_price(trade.price_ticks, instrument),
        "qty": lots_to_quantity(trade.quantity_lots, instrument),
        "quoteQty": quote_amount(trade.price_ticks * trade.quantity_lots, instrument, decimals),
        "time": timestamp(trade.time_ns),
        "isBuyerMaker": trade.aggressor_side is Side.SELL,
        "isBestMatch": True,
    }


def aggregate_trade(trade: Trade, instrument: Instrument) -> dict[str, Any]:
    """Trades are not aggregated: each is an aggregate of its own."""
    return {
        "a": trade.trade_id,
        "p": ticks_to_price(trade.price_ticks, instrument),
        "q": lots_to_quantity(trade.quantity_lots, instrument),
        "f": trade.trade_id,
        "l": trade.trade_id,
        "T": timestamp(trade.time_ns),
        "m": trade.aggressor_side is Side.SELL,
        "M": True,
    }


def trade_of_event(event: TradeExecuted, time_ns: int) -> Trade:
    return Trade(
        event.trade_id,
        event.instrument_id,
        event.market_sequence,
        event.price_ticks,
        event.quantity_lots,
        event.aggressor_side,
        time_ns,
        0,
    )


def balances(state: AccountState, symbols: Symbols) -> list[dict[str, str]]:
    """Currencies, then what is owned of each instrument as an asset of its own."""
    rows = [
        {
            "asset": cash.currency,
            "free": minor_to_amount(cash.available, symbols.decimals_of(cash.currency)),
            "locked": minor_to_amount(cash.held, symbols.decimals_of(cash.currency)),
        }
        for cash in state.cash
    ]
    for position in state.positions:
        instrument = symbols.instrument(position.instrument_id)
        rows.append(
            {
                "asset": instrument.symbol,
                "free": lots_to_quantity(position.available_lots, instrument),
                "locked": lots_to_quantity(position.held_lots, instrument),
            }
        )
    return rows


def commission_rates(maker_ppm: int, taker_ppm: int) -> dict[str, str]:
    rates = {"maker": maker_ppm, "taker": taker_ppm, "buyer": 0, "seller": 0}
    return {name: commission_rate(ppm) for name, ppm in rates.items()}


def account_commissions(instruments: Iterable[Instrument]) -> dict[str, Any]:
    """An account has one rate there, and here each instrument its own: the highest of any."""
    fees = [(instrument.maker_fee_ppm, instrument.taker_fee_ppm) for instrument in instruments]
    maker_ppm, taker_ppm = (max(of_all, default=0) for of_all in (zip(*fees, strict=True) if fees else ((), ())))
    return {
        "makerCommission": maker_ppm // PPM_PER_BASIS_POINT,
        "takerCommission": taker_ppm // PPM_PER_BASIS_POINT,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": commission_rates(maker_ppm, taker_ppm),
    }


def trade_fee(instrument: Instrument) -> dict[str, str]:
    return {
        "symbol": symbol_of(instrument),
        "makerCommission": commission_rate(instrument.maker_fee_ppm),
        "takerCommission": commission_rate(instrument.taker_fee_ppm),
    }
