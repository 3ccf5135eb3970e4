"""How orders of one price share a quantity: the algorithms by themselves, and in the venue against a second account of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from support.naive_sharing import NaiveOffer
from support.naive_sharing import shares as naive_shares
from support.simulation import simulate
from support.transcript import PLAIN
from support.venue_driver import ALICE, BOB, BUY, CAROL, GTC, LIMIT, SELL, STRATEGIES, VenueDriver, open_venue
from trading_engine.venue import Venue
from trading_engine.venue import commands as c
from trading_engine.venue import events as e
from trading_engine.venue.instrument import LEAD_MARKET_MAKERS_MAX, QUANTITY_LOTS_MAX, Instrument, MatchingRules
from trading_engine.venue.matching import Offer, Strategy, TopOrder, UnknownStrategy, in_time_order, is_sound
from trading_engine.venue.reasons import Reason
from trading_engine.venue.terms import SelfTradePrevention, Side, SpecialTerms, TimeInForce, TradingPhase

ALGORITHMS = ("price-time", "size-time", "lead-market-maker", "pro-rata", "split")

P1 = (5, 9, 57, 4, 28, 300)
P2 = (10, 5, 20, 50, 75)
"""Worked examples of CME Globex."""


@dataclass(frozen=True)
class Case:
    rules: MatchingRules
    incoming: int
    displayed: tuple[int, ...]
    given: list[int]
    top: int = 0
    """Lots of the first order that are filled first."""
    accounts: str = ""
    """A letter for each order, where that matters; account 2 is `b`."""


CASES = {
    "pro-rata, CME's first example": Case(MatchingRules("pro-rata"), 50, P1, [3, 0, 7, 0, 3, 37]),
    "pro-rata with top, CME's second example": Case(MatchingRules("pro-rata"), 60, P2, [10, 3, 6, 16, 25], top=10),
    "pro-rata without a smallest share": Case(
        MatchingRules("pro-rata", pro_rata_lots_min=1), 50, P1, [2, 1, 7, 0, 3, 37]
    ),
    "pro-rata of one lot": Case(MatchingRules("pro-rata"), 1, (3, 300), [1, 0]),
    "pro-rata of all that is displayed": Case(MatchingRules("pro-rata"), 9, (1, 2, 3), [1, 2, 3]),
    "price-time": Case(MatchingRules("price-time"), 20, P1, [5, 9, 6, 0, 0, 0]),
    "size-time": Case(MatchingRules("size-time"), 20, (9, 10, 3, 10), [0, 10, 0, 10]),
    "lead market maker": Case(
        MatchingRules("lead-market-maker", lead_market_makers=((2, 35),)), 20, (50, 4, 50), [13, 0, 7], accounts="aab"
    ),
    "lead market maker with top": Case(
        MatchingRules("lead-market-maker", lead_market_makers=((2, 50),)), 20, (8, 50, 50), [8, 6, 6], 8, "aab"
    ),
    "lead market maker who is the top order": Case(
        MatchingRules("lead-market-maker", lead_market_makers=((2, 50),)), 20, (8, 50), [8, 12], 4, "ba"
    ),
    "two lead market makers": Case(
        MatchingRules("lead-market-maker", lead_market_makers=((2, 30), (1, 10))),
        20,
        (50, 4, 50),
        [12, 2, 6],
        accounts="cab",
    ),
    "split": Case(MatchingRules("split", fifo_percent=40), 100, (50, 100, 50), [45, 37, 18]),
    "split with leveling": Case(MatchingRules("split", fifo_percent=0, leveling=True), 20, (2, 3, 95), [0, 1, 19]),
    "split without leveling": Case(MatchingRules("split", fifo_percent=0), 20, (2, 3, 95), [1, 0, 19]),
    "split that is all by time": Case(MatchingRules("split", fifo_percent=100), 20, P1, [5, 9, 6, 0, 0, 0]),
}


def offers_of(case: Case) -> list[Offer]:
    return [
        Offer(
            position + 1,
            "abc".index(case.accounts[position]) + 1 if case.accounts else 7,
            lots,
            lots,
            0 if position else case.top,
        )
        for position, lots in enumerate(case.displayed)
    ]


@pytest.mark.parametrize("name", CASES)
def test_algorithm_gives_each_order_its_share(name: str) -> None:
    case = CASES[name]
    shares = dict(STRATEGIES[case.rules.algorithm].allocate(case.rules, case.incoming, offers_of(case)))
    assert [shares.get(position, 0) for position in range(len(case.displayed))] == case.given


# Any quantities

lots = st.integers(1, 12) | st.integers(1, 400) | st.sampled_from([QUANTITY_LOTS_MAX, QUANTITY_LOTS_MAX - 1])


@st.composite
def offered(draw: st.DrawFn) -> list[Offer]:
    """The orders of a level; one of them may be the top order."""
    displayed = draw(st.lists(lots, min_size=1, max_size=12))
    top = draw(st.integers(-3, len(displayed) - 1))
    return [
        Offer(
            position + 1,
            draw(st.integers(1, 4)),
            shown,
            shown + draw(st.sampled_from([0, 0, 5])),
            draw(st.integers(1, shown)) if position == top else 0,
        )
        for position, shown in enumerate(displayed)
    ]


rules = st.builds(
    MatchingRules,
    algorithm=st.sampled_from(ALGORITHMS),
    lead_market_makers=st.sampled_from([(), ((1, 30),), ((2, 10), (1, 55)), ((3, 100),), ((4, 1), (3, 1), (2, 98))]),
    pro_rata_lots_min=st.integers(1, 4),
    fifo_percent=st.integers(0, 100),
    leveling=st.booleans(),
)


@settings(max_examples=400, derandomize=True)
@given(rules=rules, incoming=lots, offers=offered())
def test_shares_add_up_stay_within_the_orders_and_are_those_of_the_rule_book(
    rules: MatchingRules, incoming: int, offers: list[Offer]
) -> None:
    shares = STRATEGIES[rules.algorithm].allocate(rules, incoming, offers)
    assert is_sound(shares, incoming, offers)
    assert sum(given for _, given in shares) == min(incoming, sum(offer.displayed_lots for offer in offers))
    assert all(given <= offers[position].displayed_lots for position, given in shares)
    assert shares == STRATEGIES[rules.algorithm].allocate(rules, incoming, tuple(offers))
    naive = [NaiveOffer(offer.account_id, offer.displayed_lots, offer.top_lots) for offer in offers]
    assert list(shares) == naive_shares(rules, incoming, naive)


@settings(max_examples=100, derandomize=True)
@given(incoming=lots, offers=offered())
def test_shares_by_time_go_to_the_oldest_orders_in_order_of_time(incoming: int, offers: list[Offer]) -> None:
    by_time = MatchingRules("split", fifo_percent=100)
    plain = [offer._replace(top_lots=0) for offer in offers]
    positions = [position for position, _ in STRATEGIES["split"].allocate(by_time, incoming, plain)]
    assert positions == list(range(len(positions)))
    assert STRATEGIES["price-time"].allocate(by_time, incoming, offers) == in_time_order(by_time, incoming, offers)


# In the venue

SHARED = replace(PLAIN, quantity_lots_max=QUANTITY_LOTS_MAX)


def market(rules: MatchingRules | None) -> VenueDriver:
    return open_venue((replace(SHARED, matching=rules),))


@dataclass(frozen=True)
class Resting:
    account_id: int
    lots: int
    price_ticks: int
    special: SpecialTerms | None


resting = st.builds(
    Resting,
    st.sampled_from([ALICE, BOB, CAROL]),
    st.integers(1, 30),
    st.sampled_from([100, 100, 100, 101, 99]),
    st.sampled_from([None, None, None, SpecialTerms(display_lots=1), SpecialTerms(hidden=True)]),
)
terms = st.sampled_from([TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK])


@settings(max_examples=250, derandomize=True)
@given(
    rules=st.tuples(rules, st.booleans(), st.integers(1, 9), st.integers(0, 9)),
    queue=st.lists(resting, min_size=1, max_size=9),
    incoming=st.lists(
        st.tuples(
            st.integers(1, 60), st.integers(99, 101), terms, st.sampled_from(SelfTradePrevention), st.integers(0, 20)
        ),
        min_size=1,
        max_size=4,
    ),
    side=st.sampled_from(Side),
)
def test_market_that_shares_does_what_the_naive_market_does(
    rules: tuple[MatchingRules, bool, int, int],
    queue: list[Resting],
    incoming: list[tuple[int, int, TimeInForce, SelfTradePrevention, int]],
    side: Side,
) -> None:
    """The auditor compares each trade. An iceberg displays a third; orders that enter one by one take from both sides."""
    of, top, lots_min, lots_max = rules
    driver = market(replace(of, top=top, top_lots_min=lots_min, top_lots_max=lots_max))
    for order in queue:
        special = order.special
        if special is not None and special.display_lots:
            special = SpecialTerms(display_lots=-(-order.lots // 3))
        place(driver, order.account_id, side, order.lots, order.price_ticks, special=special)
    for quantity, price, time_in_force, prevention, minimum in incoming:
        special = SpecialTerms(minimum_lots=minimum) if 0 < minimum <= quantity else None
        special = None if time_in_force is TimeInForce.FOK else special
        place(
            driver, CAROL, side.opposite, quantity, price, special=special, time_in_force=time_in_force, mode=prevention
        )


def place(
    driver: VenueDriver,
    account_id: int,
    side: Side,
    quantity_lots: int,
    price_ticks: int,
    *,
    special: SpecialTerms | None = None,
    time_in_force: TimeInForce = GTC,
    mode: SelfTradePrevention = SelfTradePrevention.NONE,
) -> Sequence[e.AnyEvent]:
    order = c.PlaceOrder(
        account_id, "", 1, side, LIMIT, time_in_force, quantity_lots, price_ticks, False, mode, special
    )
    events = driver.do(order)
    assert isinstance(events[0], e.OrderAccepted), events
    return events


@pytest.mark.parametrize("seed", range(1, 6))
def test_price_time_by_name_is_what_an_instrument_without_rules_has(seed: int) -> None:
    driver = simulate(seed, commands_count=400)
    by_name = Venue(STRATEGIES)
    for sequenced, batch in zip(driver.commands, batches_by_command(driver), strict=True):
        named = by_name.apply(replace(sequenced, command=named_price_time(sequenced.command)))
        assert named == batch or is_listing(sequenced.command)


def batches_by_command(driver: VenueDriver) -> list[e.EventBatch | None]:
    """What a venue whose instruments all have no rules makes of a run."""
    built_in = Venue(STRATEGIES)
    return [built_in.apply(replace(of, command=without_rules(of.command))) for of in driver.commands]


def is_listing(command: c.AnyCommand) -> bool:
    """Whether the command's events have the instrument, and with it the rules in which the two differ."""
    return isinstance(command, c.ListInstrument | c.ChangeInstrument)


def without_rules(command: c.AnyCommand) -> c.AnyCommand:
    return with_rules(command, None)


def named_price_time(command: c.AnyCommand) -> c.AnyCommand:
    return with_rules(command, MatchingRules("price-time"))


def with_rules(command: c.AnyCommand, rules: MatchingRules | None) -> c.AnyCommand:
    if isinstance(command, c.ListInstrument | c.ChangeInstrument):
        return replace(command, instrument=replace(command.instrument, matching=rules))
    return command


# What the venue makes of an instrument's rules


@pytest.mark.parametrize(
    "matching",
    [
        MatchingRules("pro-rata", top_lots_min=0),
        MatchingRules("pro-rata", top_lots_min=QUANTITY_LOTS_MAX + 1),
        MatchingRules("pro-rata", top_lots_max=-1),
        MatchingRules("pro-rata", top_lots_max=QUANTITY_LOTS_MAX + 1),
        MatchingRules("pro-rata", pro_rata_lots_min=0),
        MatchingRules("pro-rata", pro_rata_lots_min=QUANTITY_LOTS_MAX + 1),
        MatchingRules("split", fifo_percent=-1),
        MatchingRules("split", fifo_percent=101),
        MatchingRules("split", lead_market_makers=((0, 5),)),
        MatchingRules("split", lead_market_makers=((2**63, 5),)),
        MatchingRules("split", lead_market_makers=((1, 0),)),
        MatchingRules("split", lead_market_makers=((1, 5), (1, 5))),
        MatchingRules("split", lead_market_makers=((1, 51), (2, 50))),
        MatchingRules("split", lead_market_makers=tuple((i + 1, 1) for i in range(LEAD_MARKET_MAKERS_MAX + 1))),
        MatchingRules("unknown", fifo_percent=101),
    ],
)
def test_rules_out_of_bounds_are_refused(matching: MatchingRules) -> None:
    assert listing_refusal(VenueDriver(), matching) is Reason.INVALID_INSTRUMENT


@pytest.mark.parametrize("name", ["", "unknown", "Pro-rata", "price-time "])
def test_algorithm_that_the_venue_does_not_have_is_refused(name: str) -> None:
    assert listing_refusal(VenueDriver(), MatchingRules(name)) is Reason.UNKNOWN_MATCHING_ALGORITHM


def test_venue_without_strategies_has_price_time_only() -> None:
    driver = VenueDriver(Venue())
    assert listing_refusal(driver, MatchingRules("price-time")) is Reason.UNKNOWN_MATCHING_ALGORITHM
    assert driver.do(c.ListInstrument(PLAIN)) == (e.InstrumentListed(PLAIN),)


def listing_refusal(driver: VenueDriver, matching: MatchingRules) -> Reason:
    instrument: Instrument = replace(PLAIN, matching=matching)
    (refused,) = driver.do(c.ListInstrument(instrument))
    assert isinstance(refused, e.CommandRefused), refused
    return refused.reason


def test_market_with_rules_is_not_plain() -> None:
    assert market(None).venue._markets[1].is_plain
    assert not market(MatchingRules("price-time")).venue._markets[1].is_plain


def test_top_order_and_its_algorithm_survive_a_restart() -> None:
    driver = market(MatchingRules("pro-rata", top=True, top_lots_max=6))
    first = driver.rest(ALICE, SELL, 10, 100)
    driver.rest(BOB, SELL, 30, 100)
    driver.place(CAROL, BUY, 2, 100)
    assert driver.venue.top_order(1, SELL) == TopOrder(first, 4)
    twin = Venue.restore(driver.venue.snapshot(), STRATEGIES)
    assert twin.top_order(1, SELL) == TopOrder(first, 4)
    driver.place(CAROL, BUY, 8, 100)
    assert twin.apply(driver.commands[-1]) == driver.batches[-1]
    assert twin.state_hash() == driver.venue.state_hash()


def test_state_that_needs_an_algorithm_is_not_restored_without_it() -> None:
    data = market(MatchingRules("split")).venue.snapshot()
    with pytest.raises(UnknownStrategy, match="XYZ needs the matching algorithm split"):
        Venue.restore(data, {name: strategy for name, strategy in STRATEGIES.items() if name != "split"})


@pytest.mark.parametrize(
    "shares",
    [[], [(0, 9)], [(0, 6), (1, 5)], [(0, 0), (1, 10)], [(0, 11), (1, -1)], [(0, 4), (0, 6)], [(0, 4), (1, 6)]],
    ids=["nothing", "too little", "too much", "none", "negative", "twice", "more than displayed"],
)
def test_strategy_that_shares_wrongly_stops_the_venue(shares: list[tuple[int, int]]) -> None:
    driver = VenueDriver(Venue({"wrong": Strategy("wrong", lambda *_: shares)}))
    driver.do(c.ListInstrument(replace(PLAIN, matching=MatchingRules("wrong"))))
    driver.do(c.SetTradingPhase(0, TradingPhase.CONTINUOUS))
    for account_id in (ALICE, BOB):
        driver.do(c.OpenAccount(account_id, (("USD", 10_000),), ((1, 100),)))
    driver.rest(ALICE, SELL, 10, 100)
    driver.rest(ALICE, SELL, 5, 100)
    with pytest.raises(AssertionError):
        driver.place(BOB, BUY, 10, 100)
