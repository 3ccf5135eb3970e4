"""An account's own stream: execution reports, lists and balances, over a listen key or a signed WebSocket API subscription."""

import secrets
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from msgspec.structs import replace

from trading_engine.database.transactional.venue_trading import VenueTrading
from trading_engine.servers.tes.binance.errors import BAD_LISTEN_KEY, BinanceError
from trading_engine.servers.tes.binance.order_lists import list_fields
from trading_engine.servers.tes.binance.requests import Parameters, required
from trading_engine.servers.tes.binance.symbols import Symbols, symbol_of
from trading_engine.servers.tes.binance.times import MILLISECOND_NS, timestamp, told_in
from trading_engine.servers.tes.binance.views import (
    NO_LIST,
    PREVENTION_MODES,
    SIDES,
    TIMES_IN_FORCE,
    client_order_id_of,
    is_working,
    prevented_lots,
    prevention_of,
    quote_amount,
    shown_price,
    status_of,
    trailing_delta,
    type_of,
)
from trading_engine.servers.tes.connections import text_frame
from trading_engine.servers.tes.models.views import encode
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.market_data import Subscriber
from trading_engine.venue.conversion import lots_to_quantity, minor_to_amount, ticks_to_price
from trading_engine.venue.events import CashChanged, EventBatch, PositionChanged
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.order_state import OrderReport, OrderState
from trading_engine.venue.reasons import EndReason

LISTEN_KEY_SECONDS = 3600.0
LISTEN_KEYS_MAX = 10_000
"""Then the one that was made first is forgotten."""
EXECUTION_TYPES = {
    "new": "NEW",
    "trade": "TRADE",
    "canceled": "CANCELED",
    "expired": "EXPIRED",
    "replaced": "REPLACED",
    "prevented": "TRADE_PREVENTION",
    "activated": "NEW",
}
"""Of those changes that Binance tells; a trigger or a restatement comes with nothing of its own there."""
LIST_FIELDS = {
    "s": "symbol",
    "g": "orderListId",
    "c": "contingencyType",
    "l": "listStatusType",
    "L": "listOrderStatus",
    "C": "listClientOrderId",
    "T": "transactionTime",
}

Wrap = Callable[[dict[str, Any]], dict[str, Any]]


class ListenKeys:
    """Keys that stand for an account in a stream's address, each for an hour unless it is kept."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._keys: dict[str, tuple[Principal, float]] = {}

    def open(self, principal: Principal) -> dict[str, str]:
        """The account's key: one at a time, as long as it lives."""
        for key, (opener, until_s) in self._keys.items():
            if opener.account_id == principal.account_id and until_s > self._now_s():
                self._keys[key] = (opener, self._now_s() + LISTEN_KEY_SECONDS)
                return {"listenKey": key}
        if len(self._keys) >= LISTEN_KEYS_MAX:
            del self._keys[next(iter(self._keys))]
        key = secrets.token_hex(30)
        self._keys[key] = (principal, self._now_s() + LISTEN_KEY_SECONDS)
        return {"listenKey": key}

    def keep(self, principal: Principal, parameters: Parameters) -> dict[str, str]:
        key = self._checked(principal, parameters)
        self._keys[key] = (self._keys[key][0], self._now_s() + LISTEN_KEY_SECONDS)
        return {}

    def close(self, principal: Principal, parameters: Parameters) -> dict[str, str]:
        del self._keys[self._checked(principal, parameters)]
        return {}

    def opener_of(self, key: str) -> Principal | None:
        opener, until_s = self._keys.get(key, (None, 0.0))
        return opener if until_s > self._now_s() else None

    def end(self, has_ended: Callable[[Principal], bool]) -> None:
        """Forget the keys that were opened with an access that is no more."""
        self._keys = {key: (opener, until_s) for key, (opener, until_s) in self._keys.items() if not has_ended(opener)}

    def _checked(self, principal: Principal, parameters: Parameters) -> str:
        key = required(parameters, "listenKey")
        opener = self.opener_of(key)
        if opener is None or opener.account_id != principal.account_id:
            raise BinanceError(BAD_LISTEN_KEY, "This listenKey does not exist.")
        return key


class OpenLists:
    """The order lists of which an order can still change, with all their orders. Hears of every batch."""

    def __init__(self, trading: VenueTrading) -> None:
        self._trading = trading
        self._open: dict[int, dict[int, OrderState]] = {}

    async def load(self, live: Iterable[OrderState]) -> None:
        """Those of the orders that are open at the start."""
        for order in await self._trading.group_orders({order.group_id for order in live} - {0}):
            self._open.setdefault(order.group_id, {})[order.order_id] = order

    def handle(self, reports: Iterable[OrderReport]) -> list[Sequence[OrderState]]:
        """The lists that began or ended with this batch, each as it is after it."""
        changed: dict[int, Sequence[OrderState]] = {}
        for report in reports:
            order = report.order
            if not order.group_id:
                continue
            members = self._open.setdefault(order.group_id, {})
            members[order.order_id] = order
            is_over = not any(member.status.is_live for member in members.values())
            if report.kind == "new" or is_over or order.group_id in changed:
                changed[order.group_id] = tuple(members.values())
        for group_id, orders in changed.items():
            if not any(order.status.is_live for order in orders):
                del self._open[group_id]
        return list(changed.values())


class Following(NamedTuple):
    """A subscription to an account."""

    wrap: Wrap
    """Puts a message into what the subscription has around it."""
    is_live: Callable[[], bool] = lambda: True
    """Whether the listen key still is one; when not, the subscriber is told so instead of the next message, and nothing more."""
    unit_ns: int = MILLISECOND_NS
    """In which times are told."""


class UserDataStreams:
    """Who follows which account, and the messages that follow from a batch."""

    def __init__(self, symbols: Symbols, lists: OpenLists) -> None:
        self._symbols = symbols
        self._lists = lists
        self._followers: dict[int, dict[tuple[Subscriber, str], Following]] = {}

    def follow(self, account_id: int, subscriber: Subscriber, name: str, following: Following) -> None:
        self._followers.setdefault(account_id, {})[subscriber, name] = following

    def leave(self, account_id: int, subscriber: Subscriber, name: str) -> None:
        followers = self._followers.get(account_id, {})
        followers.pop((subscriber, name), None)
        if not followers:
            self._followers.pop(account_id, None)

    def handle(self, batch: EventBatch, reports: Sequence[OrderReport]) -> None:
        changed = self._lists.handle(reports)
        if not self._followers:
            return
        for report in told(reports):
            if report.order.account_id in self._followers:
                self._send(report.order.account_id, partial(self._execution_report, report, batch.time_ns))
        for orders in changed:
            if orders[0].account_id in self._followers:
                self._send(orders[0].account_id, partial(self._list_status, orders, batch.time_ns))
        changes: dict[int, list[CashChanged | PositionChanged]] = {}
        for event in batch.events:
            if isinstance(event, CashChanged | PositionChanged) and event.account_id in self._followers:
                changes.setdefault(event.account_id, []).append(event)
        for account_id, events in changes.items():
            self._send(account_id, partial(self._position, events, batch.time_ns))

    def _send(self, account_id: int, make: Callable[[], dict[str, Any]]) -> None:
        """`make` is called once for each unit of time."""
        made: dict[int, dict[str, Any]] = {}
        for (subscriber, name), following in tuple(self._followers.get(account_id, {}).items()):
            if following.unit_ns not in made:
                with told_in(following.unit_ns):
                    made[following.unit_ns] = make()
            told = message = made[following.unit_ns]
            if not following.is_live():
                self.leave(account_id, subscriber, name)
                told = {"e": "listenKeyExpired", "E": message["E"], "listenKey": name}
            subscriber.send(text_frame(encode(following.wrap(told))))

    def _execution_report(self, report: OrderReport, time_ns: int) -> dict[str, Any]:
        return execution_report(report, *self._symbols.units(report.order.instrument_id), time_ns)

    def _list_status(self, orders: Sequence[OrderState], time_ns: int) -> dict[str, Any]:
        fields = list_fields(orders, self._symbols.instrument(orders[0].instrument_id))
        return {
            "e": "listStatus",
            "E": timestamp(time_ns),
            **{short: fields[name] for short, name in LIST_FIELDS.items()},
            "r": "NONE",
            "O": [
                {"s": order["symbol"], "i": order["orderId"], "c": order["clientOrderId"]} for order in fields["orders"]
            ],
        }

    def _position(self, events: Sequence[CashChanged | PositionChanged], time_ns: int) -> dict[str, Any]:
        time = timestamp(time_ns)
        rows = [self._balance(event) for event in events]
        return {"e": "outboundAccountPosition", "E": time, "u": time, "B": rows}

    def _balance(self, event: CashChanged | PositionChanged) -> dict[str, str]:
        if isinstance(event, CashChanged):
            decimals = self._symbols.decimals_of(event.currency)
            free, locked = (minor_to_amount(n, decimals) for n in (event.balance - event.held, event.held))
            return {"a": event.currency, "f": free, "l": locked}
        instrument = self._symbols.instrument(event.instrument_id)
        lots = (event.quantity_lots - event.held_lots, event.held_lots)
        free, locked = (lots_to_quantity(n, instrument) for n in lots)
        return {"a": instrument.symbol, "f": free, "l": locked}


def told(reports: Sequence[OrderReport]) -> list[OrderReport]:
    """Those that Binance tells. An order of a list that becomes active as it is entered is new once.

    That a trade was prevented is told of those orders that it cost something; where it ended one, that is no report of its own.
    """
    active = {report.order.order_id for report in reports if report.kind == "activated"}
    ended = {report.order.order_id: report.order for report in reports if is_end_by_prevention(report)}
    last = {report.order.order_id: report.event_sequence for report in reports if report.kind == "prevented"}
    found = []
    for report in reports:
        order_id = report.order.order_id
        if report.kind == "prevented":
            if order_id in ended and report.event_sequence == last[order_id]:
                found.append(replace(report, order=ended[order_id]))
            elif lots_prevented_by(report):
                found.append(report)
        elif report.kind in EXECUTION_TYPES and not (
            is_end_by_prevention(report) or (report.kind == "new" and order_id in active)
        ):
            found.append(report)
    return found


def is_end_by_prevention(report: OrderReport) -> bool:
    return report.order.end_reason is EndReason.SELF_TRADE_PREVENTED


def lots_prevented_by(report: OrderReport) -> int:
    """What this prevention cost this order."""
    prevention = prevention_of(report)
    return prevention.maker_lots if prevention.maker_order_id == report.order.order_id else prevention.taker_lots


def prevention_fields(report: OrderReport, instrument: Instrument, decimals: int) -> dict[str, Any]:
    event, order = report.prevention, report.order
    if event is None:
        return {}
    counter_order_id = event.taker_order_id if event.maker_order_id == order.order_id else event.maker_order_id
    return {
        "v": report.event_sequence,
        "A": lots_to_quantity(prevented_lots(order), instrument),
        "B": lots_to_quantity(lots_prevented_by(report), instrument),
        "U": counter_order_id,
        "Cs": symbol_of(instrument),
        "pl": lots_to_quantity(event.prevented_lots, instrument),
        "pL": ticks_to_price(event.price_ticks, instrument),
        "pY": quote_amount(event.price_ticks * event.prevented_lots, instrument, decimals),
    }


def execution_report(report: OrderReport, instrument: Instrument, decimals: int, time_ns: int) -> dict[str, Any]:
    order, fill, terms = report.order, report.fill, report.order.special
    name = client_order_id_of(order)
    is_canceled = report.kind == "canceled"
    last_value = fill.price_ticks * fill.quantity_lots if fill else 0
    status = status_of(order)
    delta = trailing_delta(order)
    return {
        "e": "executionReport",
        "E": timestamp(time_ns),
        "s": symbol_of(instrument),
        "c": name,
        "S": SIDES[order.side],
        "o": type_of(order),
        "f": TIMES_IN_FORCE.get(order.time_in_force, "GTC"),
        "q": lots_to_quantity(order.quantity_lots, instrument),
        "p": shown_price(order, instrument),
        "P": ticks_to_price(terms.stop_price_ticks if terms else 0, instrument),
        **({} if delta is None else {"d": delta}),
        "F": lots_to_quantity(terms.display_lots if terms else 0, instrument),
        "g": order.group_id or NO_LIST,
        "C": name if is_canceled else "",
        "x": "EXPIRED" if is_canceled and status == "EXPIRED" else EXECUTION_TYPES[report.kind],
        "X": status,
        "r": "NONE",
        "i": order.order_id,
        "l": lots_to_quantity(fill.quantity_lots if fill else 0, instrument),
        "z": lots_to_quantity(order.filled_lots, instrument),
        "L": ticks_to_price(fill.price_ticks if fill else 0, instrument),
        "n": minor_to_amount(fill.fee if fill else 0, decimals),
        "N": instrument.currency if fill else None,
        "T": timestamp(time_ns),
        "t": fill.trade_id if fill else -1,
        "I": report.event_sequence,
        "w": order.status.is_live and is_working(order),
        "m": bool(fill and fill.is_maker),
        "M": False,
        "O": timestamp(order.created_ns),
        "Z": quote_amount(order.filled_value, instrument, decimals),
        "Y": quote_amount(last_value, instrument, decimals),
        "Q": minor_to_amount(0, decimals),
        **({"W": timestamp(order.created_ns)} if is_working(order) else {}),
        "V": PREVENTION_MODES[order.self_trade_prevention],
        **prevention_fields(report, instrument, decimals),
    }
