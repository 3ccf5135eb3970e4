"""Any sequence of commands, in small: the shortest one that breaks a rule is found and shown.

Few accounts, prices and quantities, so that everything meets everything. Each command is audited; beside the venue runs a twin that was
restored from one of its snapshots and has to stay its equal.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from support.mirror import CALLS
from support.transcript import PLAIN
from support.venue_driver import STRATEGIES, VenueDriver
from support.workload import EXTREMES
from trading_engine.venue import Venue
from trading_engine.venue import commands as c
from trading_engine.venue.auction import AuctionRules, LimitBandRules
from trading_engine.venue.circuit_breakers import BreakerLevel, CircuitBreakers
from trading_engine.venue.instrument import MatchingRules
from trading_engine.venue.risk_limits import DisconnectAction, MarginTerms, RiskLimits, RiskScope
from trading_engine.venue.terms import (
    Contingency,
    OrderType,
    PegPrice,
    SelfTradePrevention,
    Side,
    SpecialTerms,
    TimeInForce,
    TradingPhase,
)

INSTRUMENTS = (
    replace(
        PLAIN, instrument_id=2, symbol="TWO", tick_value=3, maker_fee_ppm=3_333, taker_fee_ppm=77_777, shortable=True
    ),
    replace(
        PLAIN,
        market_protection_ticks=1,
        quantity_lots_max=9,
        notional_max=70,
        price_band_ppm=500_000,
        auctions=AuctionRules(200_000, 1, 1, 3_000),
        initial_margin_ppm=300_000,
        shortable=True,
    ),
    replace(
        PLAIN, instrument_id=3, symbol="THREE", matching=MatchingRules("split", True, 2, 3, ((3, 30),), 1, 30, True)
    ),
    replace(
        PLAIN,
        instrument_id=4,
        symbol="FOUR",
        limit_bands=LimitBandRules(300_000, 0, 100_000, 300_000, 3_000, 4_000, 5_000),
        reference_price_ticks=5,
    ),
)

account_ids = st.integers(1, 4) | st.just(9)
instrument_ids = st.integers(1, 4) | st.just(9)
order_ids = st.integers(0, 25)
client_order_ids = st.sampled_from(["", "", "a", "b", "c"])
prices = st.integers(0, 12) | st.sampled_from(EXTREMES)
quantities = st.integers(0, 10) | st.sampled_from(EXTREMES)
amounts = st.integers(-50, 50) | st.sampled_from(EXTREMES)
sides = st.sampled_from(Side)


class VenueMachine(RuleBasedStateMachine):
    @initialize(cash=st.integers(0, 300), lots=st.integers(0, 30), open_orders_max=st.integers(0, 4))
    def open(self, cash: int, lots: int, open_orders_max: int) -> None:
        self.driver = VenueDriver()
        self.twin = Venue(STRATEGIES)
        self.number = 0
        for instrument in INSTRUMENTS:
            self.do(c.ListInstrument(instrument))
        self.do(c.SetTradingPhase(0, TradingPhase.CONTINUOUS))
        self.do(c.OpenAccount(1, (("USD", cash),), ((1, lots), (2, lots), (3, lots)), open_orders_max, firm_id=1))
        self.do(c.OpenAccount(2, (("USD", 10_000),), ((1, 1_000), (2, 1_000), (3, 1_000)), trade_group_id=5, firm_id=1))
        self.do(c.OpenAccount(3, (("USD", 10_000),), ((1, 1_000), (2, 1_000), (3, 1_000)), trade_group_id=5))

    def do(self, command: c.AnyCommand) -> None:
        self.number += 1
        self.driver.do(command, "producer", self.number)
        self.apply_to_twin()

    def apply_to_twin(self) -> None:
        sequenced = self.driver.commands[-1]
        batch = self.twin.apply(sequenced)
        last = self.driver.batches[-1]
        assert batch == (last if last.command_sequence == sequenced.sequence else None)

    @rule(
        account_id=account_ids,
        client_order_id=client_order_ids,
        instrument_id=instrument_ids,
        side=sides,
        time_in_force=st.sampled_from(TimeInForce),
        quantity_lots=quantities,
        price_ticks=prices,
        post_only=st.booleans(),
        self_trade_prevention=st.sampled_from(SelfTradePrevention),
    )
    def place_limit(self, **fields: int) -> None:
        self.do(c.PlaceOrder(order_type=OrderType.LIMIT, **fields))  # type: ignore[arg-type]  # Drawn field by field.

    @rule(
        side=sides,
        instrument_id=st.sampled_from([1, 3]),
        account_id=st.integers(1, 3),
        quantity_lots=st.integers(1, 9),
        price_ticks=st.integers(1, 7),
        self_trade_prevention=st.sampled_from(SelfTradePrevention),
    )
    def place_good_limit(self, **fields: int) -> None:
        good = c.PlaceOrder(1, "", 1, Side.BUY, OrderType.LIMIT, TimeInForce.DAY, 1)
        self.do(replace(good, **fields))

    @rule(
        account_id=account_ids,
        instrument_id=instrument_ids,
        side=sides,
        time_in_force=st.sampled_from(TimeInForce),
        quantity_lots=quantities,
    )
    def place_market(
        self, account_id: int, instrument_id: int, side: Side, time_in_force: TimeInForce, quantity_lots: int
    ) -> None:
        self.do(c.PlaceOrder(account_id, "", instrument_id, side, OrderType.MARKET, time_in_force, quantity_lots))

    @rule(
        account_id=account_ids,
        side=sides,
        order_type=st.sampled_from([OrderType.STOP, OrderType.STOP_LIMIT]),
        time_in_force=st.sampled_from(TimeInForce),
        quantity_lots=quantities,
        price_ticks=prices,
        stop_price_ticks=prices,
    )
    def place_stop(self, stop_price_ticks: int, **fields: int) -> None:
        self.do(c.PlaceOrder(client_order_id="", instrument_id=1, **fields, special=SpecialTerms(stop_price_ticks)))  # type: ignore[arg-type]  # Drawn field by field.

    @rule(
        account_id=st.integers(2, 3),
        side=sides,
        time_in_force=st.sampled_from(TimeInForce),
        quantity_lots=st.integers(1, 5),
        stop_price_ticks=st.integers(1, 9),
        trail_ticks=st.integers(0, 4),
    )
    def place_good_stop(self, stop_price_ticks: int, trail_ticks: int, **fields: int) -> None:
        special = SpecialTerms(stop_price_ticks, trail_ticks=trail_ticks)
        good = c.PlaceOrder(1, "", 1, Side.BUY, OrderType.STOP, TimeInForce.DAY, 1, special=special)
        self.do(replace(good, **fields))

    @rule(
        account_id=st.integers(1, 3),
        instrument_id=st.sampled_from([1, 3]),
        side=sides,
        price_ticks=st.integers(1, 7),
        quantity_lots=st.integers(1, 9),
        display_lots=st.integers(-1, 4),
        hidden=st.booleans(),
        self_trade_prevention=st.sampled_from(SelfTradePrevention),
    )
    def place_concealed(self, display_lots: int, hidden: bool, **fields: int) -> None:
        special = SpecialTerms(0, display_lots, hidden)
        good = c.PlaceOrder(1, "", 1, Side.BUY, OrderType.LIMIT, TimeInForce.GTC, 1, special=special)
        self.do(replace(good, **fields))

    @rule(
        account_id=st.integers(1, 3),
        side=sides,
        price_ticks=st.integers(1, 7),
        quantity_lots=st.integers(1, 9),
        order_type=st.sampled_from([OrderType.LIMIT, OrderType.STOP_LIMIT]),
        soon=st.integers(0, 9),
    )
    def place_until(self, soon: int, **fields: int) -> None:
        special = SpecialTerms(5 if fields["order_type"] is OrderType.STOP_LIMIT else 0)
        special = replace(special, expire_time_ns=1_000 * (self.driver.venue.command_sequence + soon))
        good = c.PlaceOrder(1, "", 1, Side.BUY, OrderType.LIMIT, TimeInForce.GTD, 1, special=special)
        self.do(replace(good, **fields))

    @rule(
        account_id=st.integers(1, 3),
        side=sides,
        price_ticks=st.integers(1, 7),
        quantity_lots=st.integers(1, 9),
        time_in_force=st.sampled_from([TimeInForce.DAY, TimeInForce.IOC]),
        minimum_lots=st.integers(0, 5),
        post_only=st.booleans(),
        self_trade_prevention=st.sampled_from(SelfTradePrevention),
    )
    def place_particular(self, minimum_lots: int, post_only: bool, **fields: int) -> None:
        special = SpecialTerms(minimum_lots=minimum_lots, reprice=post_only)
        good = c.PlaceOrder(1, "", 1, Side.BUY, OrderType.LIMIT, TimeInForce.GTD, 1, 0, post_only, special=special)
        self.do(replace(good, **fields))

    @rule(side=sides, account_id=st.integers(1, 3), quantity_lots=st.integers(1, 9))
    def place_market_to_limit(self, side: Side, account_id: int, quantity_lots: int) -> None:
        kind = OrderType.MARKET_TO_LIMIT
        self.do(c.PlaceOrder(account_id, "", 1, side, kind, TimeInForce.DAY, quantity_lots))

    @rule(
        account_id=st.integers(1, 3),
        side=sides,
        price_ticks=st.integers(1, 7),
        quantity_lots=st.integers(1, 9),
        post_only=st.booleans(),
        self_trade_prevention=st.sampled_from(SelfTradePrevention),
        peg=st.sampled_from(list(PegPrice)[1:]),
        offset=st.integers(-2, 2),
        concealed=st.sampled_from([{}, {}, {"hidden": True}, {"display_lots": 2}]),
    )
    def place_pegged(self, peg: PegPrice, offset: int, concealed: dict[str, int], **fields: int) -> None:
        special = SpecialTerms(peg=peg, peg_offset_ticks=offset, **concealed)  # type: ignore[arg-type]  # One term or none.
        good = c.PlaceOrder(1, "", 1, Side.BUY, OrderType.PEGGED, TimeInForce.DAY, 1, special=special)
        self.do(replace(good, **fields))

    @rule(
        account_id=st.integers(1, 3),
        side=sides,
        price_ticks=st.integers(1, 7),
        quantity_lots=st.integers(1, 9),
        self_trade_prevention=st.sampled_from(SelfTradePrevention),
        stop_price_ticks=st.sampled_from([0, 0, 5]),
    )
    def place_all_or_none(self, stop_price_ticks: int, **fields: int) -> None:
        special = SpecialTerms(stop_price_ticks, all_or_none=True)
        kind = OrderType.STOP_LIMIT if stop_price_ticks else OrderType.LIMIT
        good = c.PlaceOrder(1, "", 1, Side.BUY, kind, TimeInForce.DAY, 1, special=special)
        self.do(replace(good, **fields))

    @rule(
        account_id=st.integers(1, 3),
        side=sides,
        contingency=st.sampled_from(Contingency),
        prices=st.tuples(st.integers(1, 7), st.integers(1, 9), st.integers(1, 9)),
        quantities=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)),
        time_in_force=st.sampled_from(TimeInForce),
        second_is_stop=st.booleans(),
    )
    def place_group(
        self,
        account_id: int,
        side: Side,
        contingency: Contingency,
        prices: tuple[int, int, int],
        quantities: tuple[int, int, int],
        time_in_force: TimeInForce,
        second_is_stop: bool,
    ) -> None:
        """An entry, a profit and a loss, or what of them there is in such a group."""
        entry = c.PlaceOrder(account_id, "", 1, side, OrderType.LIMIT, time_in_force, quantities[0], prices[0])
        end = replace(entry, side=side.opposite, time_in_force=TimeInForce.DAY)
        profit = replace(end, price_ticks=prices[1], quantity_lots=quantities[1])
        loss = replace(end, price_ticks=prices[2], quantity_lots=quantities[2])
        if second_is_stop:
            loss = replace(loss, order_type=OrderType.STOP, price_ticks=0, special=SpecialTerms(prices[2]))
        orders = {
            Contingency.OCO: (profit, loss),
            Contingency.OTO: (entry, loss),
            Contingency.BRACKET: (entry, profit, loss),
        }[contingency]
        self.do(c.PlaceOrderGroup(account_id, contingency, orders))

    @rule(account_id=account_ids, group_id=order_ids)
    def cancel_group(self, account_id: int, group_id: int) -> None:
        self.do(c.CancelOrderGroup(account_id, group_id))

    @rule()
    def advance_clock(self) -> None:
        self.do(c.AdvanceClock())

    @rule(account_id=account_ids, order_id=order_ids, client_order_id=client_order_ids)
    def cancel(self, account_id: int, order_id: int, client_order_id: str) -> None:
        self.do(c.CancelOrder(account_id, order_id, client_order_id))

    @rule(
        account_id=account_ids,
        order_id=order_ids,
        client_order_id=client_order_ids,
        quantity_lots=quantities,
        price_ticks=prices,
        stop_price_ticks=prices,
    )
    def replace_any(self, **fields: int) -> None:
        self.do(c.ReplaceOrder(**fields))  # type: ignore[arg-type]  # Drawn field by field.

    @rule(data=st.data(), quantity_lots=st.integers(0, 12), price_ticks=st.integers(0, 9), stop=st.integers(0, 9))
    def replace_working(self, data: st.DataObject, quantity_lots: int, price_ticks: int, stop: int) -> None:
        """One of the working orders, by its owner."""
        assert self.driver.auditor
        orders = self.driver.auditor.mirror.orders
        if orders:
            order = orders[data.draw(st.sampled_from(sorted(orders)))]
            stop_price_ticks = stop if order.stop_price_ticks else 0
            self.do(c.ReplaceOrder(order.account_id, order.order_id, "", quantity_lots, price_ticks, stop_price_ticks))

    @rule(account_id=account_ids, instrument_id=st.integers(0, 3), side=st.integers(0, 3))
    def mass_cancel(self, account_id: int, instrument_id: int, side: int) -> None:
        self.do(c.MassCancel(account_id, instrument_id, side))

    @rule(account_id=st.integers(0, 9), amount=amounts)
    def adjust_cash(self, account_id: int, amount: int) -> None:
        self.do(c.AdjustCash(account_id, "USD", amount))

    @rule(account_id=st.integers(0, 9), instrument_id=instrument_ids, lots=amounts)
    def adjust_position(self, account_id: int, instrument_id: int, lots: int) -> None:
        self.do(c.AdjustPosition(account_id, instrument_id, lots))

    @rule(account_id=account_ids, cash=amounts, open_orders_max=quantities, group=quantities)
    def open_account(self, account_id: int, cash: int, open_orders_max: int, group: int) -> None:
        self.do(c.OpenAccount(account_id, (("USD", cash),), (), open_orders_max, group))

    @rule(account_id=account_ids, suspended=st.booleans())
    def suspend(self, account_id: int, suspended: bool) -> None:
        self.do(c.SuspendAccount(account_id, suspended))

    @rule(
        instrument_id=st.integers(0, 3),
        phase=st.sampled_from(TradingPhase),
        day_ends=st.booleans(),
        ends_ns=st.just(0) | st.sampled_from(EXTREMES),
    )
    def set_phase(self, instrument_id: int, phase: TradingPhase, day_ends: bool, ends_ns: int) -> None:
        self.do(c.SetTradingPhase(instrument_id, phase, day_ends, ends_ns))

    @rule(phase=st.sampled_from(CALLS), soon=st.integers(1, 9))
    def call(self, phase: TradingPhase, soon: int) -> None:
        self.do(c.SetTradingPhase(1, phase, ends_ns=1_000 * (self.driver.venue.command_sequence + soon)))

    @rule(
        account_id=st.integers(1, 3),
        side=sides,
        price_ticks=st.integers(0, 7),
        quantity_lots=st.integers(1, 9),
        time_in_force=st.sampled_from([TimeInForce.OPG, TimeInForce.CLS, TimeInForce.DAY]),
    )
    def place_for_auction(self, price_ticks: int, **fields: int) -> None:
        kind = OrderType.LIMIT if price_ticks else OrderType.MARKET
        good = c.PlaceOrder(1, "", 1, Side.BUY, kind, TimeInForce.DAY, 1, price_ticks)
        self.do(replace(good, **fields))

    @rule(
        scope=st.sampled_from(RiskScope),
        scope_id=st.integers(0, 3),
        limits=st.fixed_dictionaries(
            {},
            optional={
                "order_quantity_lots_max": st.integers(1, 8),
                "open_orders_max": st.integers(1, 3),
                "open_notional_max": st.integers(1, 60),
                "long_lots_max": st.integers(1, 1_005),
                "short_lots_max": st.integers(1, 5),
                "day_turnover_max": st.integers(1, 99),
                "day_loss_max": st.integers(1, 20),
                "duplicate_window_ns": st.integers(1, 5_000),
                "price_collar_ppm": st.integers(1, 300_000),
            },
        ),
    )
    def set_risk_limits(self, scope: RiskScope, scope_id: int, limits: dict[str, int]) -> None:
        self.do(c.SetRiskLimits(scope, scope_id, RiskLimits(**limits)))

    @rule(scope=st.sampled_from(RiskScope), scope_id=st.integers(0, 3), active=st.booleans())
    def set_kill_switch(self, scope: RiskScope, scope_id: int, active: bool) -> None:
        self.do(c.SetKillSwitch(scope, scope_id, active))

    @rule(account_id=account_ids, timeout_ns=st.integers(0, 5_000), instrument_id=st.integers(0, 3))
    def set_countdown(self, account_id: int, timeout_ns: int, instrument_id: int) -> None:
        self.do(c.SetCountdown(account_id, timeout_ns, instrument_id))

    @rule(account_id=account_ids, credit=st.integers(0, 500), short_lots=st.integers(0, 20), liquidate=st.booleans())
    def set_margin(self, account_id: int, credit: int, short_lots: int, liquidate: bool) -> None:
        self.do(c.SetMargin(account_id, MarginTerms(credit, short_lots, liquidate) if credit or short_lots else None))

    @rule(account_id=account_ids, action=st.sampled_from(DisconnectAction))
    def disconnect(self, account_id: int, action: DisconnectAction) -> None:
        self.do(c.SetCancelOnDisconnect(account_id, action))
        self.do(c.ReportDisconnect(account_id))

    @rule(
        index=st.dictionaries(st.integers(1, 4), st.integers(0, 3), max_size=2),
        falls=st.dictionaries(st.integers(0, 300_000), st.sampled_from([0, 2_000, 9_000]), min_size=1, max_size=3),
    )
    def set_circuit_breakers(self, index: dict[int, int], falls: dict[int, int]) -> None:
        levels = tuple(BreakerLevel(fall, halt_ns) for fall, halt_ns in sorted(falls.items()))
        self.do(c.SetCircuitBreakers(CircuitBreakers(tuple(index.items()), levels, 3_000) if index else None))

    @rule()
    def reopen_markets(self) -> None:
        self.do(c.SetTradingPhase(0, TradingPhase.CONTINUOUS))

    @rule(behind=st.integers(0, 3))
    def deliver_again(self, behind: int) -> None:
        """A command whose number was used: nothing may come of it."""
        self.driver.do(c.AdjustCash(1, "USD", 1), "producer", self.number - behind)
        self.apply_to_twin()

    @rule()
    def restart_twin(self) -> None:
        self.twin = Venue.restore(self.driver.venue.snapshot(), STRATEGIES)

    @invariant()
    def twin_is_equal(self) -> None:
        assert self.twin.snapshot() == self.driver.venue.snapshot()


VenueMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, derandomize=True, print_blob=False)
TestVenueStateMachine = VenueMachine.TestCase
