"""What the fast venue has beyond the reference: batches of records, two shapes of a market, memory that can be full.

That it does what the reference does is tested wherever a venue is driven: see `support/venue_driver.py`.
"""

from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest

from support.record_market import TEXT, commands_of, random_records
from support.venue_driver import AAPL, ALICE, BOB, BUY, CAROL, EAGER, MSFT, SELL
from trading_engine.venue import Venue
from trading_engine.venue import commands as c
from trading_engine.venue import events as e
from trading_engine.venue.fast import layout
from trading_engine.venue.fast.records import command_of
from trading_engine.venue.fast.state import State
from trading_engine.venue.fast.venue import FastVenue
from trading_engine.venue.terms import OrderType, SelfTradePrevention, Side, SpecialTerms, TimeInForce, TradingPhase

LIMIT, GTC = OrderType.LIMIT, TimeInForce.GTC
OPENING: tuple[c.AnyCommand, ...] = (
    c.ListInstrument(AAPL),
    c.ListInstrument(MSFT),
    c.SetTradingPhase(0, TradingPhase.CONTINUOUS),
    *(c.OpenAccount(account, (("USD", 10**9),), ((1, 10**5), (2, 10**5)), 500) for account in (ALICE, BOB, CAROL)),
)


def sequenced(venue: Venue, command: c.AnyCommand) -> c.SequencedCommand:
    number = venue.command_sequence + 1
    return c.SequencedCommand(number, number, "test", number, command)


def open_venue(state: State | None = None, eagerness: int = EAGER) -> FastVenue:
    venue = FastVenue(state=state, compile_eagerness=eagerness)
    for command in OPENING:
        venue.apply(sequenced(venue, command))
    return venue


def open_both(state: State | None = None, eagerness: int = EAGER) -> tuple[Venue, FastVenue]:
    reference = Venue()
    for command in OPENING:
        reference.apply(sequenced(reference, command))
    return reference, open_venue(state, eagerness)


def do_both(venues: tuple[Venue, FastVenue], command: c.AnyCommand) -> e.EventBatch | None:
    reference, fast = venues
    numbered = sequenced(reference, command)
    batch = reference.apply(numbered)
    assert fast.apply(numbered) == batch
    return batch


def buy(quantity_lots: int, price_ticks: int, account: int = ALICE, **terms: object) -> c.PlaceOrder:
    return c.PlaceOrder(account, "", 1, BUY, LIMIT, GTC, quantity_lots, price_ticks, **terms)  # type: ignore[arg-type]


def is_compiled(venue: FastVenue, instrument_id: int = 1) -> bool:
    return venue.flat_market(instrument_id).is_compiled


@pytest.mark.parametrize("number", [-(2**63), 2**63, 2**64 - 1, 2**64, 2**70, -(2**70)])
def test_numbers_at_the_ends_of_messages_and_beyond_are_refused_as_by_the_reference(number: int) -> None:
    venues = _, fast = open_both()
    do_both(venues, buy(5, 100))
    for command in (
        *(buy(number, 100), buy(5, number), buy(5, 100, account=number)),
        *(c.PlaceOrder(ALICE, "", number, BUY, LIMIT, GTC, 5, 100), c.CancelOrder(ALICE, number)),
        *(c.ReplaceOrder(ALICE, 1, "", number, 100), c.ReplaceOrder(ALICE, 1, "", 5, number)),
    ):
        do_both(venues, command)
    assert fast.snapshot() == venues[0].snapshot()


NAMES = ("a", "é" * 16, "x" * 31, "y" * 32, "z" * 64, "\N{GRINNING FACE}" * 16)


def test_messages_out_of_compiled_code_are_those_of_the_schema_to_the_byte() -> None:
    fast, objects = open_venue(), open_venue()
    random = Random(5)
    for number in range(2_000):
        account, name = random.choice((ALICE, BOB, CAROL)), random.choice(("", f"n{number % 90}", *NAMES))
        price = random.choice((90, 100, 110)) * random.choice((1, 1, 1, 1000, 5000))
        command = random.choice(
            (
                c.PlaceOrder(account, name, 1, random.choice((BUY, SELL)), LIMIT, GTC, random.randint(0, 300), price),
                c.CancelOrder(account, random.choice((0, random.randint(1, number + 2))), name),
                c.ReplaceOrder(account, random.randint(1, number + 2), "", random.randint(0, 70_000), price),
            )
        )
        # The producer's number, the time and the name take every width that MessagePack has for them.
        sequence, time_ns = objects.command_sequence + 1, objects.time_ns + (number < 600) * 2 ** (number % 60) // 8
        one = c.SequencedCommand(sequence, time_ns, random.choice(("p", "q" * 40, "r" * 300)), number**3 + 1, command)
        batch = objects.apply(one)
        encoded = fast.apply_encoded(one, msgspec.msgpack.encode(one) if number % 2 else b"")
        assert encoded == (msgspec.msgpack.encode(batch) if batch else None), one
    assert is_compiled(fast)
    assert fast.snapshot() == objects.snapshot()


@pytest.mark.parametrize("seed", range(3))
def test_batches_of_records_do_what_the_reference_does(seed: int) -> None:
    random = np.random.default_rng(seed)
    reference, fast = open_both()
    sent, nobody = 0, np.zeros((0, 2), np.int64)
    for size in (1, 7, 200, 700, 700):
        records = random_records(random, size, CAROL, 2, 100, nobody, reference._last_order_id)
        first = reference.command_sequence + 1
        records["time_ns"] = first + np.arange(size)
        records["producer"] = fast.producer_number("batches")
        records["producer_sequence"] = sent + 1 + np.arange(size) - 3 * (random.random(size) < 0.01)
        sent += size
        expected = [reference.apply(sequenced) for sequenced in commands_of(records, first, "batches")]
        events, others = fast.apply_batch(records, TEXT)
        assert fast.decode_batch(first, records, TEXT, events, others) == [batch for batch in expected if batch]
        assert fast.snapshot() == reference.snapshot()
    assert is_compiled(fast)


def test_records_have_the_columns_that_the_documentation_names() -> None:
    venue = open_venue()
    records = np.zeros(2, layout.COMMAND)
    records["kind"], records["order_type"], records["time_in_force"] = 10, 2, 1
    records["side"] = (1, 2)
    records["account_id"], records["target_id"] = (ALICE, BOB), 1
    records["quantity_lots"], records["price_ticks"] = (5, 3), 100
    records["producer"], records["producer_sequence"] = venue.producer_number("x"), (1, 2)
    records["time_ns"] = 10**9
    events, others = venue.apply_batch(records)
    assert not others
    trade = events.view(layout.TRADE)[events["kind"] == layout.E_TRADE][0]
    assert (trade["price_ticks"], trade["quantity_lots"], trade["maker_leaves_lots"]) == (100, 3, 2)
    assert (trade["maker_account_id"], trade["taker_account_id"], trade["command"]) == (ALICE, BOB, 1)
    levels = events.view(layout.BOOK_LEVEL)[events["kind"] == layout.E_BOOK]
    assert levels["quantity_lots"].tolist() == [5, 2]


def test_example_in_the_documentation_runs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "venue.md").read_text().partition("## The fast venue")[2]
    names: dict[str, Any] = {"venue": open_venue()}
    exec(text.partition("```python\n")[2].partition("```")[0], names)
    assert names["trades"]["quantity_lots"].tolist() == [3]


def test_batch_with_other_commands_among_the_records_keeps_their_order() -> None:
    reference, fast = open_both()
    iceberg = buy(50, 90, special=SpecialTerms(display_lots=5))
    records = np.zeros(3, layout.COMMAND)
    records["time_ns"] = 10**9
    records["kind"] = (10, 0, 10)
    records["side"], records["order_type"], records["time_in_force"] = (1, 0, 2), 2, 1
    records["account_id"], records["quantity_lots"], records["price_ticks"] = BOB, 20, 90
    records["target_id"] = (1, 0, 1)
    records["producer"] = fast.producer_number("batches")
    records["producer_sequence"] = (1, 2, 3)
    first = reference.command_sequence + 1
    commands = [command_of(records[0], b""), iceberg, command_of(records[2], b"")]
    numbered = [c.SequencedCommand(first + n, 10**9, "batches", n + 1, one) for n, one in enumerate(commands)]
    expected = [reference.apply(one) for one in numbered]
    events, others = fast.apply_batch(records, b"", [numbered[1]])
    assert fast.decode_batch(first, records, b"", events, others) == expected
    assert fast.snapshot() == reference.snapshot()


def test_records_of_another_type_and_unknown_kinds_are_errors() -> None:
    venue = open_venue()
    with pytest.raises(TypeError, match="dtype COMMAND"):
        venue.apply_batch(np.zeros(1, layout.EVENT))
    unknown = np.zeros(1, layout.COMMAND)
    unknown["kind"] = 99
    unknown["producer"], unknown["producer_sequence"] = venue.producer_number("x"), 1
    with pytest.raises(ValueError, match="command kind 99"):
        venue.apply_batch(unknown)


def test_market_changes_shape_with_what_is_in_it() -> None:
    venues = _, fast = open_both()
    assert is_compiled(fast)
    do_both(venues, buy(5, 100))
    assert is_compiled(fast)
    do_both(venues, buy(50, 99, special=SpecialTerms(display_lots=5)))
    assert not is_compiled(fast)
    assert is_compiled(fast, 2)
    do_both(venues, c.MassCancel(ALICE, 1, BUY))
    assert is_compiled(fast)


def stop(side: Side, stop_price_ticks: int, trail_ticks: int = 0) -> c.PlaceOrder:
    special = SpecialTerms(stop_price_ticks=stop_price_ticks, trail_ticks=trail_ticks)
    return c.PlaceOrder(CAROL, "", 1, side, OrderType.STOP, GTC, 5, 0, special=special)


def quoted_market(*stops: c.PlaceOrder) -> tuple[Venue, FastVenue]:
    """Two of ten lots each at 97, 98, 99 and at 101, 102, 103, a last price of 100, and stops."""
    venues = open_both(eagerness=1)
    for account, side, price in ((ALICE, SELL, 100), (BOB, BUY, 100)):
        do_both(venues, c.PlaceOrder(account, "", 1, side, LIMIT, GTC, 1, price))
    for price in (97, 98, 99, 101, 102, 103):
        for _ in range(2):
            do_both(venues, c.PlaceOrder(ALICE, "", 1, BUY if price < 100 else SELL, LIMIT, GTC, 10, price))
    for order in stops:
        do_both(venues, order)
    assert is_compiled(venues[1])
    return venues


QUIET = (
    ("resting behind the touch", c.PlaceOrder(BOB, "", 1, BUY, LIMIT, GTC, 50, 100)),
    ("limit before the stop", c.PlaceOrder(BOB, "", 1, BUY, LIMIT, GTC, 50, 102)),
    ("limit beyond it, filled before it", c.PlaceOrder(BOB, "", 1, BUY, LIMIT, GTC, 40, 110)),
    ("market order, filled before it", c.PlaceOrder(BOB, "", 1, SELL, OrderType.MARKET, TimeInForce.IOC, 40, 0)),
    ("cancel of nothing", c.CancelOrder(BOB, 12345)),
    ("cancel of an order", c.CancelOrder(ALICE, 5)),
    ("replace to cross", c.ReplaceOrder(ALICE, 3, "", 20, 102)),
    ("cancel of a stop", c.CancelOrder(CAROL, 15)),
    ("replace of a stop", c.ReplaceOrder(CAROL, 15, "", 3, 0, 104)),
)
SETTING_OFF = (
    ("limit at the stop, not filled before it", c.PlaceOrder(BOB, "", 1, BUY, LIMIT, GTC, 41, 103)),
    ("market order through it", c.PlaceOrder(BOB, "", 1, SELL, OrderType.MARKET, TimeInForce.IOC, 41, 0)),
    ("replace through it", c.ReplaceOrder(ALICE, 3, "", 45, 103)),
)


@pytest.mark.parametrize(("what", "command"), QUIET)
def test_market_with_stops_stays_compiled_as_long_as_no_trade_reaches_them(what: str, command: c.AnyCommand) -> None:
    venues = _, fast = quoted_market(stop(BUY, 103), stop(SELL, 97))
    do_both(venues, command)
    assert is_compiled(fast), what
    assert fast.snapshot() == venues[0].snapshot()


@pytest.mark.parametrize(("what", "command"), SETTING_OFF)
def test_command_that_may_set_off_a_stop_is_left_to_the_rules(what: str, command: c.AnyCommand) -> None:
    venues = _, fast = quoted_market(stop(BUY, 103), stop(SELL, 97))
    batch = do_both(venues, command)
    assert batch is not None
    assert [type(event) for event in batch.events].count(e.OrderTriggered) == 1, what
    assert not is_compiled(fast)
    for _ in range(40):
        do_both(venues, c.PlaceOrder(BOB, "", 1, BUY, LIMIT, GTC, 1, 90))
    assert is_compiled(fast)


def test_trailing_stop_leaves_compiled_what_does_not_move_it() -> None:
    venues = _, fast = quoted_market(stop(SELL, 98, trail_ticks=3))
    do_both(venues, c.PlaceOrder(BOB, "", 1, BUY, LIMIT, GTC, 3, 101))
    do_both(venues, c.PlaceOrder(BOB, "", 1, SELL, LIMIT, GTC, 3, 99))
    assert is_compiled(fast)
    batch = do_both(venues, c.PlaceOrder(BOB, "", 1, BUY, LIMIT, GTC, 30, 102))
    assert batch is not None
    assert any(isinstance(event, e.OrderRestated) for event in batch.events)
    assert not is_compiled(fast)


def test_countdown_leaves_its_owner_compiled_and_cancels_all_the_same() -> None:
    venues = _, fast = quoted_market()
    do_both(venues, c.SetCountdown(ALICE, 10, 1))
    do_both(venues, c.PlaceOrder(ALICE, "", 1, BUY, LIMIT, GTC, 5, 96))
    assert is_compiled(fast)
    for _ in range(20):
        do_both(venues, c.AdvanceClock())
    assert fast.open_order_count == 0
    assert fast.snapshot() == venues[0].snapshot()


def test_restored_market_with_stops_is_compiled_and_knows_them() -> None:
    reference, fast = quoted_market(stop(BUY, 103), stop(SELL, 97))
    restored = FastVenue.restore(fast.snapshot())
    assert is_compiled(restored)
    do_both((reference, restored), c.PlaceOrder(BOB, "", 1, BUY, LIMIT, GTC, 41, 103))
    assert not is_compiled(restored)


@pytest.mark.parametrize("seed", range(4))
def test_market_with_many_stops_does_what_the_reference_does(seed: int) -> None:
    random = Random(seed)
    venues = _, fast = open_both()
    compiled = 0
    for _ in range(700):
        account, side = random.choice((ALICE, BOB, CAROL)), random.choice((BUY, SELL))
        price = 100 + random.randint(-8, 8)
        choice = random.random()
        if choice < 0.06:
            trail = random.choice((0, 0, 0, 4))
            special = SpecialTerms(stop_price_ticks=price, trail_ticks=trail)
            do_both(venues, c.PlaceOrder(account, "", 1, side, OrderType.STOP, GTC, 5, 0, special=special))
        elif choice < 0.3:
            do_both(venues, c.CancelOrder(account, random.randint(1, venues[0]._last_order_id + 1)))
        elif choice < 0.45:
            order_id = random.randint(1, venues[0]._last_order_id + 1)
            do_both(venues, c.ReplaceOrder(account, order_id, "", random.randint(0, 60), random.choice((0, price))))
        else:
            kind = random.choice((LIMIT, LIMIT, LIMIT, OrderType.MARKET))
            time_in_force = random.choice((GTC, TimeInForce.IOC, TimeInForce.FOK))
            mode = random.choice(list(SelfTradePrevention))
            limit = price if kind is LIMIT else 0
            lots = random.randint(1, 60)
            order = c.PlaceOrder(account, "", 1, side, kind, time_in_force, lots, limit, self_trade_prevention=mode)
            do_both(venues, order)
        compiled += is_compiled(fast) and bool(fast.stops(1))
    assert fast.snapshot() == venues[0].snapshot()
    assert compiled > 50


def test_market_is_compiled_again_after_as_many_commands_as_it_has_orders() -> None:
    venues = reference, fast = open_both(eagerness=1)
    for price in range(80, 90):
        do_both(venues, buy(1, price))
    do_both(venues, buy(50, 99, special=SpecialTerms(display_lots=5)))
    do_both(venues, c.CancelOrder(ALICE, reference._last_order_id))
    waited = 0
    while not is_compiled(fast):
        do_both(venues, buy(1, 70))
        waited += 1
    assert 5 < waited < 40


@pytest.mark.parametrize("makes_general", [False, True], ids=["compiled", "general"])
def test_books_are_viewed_alike(makes_general: bool) -> None:
    venues = reference, fast = open_both()
    for number in range(60):
        side = BUY if number % 2 else SELL
        price = 100 + (number * 7 % 9) * (1 if side is SELL else -1)
        account = ALICE if number % 3 else BOB
        do_both(venues, c.PlaceOrder(account, "", 1, side, LIMIT, GTC, number + 1, price))
    do_both(venues, c.CancelOrder(BOB, 1))
    do_both(venues, stop(BUY, 200))
    if makes_general:
        do_both(venues, buy(50, 60, special=SpecialTerms(display_lots=5)))
        do_both(venues, buy(50, 59, special=SpecialTerms(hidden=True)))
    assert is_compiled(fast) is not makes_general
    for side in Side:
        assert fast.depth(1, side) == reference.depth(1, side)
        for levels_max in (0, 1, 3, 100):
            assert fast.depth(1, side, levels_max) == reference.depth(1, side)[:levels_max]
        for price in (-1, 0, 59, *range(88, 112), 1_000_000, 1_000_001, 2**40):
            assert fast.queue(1, side, price) == reference.queue(1, side, price)
        assert not fast.depth(2, side)
        assert not fast.queue(2, side, 100)
    found = 0
    for account in (ALICE, BOB, CAROL):
        for order_id in range(-1, 65):
            view = reference.working_order(account, order_id)
            assert fast.working_order(account, order_id) == view
            found += view is not None
    assert found == reference.open_order_count > 20
    assert is_compiled(fast) is not makes_general


def test_full_book_goes_on_in_general_shape() -> None:
    venues = _, fast = open_both(State(orders_max=20))
    random = Random(1)
    for number in range(300):
        side = random.choice((BUY, SELL))
        price = 100 + random.choice((-1, 1, 2)) * (1 if side is SELL else -1)
        do_both(venues, c.PlaceOrder(random.choice((ALICE, BOB)), f"n{number}", 1, side, LIMIT, GTC, 3, price))
        if number % 3 == 0:
            do_both(venues, c.CancelOrder(ALICE, random.randint(1, number + 1)))
    assert fast.snapshot() == venues[0].snapshot()
    assert fast.open_order_count > 20


def test_instrument_with_the_widest_prices_works_at_both_ends() -> None:
    venues = _, fast = open_both()
    huge = AAPL.__class__(
        9, "HUGE", "x", "USD", "1", "1", 1, quantity_lots_max=2**31 - 1, price_ticks_max=2**31 - 1, notional_max=2**61
    )
    do_both(venues, c.ListInstrument(huge))
    do_both(venues, c.SetTradingPhase(9, TradingPhase.CONTINUOUS))
    for account in (ALICE, BOB):
        do_both(venues, c.AdjustCash(account, "USD", 2**60))
        do_both(venues, c.AdjustPosition(account, 9, 2**40))
    for price in (2**31 - 1, 1, 2**30, 2**31 - 2, 2, 0, -1, 2**31):
        do_both(venues, c.PlaceOrder(ALICE, "", 9, SELL, LIMIT, GTC, 7, price))
        do_both(venues, c.PlaceOrder(BOB, "", 9, BUY, LIMIT, GTC, 2**28, price))
    assert is_compiled(fast, 9)
    assert fast.snapshot() == venues[0].snapshot()


def test_state_goes_from_one_implementation_to_the_other_and_back() -> None:
    venues = reference, fast = open_both()
    for price in range(90, 110):
        do_both(venues, c.PlaceOrder(ALICE, f"a{price}", 1, BUY if price < 100 else SELL, LIMIT, GTC, 5, price))
    do_both(venues, c.PlaceOrder(BOB, "", 1, BUY, LIMIT, TimeInForce.IOC, 12, 101))
    data = reference.snapshot()
    assert fast.snapshot() == data
    restored = FastVenue.restore(data)
    assert is_compiled(restored)
    assert restored.snapshot() == data
    assert Venue.restore(restored.snapshot()).snapshot() == data
    do_both((reference, restored), c.CancelOrder(ALICE, 0, "a95"))
