"""A market of margin accounts: little money, much credit, prices that run, so that many are called and closed out."""

from collections.abc import Iterator

from support.workload import INSTRUMENTS, Workload
from trading_engine.venue import commands as c
from trading_engine.venue.risk_limits import MarginTerms
from trading_engine.venue.terms import OrderType, Side, TimeInForce, TradingPhase


class LeveragedWorkload(Workload):
    def opening(self) -> Iterator[c.AnyCommand]:
        for instrument in INSTRUMENTS:
            yield c.ListInstrument(instrument)
        yield c.SetTradingPhase(0, TradingPhase.CONTINUOUS)
        yield c.OpenAccount(1, (("USD", 10**9),), ((1, 10**6), (2, 10**6)))
        for account_id in range(2, 8):
            yield c.OpenAccount(account_id, (("USD", 10_000),))
            yield c.SetMargin(account_id, MarginTerms(10**7, 1_000, liquidate=account_id % 3 != 0))

    def next(self) -> c.AnyCommand:
        """Half of it what any market sends, half orders that move the market and what leverage allows."""
        if self.random.random() < 0.3:
            self.middle = max(20, self.middle + self.random.choice((-4, -2, 2, 4)))
        chance = self.random.random()
        if chance < 0.35:
            return super().next()
        self.sent += 1
        side = self.random.choice(list(Side))
        if chance < 0.55:
            price = self.middle + self.random.randint(1, 4) * (-1 if side is Side.BUY else 1)
            return self._order_of(1, side, self.random.randint(1, 60), price)
        return self._order_of(
            self.random.randint(2, 7), side, self.random.randint(1, 300), self.middle + self.random.randint(-5, 5)
        )

    def _order_of(self, account_id: int, side: Side, lots: int, price_ticks: int) -> c.PlaceOrder:
        instrument_id = self.random.choice((1, 1, 2))
        time_in_force = self.random.choice((TimeInForce.GTC, TimeInForce.GTC, TimeInForce.IOC))
        return c.PlaceOrder(
            account_id, "", instrument_id, side, OrderType.LIMIT, time_in_force, lots, max(1, price_ticks)
        )
