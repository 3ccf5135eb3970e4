"""The auditor finds what it is there to find: each row plants one of the faults that matching engines are known for."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from support.simulation import simulate
from support.workload import NO_EMPHASIS, TRANSFERS
from trading_engine.venue import (
    accounts,
    auction,
    banding,
    checks,
    halts,
    market,
    matching,
    order_book,
    pegs,
    sessions,
    snapshot,
    stops,
    terms,
    transfers,
)
from trading_engine.venue import venue as venue_module
from trading_engine.venue.accounts import Account, Holding, round_up
from trading_engine.venue.circuit_breakers import Breakers
from trading_engine.venue.limit_bands import LimitBands
from trading_engine.venue.market import Market
from trading_engine.venue.matching import Strategy
from trading_engine.venue.order_book import BookSide, OrderBook, PriceLevel, RestingOrder
from trading_engine.venue.risk import RiskControls
from trading_engine.venue.terms import Side
from trading_engine.venue.venue import Venue


def nothing(*_: object) -> None:
    """A check that checks nothing, a step that is left out."""


def yes(*_: object) -> bool:
    return True


def newest_first(book: OrderBook, incoming: RestingOrder) -> RestingOrder | None:
    opposite = book.side(incoming.side.opposite)
    if opposite.best is None or not book.crosses(incoming.side, incoming.price_ticks):
        return None
    return list(opposite.levels[opposite.best])[-1]


def one_tick_too_far(side: Side, limit_ticks: int, price_ticks: int) -> bool:
    return price_ticks <= limit_ticks + 1 if side is Side.BUY else price_ticks >= limit_ticks - 1


def fee_rounded_at_each_fill(_: RestingOrder, value: int, fee_ppm: int, __: int = 0) -> int:
    return round_up(value * fee_ppm)


def rebate_from_nothing(order: RestingOrder, value: int, fee_ppm: int, _: int = 0) -> int:
    return accounts.charge_fee(order, value, fee_ppm, -value)


def hold_without_fee(instrument: Any, side: Side, price_ticks: int, leaves_lots: int, _: int = 0) -> int:
    return leaves_lots if side is Side.SELL else accounts.notional(instrument, price_ticks, leaves_lots)


def order_ends_without_release(account: Account, order: RestingOrder) -> None:
    account.open_orders.pop(order.order_id, None)


def level_forgets_its_sum(_: BookSide, order: RestingOrder, lots: int) -> None:
    order.leaves_lots -= lots


def book_with_queues_reversed(orders: Iterable[RestingOrder]) -> Any:
    newest_first = reversed(list(orders))
    return book_of(sorted(newest_first, key=lambda order: (order.side, order.price_ticks * (2 * order.side - 3))))


def one_tick_late(side: Side, stop_price_ticks: int, last_price_ticks: int) -> bool:
    return last_price_ticks > stop_price_ticks if side is Side.BUY else last_price_ticks < stop_price_ticks


def fill_that_keeps_the_place(level: PriceLevel, order: RestingOrder, lots: int) -> None:
    before = list(level.orders)
    fill_special(level, order, lots)
    level.orders = {order_id: level.orders[order_id] for order_id in before}


def expiry_a_moment_early(order: RestingOrder, special: terms.SpecialTerms) -> tuple[int, int, int]:
    return special.expire_time_ns - 20_000, order.order_id, order.account_id


def first_all_or_none(orders: list[RestingOrder], incoming: RestingOrder) -> RestingOrder | None:
    crossing = incoming.side is Side.BUY
    for order in orders:
        if (order.price_ticks <= incoming.price_ticks) == crossing:
            return order
    return None


def first_price(
    buys: Mapping[int, int], sells: Mapping[int, int], candidates: Iterable[int], _: int
) -> auction.AuctionPrice:
    outcomes = auction.outcomes_at(buys, sells, sorted(candidates))
    return next((outcome for outcome in outcomes if outcome.matched_lots), auction.NO_PRICE)


ranked = sessions.ranked


def trigger_by_any_fill(*orders: RestingOrder) -> None:
    for order in orders:
        if order.group is not None and order is order.group.primary:
            order.group.is_triggered = True


fill_special = PriceLevel.fill_special
trigger = Venue._trigger


def trigger_and_forget_what_it_elects(of: Venue, order: RestingOrder) -> None:
    waiting = len(of._elected)
    trigger(of, order)
    while len(of._elected) > waiting:
        of._elected.pop()


bind = RiskControls.bind


def bind_to_own_limits_only(of: RiskControls, account: Account) -> None:
    firm_id, account.firm_id = account.firm_id, 0
    bind(of, account)
    account.firm_id = firm_id


def one_after_the_other(_strategy: Any, _rules: Any, displayed: Any, hidden: Any, left_lots: int, _: Any) -> Any:
    waiting = [*displayed, *hidden][0]
    return [(waiting, min(waiting.displayed_lots, left_lots))]


def newest_first_of_all(_rules: Any, incoming_lots: int, offers: Any) -> Any:
    return list(reversed(take_in_time_order(_rules, incoming_lots, offers)))


def pro_rata_rounded_up(of: matching.Allocation, lots: int, _lots_min: int) -> list[int]:
    room = [of.open_lots(position) for position in range(len(of.offers))]
    for position, own in enumerate(room):
        of.give(position, -(-lots * own // max(1, sum(room))))
    return []


take_in_time_order = matching.in_time_order
book_of = snapshot.book_of

FAULTS = {
    "newest first in the queue": (OrderBook, "next_match", newest_first),
    "limit exceeded by one tick": (order_book, "within_limit", one_tick_too_far),
    "fee rounded at each fill": (venue_module, "charge_fee", fee_rounded_at_each_fill),
    "rebates are paid from nothing": (venue_module, "charge_fee", rebate_from_nothing),
    "no hold for the fee": (venue_module, "hold_needed", hold_without_fee),
    "fill-or-kill fills in part": (venue_module, "is_fillable", yes),
    "size up keeps its place": (venue_module, "keeps_priority", lambda o, _, price: price == o.price_ticks),
    "size down loses its place": (venue_module, "keeps_priority", lambda *_: False),
    "funds are not checked": (venue_module, "check_cover", nothing),
    "quantity is not checked": (venue_module, "check_quantity", nothing),
    "band is not checked": (venue_module, "check_band", nothing),
    "post-only is not checked": (venue_module, "check_post_only", nothing),
    "open orders are not counted": (venue_module, "check_open_orders", nothing),
    "client order ids are forgotten": (Account, "order_ends", order_ends_without_release),
    "level forgets its sum": (BookSide, "reduce", level_forgets_its_sum),
    "level is not reported": (Venue, "_touch_level", nothing),
    "numbers of producers are not remembered": (Venue, "_is_new", yes),
    "day orders do not expire": (Venue, "_expire_day_orders", nothing),
    "queues turned round by a restart": (snapshot, "book_of", book_with_queues_reversed),
    "money appears": (Holding, "available", property(lambda holding: holding.quantity)),
    "owners trade with themselves": (Venue, "_have_one_owner", lambda *_: False),
    "trade groups are not known": (Account, "has_owner_of", lambda account, other: account is other),
    "stops wait for one tick more": (stops, "is_reached", one_tick_late),
    "stops are triggered in a single pass": (Venue, "_trigger", trigger_and_forget_what_it_elects),
    "icebergs keep their place": (PriceLevel, "fill_special", fill_that_keeps_the_place),
    "hidden orders are seen": (RestingOrder, "is_hidden", False),
    "orders expire too early": (venue_module, "expiry_of", expiry_a_moment_early),
    "minimum quantities are forgotten": (venue_module, "needed_at_once", lambda _: 0),
    "repriced orders go one tick too far": (
        venue_module,
        "repriced",
        lambda of, side, price: checks.repriced(of, side, price) - (1 if side is Side.BUY else -1),
    ),
    "orders of one price do not share": (matching, "_round", one_after_the_other),
    "everything at a price is shared as well": (matching, "in_time_order", newest_first_of_all),
    "own orders share before they are prevented": (Strategy, "in_time_order", True),
    "nobody is on top": (Market, "order_rests", nothing),
    "the top is never lost": (Market, "order_leaves", nothing),
    "the top is filled first for ever": (Market, "order_taken", nothing),
    "shares are rounded up": (matching.Allocation, "pro_rata", pro_rata_rounded_up),
    "trailing stops stay": (stops, "trailed_stop", lambda order, _: order.stop_price_ticks),
    "pegged orders stay where they are": (Venue, "_reprice_pegs", lambda *_: False),
    "pegged orders follow each other": (BookSide, "best_to_follow", BookSide.best),
    "pegged orders go beyond their limit": (
        venue_module,
        "pegged_price",
        lambda of, order: pegs.followed_price(of.book, order.side, order.special.peg) or 0,
    ),
    "all-or-none orders are filled in part": (order_book, "next_all_or_none", first_all_or_none),
    "all-or-none orders wait for ever": (Venue, "_fill_all_or_none", lambda *_: False),
    "all-or-none orders are passed over": (order_book, "next_all_or_none", lambda *_: None),
    "risk limits are not checked": (venue_module, "check_controls", nothing),
    "the kill switch bars nobody": (Account, "barred_by", None),
    "what works is not counted": (venue_module, "count_leaves", nothing),
    "messages are not counted": (venue_module, "count_message", nothing),
    "the day never begins": (RiskControls, "begin_day", nothing),
    "firms have no limits": (RiskControls, "bind", bind_to_own_limits_only),
    "auctions take the first price": (sessions, "find_price", first_price),
    "auctions serve the last first": (sessions, "ranked", lambda *of: ranked(*of)[::-1]),
    "auctions overlook stops": (sessions, "may_join", lambda _: False),
    "auctions leave remainders": (sessions, "cancel_remainders", nothing),
    "calls are not extended": (sessions, "extend", lambda *_: False),
    "orders at the close stay outside": (sessions, "admit", nothing),
    "indications are kept back": (sessions, "indicate", lambda venue: venue._auctions_touched.clear()),
    "bands are not known": (venue_module, "bounds_of", lambda _: None),
    "limit bands let everything in": (banding, "price_incoming", nothing),
    "limit bands leave orders beyond them": (banding, "beyond", lambda *_: []),
    "limit bands stay": (banding, "update", lambda *of: of[2].begin_anew()),
    "limit states are overlooked": (LimitBands, "watch", nothing),
    "circuit breakers never trip": (Breakers, "next_level", lambda *_: 0),
    "circuit breakers halt nobody": (halts, "check_phase", nothing),
    "margin is not checked": (venue_module, "check_margin", nothing),
    "nobody is called": (Venue, "_call_margins", nothing),
    "both exits trade": (Venue, "_cancel_other_exits", nothing),
    "exits wait for ever": (Venue, "_activate_leg", lambda *_: False),
    "exits begin with the first fill": (venue_module, "trigger_exits", trigger_by_any_fill),
    "exits outlive their entry": (Venue, "_cancel_exits", nothing),
    "exits hold for both": (venue_module, "needed_by_other", lambda *_: 0),
    "exits need no cover": (Venue, "_check_activation", nothing),
    "transfers are received twice": (venue_module, "check_receive", nothing),
    "transfers take what is not free": (Venue, "_check_free_cash", nothing),
    "transfers stay in transit": (transfers.Transfers, "end", lambda *_, **__: None),
    "a halt stops nothing": (
        market,
        "PHASE_RULES",
        dict.fromkeys(terms.TradingPhase, terms.PHASE_RULES[terms.TradingPhase.CONTINUOUS]),
    ),
    "protection of market orders is too wide": (
        venue_module,
        "protected_price",
        lambda *of: checks.protected_price(*of) + (1 if of[1] is Side.BUY else -1),
    ),
}


BUSY_BREAKERS = {"set_circuit_breakers": 20.0, "set_phase": 3.0}
RARE: dict[str, Mapping[str, float]] = {
    "all-or-none orders are passed over": {"place_all_or_none": 10},
    "calls are not extended": {"set_phase": 3, "advance_clock": 3, "instrument 2": 8},
    "messages are not counted": {"set_risk_limits": 10},
    "stops are triggered in a single pass": {"place_stop": 8},
    "nobody is called": {"set_margin": 6, "instrument 1": 20},
    "limit bands stay": {"instrument 16": 20},
    "circuit breakers never trip": BUSY_BREAKERS,
    "circuit breakers halt nobody": {"set_circuit_breakers": 40, "set_phase": 6, "place": 3, "advance_clock": 4},
    "exits hold for both": {"place_group": 12},
    "exits need no cover": {"place_group": 12, "adjust_cash": 20},
    "rebates are paid from nothing": {"place": 10, "instrument 5": 100},
    "fill-or-kill fills in part": {"place": 10},
    "transfers are received twice": TRANSFERS,
    "transfers take what is not free": TRANSFERS,
    "transfers stay in transit": TRANSFERS,
}
"""What shows a fault so seldom that more of it has to be tried, or before the fault keeps the venue busy for ever."""


def simulate_seeds(count: int, emphasis: Mapping[str, float]) -> None:
    for seed in range(1, count + 1):
        simulate(seed, commands_count=600, compared=False, emphasis=emphasis)


@pytest.mark.spread
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", FAULTS)
def test_auditor_finds_planted_fault(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "CLIENT_ORDER_IDS_REMEMBERED", 40)
    target, name, replacement = FAULTS[fault]
    monkeypatch.setattr(target, name, replacement)
    with pytest.raises((AssertionError, KeyError)) as caught:
        simulate_seeds(40, RARE.get(fault, NO_EMPHASIS))
    assert "SIM_SEED=" in "".join(caught.value.__notes__)
