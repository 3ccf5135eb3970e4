"""Margin accounts as the events alone tell them: what they are worth, what they need, and whether they were called when they had to be.

What the venue does of its own accord with an account that it calls is not foretold but checked here, event by event: the figures of
the call, the orders that it cancels, the market orders that it makes. After every batch, whoever is below maintenance has to have been
called, and nobody else.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from trading_engine.venue import events as e
from trading_engine.venue.reasons import EndReason, Reason
from trading_engine.venue.terms import OrderType, Side, TimeInForce

if TYPE_CHECKING:
    from support.mirror import Mirror, MirrorMarket, MirrorOrder
    from support.risk_mirror import RiskAsked
    from trading_engine.venue.risk_limits import MarginTerms

MILLION = 1_000_000
MOST = 2**62


class MarginMirror:
    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror
        self.terms: dict[int, MarginTerms] = {}
        self.calls: set[tuple[int, str]] = set()
        self.closing: tuple[int, str] | None = None
        """Account and currency that the venue closes out just now."""
        self._to_cancel: list[int] = []

    def credit(self, account_id: int) -> int:
        return self.terms[account_id].credit_max if account_id in self.terms else 0

    def short_lots(self, account_id: int, instrument_id: int) -> int:
        is_shortable = self.mirror.markets[instrument_id].instrument.shortable
        return self.terms[account_id].short_lots_max if account_id in self.terms and is_shortable else 0

    def all_credit(self) -> int:
        return sum(terms.credit_max for terms in self.terms.values())

    def all_short_lots(self) -> int:
        return sum(terms.short_lots_max for terms in self.terms.values())

    # Figures

    def markets_in(self, currency: str) -> list[tuple[int, MirrorMarket]]:
        markets = sorted(self.mirror.markets.items())
        return [(number, market) for number, market in markets if market.instrument.currency == currency]

    def lots(self, account_id: int, instrument_id: int) -> int:
        return self.mirror.accounts[account_id].lots.get(instrument_id, 0)

    def equity(self, account_id: int, currency: str) -> int:
        value = sum(
            self.mirror.risk.value(number, self.lots(account_id, number)) for number, _ in self.markets_in(currency)
        )
        return self.mirror.accounts[account_id].cash.get(currency, 0) + value

    def of_positions(self, account_id: int, currency: str, *, maintenance: bool) -> int:
        total = 0
        for number, market in self.markets_in(currency):
            initial = market.instrument.initial_margin_ppm or MILLION
            ppm = (market.instrument.maintenance_margin_ppm or initial) if maintenance else initial
            total += portion(abs(self.mirror.risk.value(number, self.lots(account_id, number))), ppm)
        return total

    def of_orders(self, account_id: int, currency: str, orders: list[MirrorOrder]) -> int:
        total = 0
        for number, market in self.markets_in(currency):
            lots = self.lots(account_id, number)
            for side in Side:
                closable = -lots if side is Side.BUY else lots
                for order in sorted(
                    orders, key=lambda order: order.order_id or MOST
                ):  # One on its way in has no id yet.
                    if (order.account_id, order.instrument_id, order.side) == (account_id, number, side):
                        opening = min(order.leaves_lots, max(0, order.leaves_lots - max(0, closable)))
                        closable -= order.leaves_lots - opening
                        total += self._of_opening(market, order, opening)
        return total

    def _of_opening(self, market: MirrorMarket, order: MirrorOrder, lots: int) -> int:
        instrument = market.instrument
        price = order.limit_ticks
        ask = self.mirror.best(instrument.instrument_id, Side.SELL)
        if order.side is Side.SELL and ask is not None:
            price = max(price, -(-ask * 103 // 100))
        ppm = (instrument.initial_margin_ppm or MILLION) + max(instrument.maker_fee_ppm, instrument.taker_fee_ppm)
        return portion(lots * price * instrument.tick_value, ppm)

    def free(self, account_id: int, currency: str, orders: list[MirrorOrder]) -> int:
        positions = self.of_positions(account_id, currency, maintenance=False)
        return self.equity(account_id, currency) - positions - self.of_orders(account_id, currency, orders)

    def broken(self, asked: RiskAsked) -> dict[Reason, int]:
        order = asked.after
        if order.account_id not in self.terms:
            return {}
        currency = self.mirror.markets[order.instrument_id].instrument.currency
        more_lots = order.leaves_lots - (asked.before.leaves_lots if asked.before else 0)
        if self.mirror.risk.only_closes(order, more_lots):
            return {}
        working = list(self.mirror.orders.values())
        others = [other for other in working if other is not asked.before]
        if self.free(order.account_id, currency, [*others, order]) >= 0:
            return {}
        return {Reason.INSUFFICIENT_MARGIN: min(MOST, max(0, self.free(order.account_id, currency, working)))}

    # Events

    def see(self, event: e.AnyEvent) -> None:
        match event:
            case e.MarginSet(account_id, terms):
                self.terms.pop(account_id, None)
                if terms:
                    self.terms[account_id] = terms
                else:
                    self.calls = {call for call in self.calls if call[0] != account_id}
            case e.MarginCalled():
                self._call(event)
            case e.MarginRestored(account_id, currency):
                assert not self.is_below(account_id, currency), event
                self.calls.remove((account_id, currency))
            case e.OrderCanceled(order_id, account_id, _, EndReason.MARGIN_CALL):
                assert self.closing, event
                assert self.closing[0] == account_id, event
                assert self._to_cancel.pop(0) == order_id, event
            case e.OrderAccepted() if self.closing:
                self._close(event)

    def is_below(self, account_id: int, currency: str) -> bool:
        needed = self.of_positions(account_id, currency, maintenance=True)
        return self.equity(account_id, currency) < needed

    def _call(self, event: e.MarginCalled) -> None:
        account_id, currency = event.account_id, event.currency
        needed = self.of_positions(account_id, currency, maintenance=True)
        assert self.is_below(account_id, currency), event
        assert event.equity == max(-MOST, min(MOST, self.equity(account_id, currency))), event
        assert event.maintenance_margin == min(MOST, needed), event
        assert event.liquidates or (account_id, currency) not in self.calls, event
        assert self.terms[account_id].liquidate or not event.liquidates, event
        assert not self._to_cancel, event
        self.calls.add((account_id, currency))
        self.closing = (account_id, currency) if event.liquidates else None
        if event.liquidates:
            numbers = [number for number, _ in self.markets_in(currency)]
            orders = self.mirror.open_orders(account_id)
            self._to_cancel = [order.order_id for order in orders if order.instrument_id in numbers]

    def _close(self, event: e.OrderAccepted) -> None:
        assert self.closing, event
        account_id, currency = self.closing
        market = self.mirror.markets[event.instrument_id]
        instrument = market.instrument
        lots = self.lots(account_id, event.instrument_id)
        assert not self._to_cancel, event
        assert (event.account_id, instrument.currency) == (account_id, currency), event
        assert (event.order_type, event.time_in_force) == (OrderType.MARKET, TimeInForce.IOC), event
        assert event.side is (Side.SELL if lots > 0 else Side.BUY), event
        best = self.mirror.best(event.instrument_id, event.side.opposite)
        assert best, event
        assert abs(event.price_ticks - best) <= instrument.market_protection_ticks, event
        assert 0 < event.quantity_lots <= min(abs(lots), instrument.quantity_lots_max), event
        most = self.mirror.accounts[account_id].cash.get(currency, 0) + self.credit(account_id)
        value = event.price_ticks * instrument.tick_value
        ppm = max(instrument.maker_fee_ppm, instrument.taker_fee_ppm)
        assert event.quantity_lots * value <= instrument.notional_max, event
        fits = [
            number == 0 or event.side is Side.SELL or number * value + portion(number * value, ppm) <= most
            for number in (event.quantity_lots, event.quantity_lots + 2)
        ]
        bound = min(abs(lots), instrument.quantity_lots_max, instrument.notional_max // value)
        assert fits[0], event
        assert event.quantity_lots == bound or not fits[1], event

    def check(self) -> None:
        """After a batch."""
        assert not self._to_cancel, self._to_cancel
        self.closing = None
        below = {
            (account_id, currency)
            for account_id in self.terms
            for currency in self.mirror.issued_cash
            if self.is_below(account_id, currency)
        }
        assert below == self.calls, (below, self.calls)


def portion(value: int, ppm: int) -> int:
    """In millionths, rounded up."""
    whole, part = divmod(value * ppm, MILLION)
    return ceil(whole + (part > 0))
