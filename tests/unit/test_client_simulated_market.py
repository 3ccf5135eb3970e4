"""The simulated traders on the real matching core, on a virtual clock: do they make a market, and do they keep making it?"""

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

from trading_engine.clients.sdk import views
from trading_engine.clients.simulated.crowd import Crowd, Endowment, Submission
from trading_engine.clients.simulated.market_state import BUY, Account, Cancel, Place, Replace, market_of
from trading_engine.shared.model_parameters import SimulatedTraders
from trading_engine.venue import commands as c
from trading_engine.venue import events as e
from trading_engine.venue.conversion import lots_to_quantity, tick_value, ticks_to_price, to_steps
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.order_state import LiveOrders, OrderState
from trading_engine.venue.terms import OrderType, Side, TimeInForce, TradingPhase
from trading_engine.venue.venue import Venue

STEP_S = 0.1
TIMES_IN_FORCE = {"gtc": TimeInForce.GTC, "ioc": TimeInForce.IOC}
STATUS_WORDS = {0: "new", 1: "partially_filled", 2: "filled", 4: "canceled", 12: "expired"}
CASH = "100000000.00"
QUANTITY_EACH = 200_000
PRICES = {"AAPL": "230.00", "MSFT": "431.00", "XOM": "119.50"}


class SimulatedVenue:
    """A venue, a crowd, and one more account that belongs to nobody's strategy."""

    def __init__(
        self,
        prices: dict[str, str] = PRICES,
        *,
        seed: int = 1,
        makers: int = 2,
        takers: int = 2,
        noise: int = 2,
        orders_per_second: float = 7.5,
    ) -> None:
        self.venue = Venue()
        self.live = LiveOrders()
        self.trades: list[tuple[float, str, int, int, Side]] = []
        self.refusals: Counter[str] = Counter()
        self.now = 0.0
        self.sent = 0
        self.entered = 0
        self._begun = 0.0
        self._producer_sequence = 0
        self._bids: dict[str, dict[int, int]] = {symbol: {} for symbol in prices}
        self._asks: dict[str, dict[int, int]] = {symbol: {} for symbol in prices}
        self._last: dict[str, int] = {}
        self._changed: set[str] = set()
        self.accounts = [Account(f"bot-{number}") for number in range(1, makers + takers + noise + 1)]
        self.outsider_id = len(self.accounts) + 1
        self.crowd: Crowd | None = None
        for number, (symbol, price) in enumerate(prices.items(), 1):
            self.apply(c.ListInstrument(instrument(number, symbol, price)))
        positions = tuple((number, QUANTITY_EACH) for number in range(1, len(prices) + 1))
        for account_id in range(1, self.outsider_id + 1):
            self.apply(c.OpenAccount(account_id, cash=(("USD", 10_000_000_000),), positions=positions))
        self.apply(c.SetTradingPhase(0, TradingPhase.CONTINUOUS))
        self._settings: dict[str, int | float] = {
            "makers": makers,
            "takers": takers,
            "orders_per_second": orders_per_second,
            "seed": seed,
        }
        self.crowd = self._new_crowd("first")
        for number in range(len(self.accounts)):
            self.crowd.on_balance(number, "USD", Decimal(CASH))
            for symbol in prices:
                self.crowd.on_position(number, symbol, Decimal(QUANTITY_EACH), Decimal(QUANTITY_EACH))

    def _new_crowd(self, run_id: str) -> Crowd:
        listed = list(self.venue.instruments.values())
        return Crowd(
            [market_of(view_of(one), Decimal(one.reference_price_ticks) / 100) for one in listed],
            self.accounts,
            endowment=Endowment({"USD": float(CASH)}, {one.symbol: QUANTITY_EACH for one in listed}),
            run_id=run_id,
            **self._settings,  # type: ignore[arg-type] # whole numbers and a rate
        )

    def begin_again(self) -> None:
        """As after a restart of the traders: all that is known comes from the venue."""
        old, self.accounts = self.accounts, [Account(account.name) for account in self.accounts]
        self.crowd = self._new_crowd("second")
        self._begun = self.now
        for number, account in enumerate(old):
            self.crowd.on_balance(number, "USD", Decimal(account.cash["USD"]))
            for symbol, lots in account.lots.items():
                self.crowd.on_position(number, symbol, Decimal(lots), Decimal(account.free_lots[symbol]))
        for symbol in self._bids:
            self.crowd.on_ticker(self.ticker(symbol))
        self.crowd.start_values()
        for order in self.live.live.values():
            self.crowd.on_order(order.account_id - 1, self.order_view(order), is_adopted=True)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.step()

    def step(self) -> None:
        assert self.crowd is not None
        self.now += STEP_S
        for submission in self.crowd.step(self.now - self._begun):
            self.sent += 1
            self._answer(submission)
        for symbol in self._changed:
            self.crowd.on_ticker(self.ticker(symbol))
        self._changed.clear()

    def place(
        self, symbol: str, side: Side, lots: int, ticks: int = 0, time_in_force: TimeInForce = TimeInForce.GTC
    ) -> None:
        """An order of the outsider."""
        order_type = OrderType.LIMIT if ticks else OrderType.MARKET
        self.apply(c.PlaceOrder(self.outsider_id, "", self.id_of(symbol), side, order_type, time_in_force, lots, ticks))

    def bids(self, symbol: str) -> list[tuple[int, int]]:
        return sorted(self._bids[symbol].items(), reverse=True)

    def asks(self, symbol: str) -> list[tuple[int, int]]:
        return sorted(self._asks[symbol].items())

    def spread(self, symbol: str) -> int | None:
        bids, asks = self._bids[symbol], self._asks[symbol]
        return min(asks) - max(bids) if bids and asks else None

    def ticker(self, symbol: str) -> views.Ticker:
        bids, asks = self._bids[symbol], self._asks[symbol]
        return views.Ticker(
            symbol=symbol,
            last=_price(self._last.get(symbol)),
            bid=_price(max(bids, default=None)),
            ask=_price(min(asks, default=None)),
        )

    def id_of(self, symbol: str) -> int:
        return next(number for number, listed in self.venue.instruments.items() if listed.symbol == symbol)

    def _answer(self, submission: Submission) -> None:
        assert self.crowd is not None
        batch, reports = self.apply(self._command(submission))
        first = batch.events[0]
        if isinstance(first, e.OrderRejected | e.CancelRejected | e.ReplaceRejected):
            self.refusals[first.reason.name] += 1
            self.crowd.on_answer(submission, None, is_gone=first.reason.name == "UNKNOWN_ORDER")
            return
        own = [report for report in reports if report.client_order_id == submission.order.client_order_id]
        self.crowd.on_answer(submission, self.order_view(own[-1]))

    def _command(self, submission: Submission) -> c.AnyCommand:
        account_id = submission.number + 1
        match submission.action:
            case Place(symbol, side, lots, ticks, time_in_force, post_only):
                return c.PlaceOrder(
                    account_id,
                    submission.order.client_order_id,
                    self.id_of(symbol),
                    Side.BUY if side == BUY else Side.SELL,
                    OrderType.LIMIT if ticks else OrderType.MARKET,
                    TIMES_IN_FORCE[time_in_force],
                    lots,
                    ticks or 0,
                    post_only,
                )
            case Replace(order, lots, ticks):
                return c.ReplaceOrder(account_id, int(order.order_id), "", lots, ticks)
            case Cancel(order):
                return c.CancelOrder(account_id, int(order.order_id))

    def apply(self, command: c.AnyCommand) -> tuple[e.EventBatch, list[OrderState]]:
        self._producer_sequence += 1
        number = self.venue.command_sequence + 1
        time_ns = int(self.now * 1e9) + number
        batch = self.venue.apply(c.SequencedCommand(number, time_ns, "test", self._producer_sequence, command))
        assert batch is not None
        for event in batch.events:
            self._take_in(event)
        reports = self.live.apply(batch)
        for report in reports:
            order = report.order
            if self.crowd is not None and order.account_id < self.outsider_id:
                self.crowd.on_order(order.account_id - 1, self.order_view(order))
        return batch, [report.order for report in reports]

    def _take_in(self, event: e.AnyEvent) -> None:
        match event:
            case e.BookChanged():
                symbol = self.venue.instruments[event.instrument_id].symbol
                for side, ticks, lots, _ in event.levels:
                    levels = (self._bids if side == Side.BUY else self._asks)[symbol]
                    if lots:
                        levels[ticks] = lots
                    else:
                        del levels[ticks]
                self._changed.add(symbol)
            case e.TradeExecuted():
                symbol = self.venue.instruments[event.instrument_id].symbol
                self._last[symbol] = event.price_ticks
                self.trades.append((self.now, symbol, event.price_ticks, event.quantity_lots, event.aggressor_side))
            case e.CashChanged() if self.crowd is not None and 0 < event.account_id < self.outsider_id:
                self.crowd.on_balance(event.account_id - 1, event.currency, Decimal(event.balance - event.held) / 100)
            case e.PositionChanged() if self.crowd is not None and 0 < event.account_id < self.outsider_id:
                symbol = self.venue.instruments[event.instrument_id].symbol
                quantity, available = Decimal(event.quantity_lots), Decimal(event.quantity_lots - event.held_lots)
                self.crowd.on_position(event.account_id - 1, symbol, quantity, available)
            case e.OrderAccepted():
                self.entered += 1
            case _:
                """Nothing that the crowd would see."""

    def order_view(self, order: OrderState) -> views.Order:
        listed = self.venue.instruments[order.instrument_id]
        moment = datetime.fromtimestamp(order.updated_ns / 1e9, UTC)
        return views.Order(
            order_id=str(order.order_id),
            client_order_id=order.client_order_id,
            portfolio_id=str(order.account_id),
            symbol=listed.symbol,
            side="buy" if order.side is Side.BUY else "sell",
            type="limit",
            time_in_force="gtc",
            post_only=order.post_only,
            price=_price(order.price_ticks),
            quantity=Decimal(order.quantity_lots),
            filled_quantity=Decimal(order.filled_lots),
            leaves_quantity=Decimal(order.leaves_lots),
            average_price=None,
            status=STATUS_WORDS[order.status],  # type: ignore[arg-type] # the table holds the literals
            reason=None,
            created_at=moment,
            updated_at=moment,
            event_sequence=order.event_sequence,
        )


def _price(ticks: int | None) -> Decimal | None:
    return None if ticks is None else Decimal(ticks) / 100


def instrument(number: int, symbol: str, price: str) -> Instrument:
    return Instrument(
        number,
        symbol,
        symbol,
        "USD",
        "0.01",
        "1",
        tick_value("0.01", "1", 2),
        price_band_ppm=500_000,
        maker_fee_ppm=100,
        taker_fee_ppm=300,
        reference_price_ticks=to_steps(price, "0.01"),
    )


def view_of(listed: Instrument) -> views.Instrument:
    return views.Instrument(
        symbol=listed.symbol,
        name=listed.name,
        currency=listed.currency,
        tick_size=Decimal(listed.tick_size),
        lot_size=Decimal(listed.lot_size),
        quantity_min=Decimal(lots_to_quantity(listed.quantity_lots_min, listed)),
        quantity_max=Decimal(lots_to_quantity(listed.quantity_lots_max, listed)),
        price_max=Decimal(ticks_to_price(listed.price_ticks_max, listed)),
        notional_max=Decimal(listed.notional_max) / 100,
        market_protection=Decimal(ticks_to_price(listed.market_protection_ticks, listed)),
        price_band_percent=Decimal(50),
        maker_fee_bp=Decimal(1),
        taker_fee_bp=Decimal(3),
        phase="continuous",
    )


# What the market is like


def test_simulated_market_is_deep_and_trades_within_seconds() -> None:
    simulated = SimulatedVenue()
    simulated.run(1.0)
    for symbol in PRICES:
        assert len(simulated.bids(symbol)) >= 15, symbol
        assert len(simulated.asks(symbol)) >= 15, symbol
    simulated.run(4.0)
    assert simulated.trades


def test_simulated_market_looks_like_one_for_ten_minutes() -> None:
    simulated = SimulatedVenue()
    spreads: Counter[str] = Counter()
    for _ in range(600):
        simulated.run(1.0)
        for symbol in PRICES:
            spread = simulated.spread(symbol)
            spreads["near" if spread is not None and spread <= 3 else "none" if spread is None else "wide"] += 1
            assert min(len(simulated.bids(symbol)), len(simulated.asks(symbol))) >= 5, symbol
    total = sum(spreads.values())
    assert spreads["near"] / total > 0.85
    assert spreads["none"] == 0
    for symbol, price in PRICES.items():
        reference = to_steps(price, "0.01")
        prices = [ticks for _, name, ticks, _, _ in simulated.trades if name == symbol]
        assert len(prices) > 100, symbol
        assert max(abs(ticks - reference) for ticks in prices) < 0.03 * reference, symbol
        assert len(set(prices)) > 10, symbol
    sides = Counter(side for *_, side in simulated.trades)
    assert min(sides.values()) > 0.25 * sum(sides.values())


def test_simulated_market_keeps_to_its_rate_and_is_rarely_refused() -> None:
    simulated = SimulatedVenue()
    simulated.run(60.0)
    before = simulated.sent
    simulated.run(240.0)
    assert 0.6 * 7.5 < (simulated.sent - before) / 240 < 1.15 * 7.5
    assert simulated.refusals.total() < 0.03 * simulated.sent


def test_simulated_market_is_the_same_for_the_same_seed() -> None:
    def state_hash(seed: int) -> str:
        simulated = SimulatedVenue(seed=seed)
        simulated.run(30.0)
        return simulated.venue.state_hash()

    assert state_hash(1) == state_hash(1)
    assert state_hash(1) != state_hash(2)


def test_simulated_market_recovers_from_a_sweep_and_the_price_gives_way() -> None:
    simulated = SimulatedVenue()
    simulated.run(20.0)
    before = simulated.asks("AAPL")[0][0]
    for _ in range(10):
        simulated.place("AAPL", Side.BUY, 4_000, time_in_force=TimeInForce.IOC)
        simulated.run(6.0)
        assert simulated.spread("AAPL") is not None
    simulated.run(20.0)
    assert len(simulated.asks("AAPL")) >= 12
    assert simulated.asks("AAPL")[0][0] > before


def test_simulated_traders_sell_off_a_flood_without_running_dry() -> None:
    simulated = SimulatedVenue()
    simulated.run(10.0)
    for _ in range(30):
        simulated.place("XOM", Side.SELL, 5_000, time_in_force=TimeInForce.IOC)
        simulated.run(2.0)
    simulated.run(60.0)
    assert len(simulated.bids("XOM")) >= 12
    assert simulated.spread("XOM") in range(1, 8)
    assert all(account.cash["USD"] > 0 for account in simulated.accounts)


def test_simulated_traders_that_own_nothing_do_nothing_wrong() -> None:
    simulated = SimulatedVenue()
    for account in simulated.accounts:
        account.cash["USD"] = 0.0
        account.free_lots.clear()
    simulated.run(5.0)
    assert simulated.sent == 0


def test_simulated_traders_begun_again_go_on_with_their_orders() -> None:
    simulated = SimulatedVenue()
    simulated.run(30.0)
    open_before = simulated.venue.open_order_count
    simulated.begin_again()
    assert sum(len(account.orders) for account in simulated.accounts) == open_before
    sent_before = simulated.sent
    simulated.run(1.0)
    assert simulated.sent - sent_before < 40
    simulated.run(60.0)
    assert simulated.venue.open_order_count < 1.3 * open_before
    assert simulated.refusals.total() < 0.05 * simulated.sent


def test_simulated_traders_leave_a_closed_market_alone() -> None:
    simulated = SimulatedVenue()
    simulated.run(5.0)
    assert simulated.crowd is not None
    simulated.crowd.markets["AAPL"].is_open = False
    sequence = simulated.venue.event_sequence
    for _ in range(100):
        simulated.step()
    assert simulated.venue.event_sequence > sequence
    late = [symbol for moment, symbol, *_ in simulated.trades if moment > 5.05]
    assert "AAPL" not in late
    assert late


def test_simulated_market_of_one_maker_alone_quotes() -> None:
    simulated = SimulatedVenue(makers=1, takers=0, noise=0)
    simulated.run(10.0)
    assert simulated.trades == []
    assert len(simulated.bids("AAPL")) >= 8
    assert len(simulated.asks("AAPL")) >= 8


# Parameters that change while it goes on


def moves(simulated: SimulatedVenue, seconds: int) -> float:
    """How far prices went, in all."""
    middles = []
    for _ in range(seconds):
        simulated.run(1.0)
        bids, asks = simulated.bids("AAPL"), simulated.asks("AAPL")
        if bids and asks:
            middles.append((bids[0][0] + asks[0][0]) / 2)
    return sum(abs(after - before) for before, after in pairwise(middles))


def test_traders_at_a_rate_of_nothing_enter_nothing_and_go_on_at_another() -> None:
    simulated = SimulatedVenue()
    assert simulated.crowd is not None
    simulated.run(10.0)
    simulated.crowd.follow(SimulatedTraders(orders_per_second=0))
    entered = simulated.entered
    simulated.run(30.0)
    assert simulated.entered == entered
    simulated.crowd.follow(SimulatedTraders(orders_per_second=30.0))
    simulated.run(10.0)
    assert simulated.entered > entered


def test_more_volatility_moves_prices_further() -> None:
    usual, wild = SimulatedVenue(orders_per_second=30.0), SimulatedVenue(orders_per_second=30.0)
    assert wild.crowd is not None
    wild.crowd.follow(SimulatedTraders(volatility=4))
    assert moves(wild, 60) > 1.5 * moves(usual, 60)


def test_order_size_is_that_of_new_orders() -> None:
    simulated = SimulatedVenue()
    assert simulated.crowd is not None
    before = {symbol: market.ordinary_lots for symbol, market in simulated.crowd.markets.items()}
    simulated.crowd.follow(SimulatedTraders(order_size=3))
    simulated.run(5.0)
    lots = [lots for symbol in PRICES for _, lots in simulated.bids(symbol) + simulated.asks(symbol)]
    assert {symbol: market.ordinary_lots for symbol, market in simulated.crowd.markets.items()} == {
        symbol: 3 * ordinary for symbol, ordinary in before.items()
    }
    assert sum(lots) / len(lots) > 2 * sum(before.values()) / len(before)
    simulated.crowd.follow(SimulatedTraders())
    assert {symbol: market.ordinary_lots for symbol, market in simulated.crowd.markets.items()} == before
