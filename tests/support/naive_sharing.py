"""How orders of one price share a quantity, worked out a second time, from the rule book and not from the venue's code.

Each algorithm is one function from the quantity and the orders to lots, with exact fractions and plain lists; what it hands out comes
in rows (order, lots), one per step and order, and is added up at the end.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import floor

from trading_engine.venue.instrument import MatchingRules

Row = tuple[int, int]
"""(which order, lots)."""


@dataclass
class NaiveOffer:
    account_id: int
    displayed: int
    first: int = 0
    """How much is filled first."""


def shares(rules: MatchingRules, quantity: int, offers: list[NaiveOffer]) -> list[Row]:
    """Lots by order, in order of report."""
    displayed = [offer.displayed for offer in offers]
    rows = ALGORITHMS[rules.algorithm](rules, min(quantity, sum(displayed)), offers)
    seen = dict.fromkeys(which for which, lots in rows if lots)
    return [(which, sum(lots for of, lots in rows if of == which)) for which in seen]


def after(offers: list[NaiveOffer], rows: list[Row]) -> list[int]:
    """What each order still displays after these rows."""
    return [offer.displayed - sum(lots for of, lots in rows if of == which) for which, offer in enumerate(offers)]


def left(quantity: int, rows: list[Row]) -> int:
    return quantity - sum(lots for _, lots in rows)


def oldest_first(quantity: int, room: list[int]) -> list[Row]:
    before = [sum(room[:which]) for which in range(len(room))]
    return [(which, max(0, min(room[which], quantity - before[which]))) for which in range(len(room))]


def price_time(_rules: MatchingRules, quantity: int, offers: list[NaiveOffer]) -> list[Row]:
    return oldest_first(quantity, after(offers, []))


def largest_first(_rules: MatchingRules, quantity: int, offers: list[NaiveOffer]) -> list[Row]:
    ranks = sorted((-offer.displayed, which) for which, offer in enumerate(offers))
    rows = oldest_first(quantity, [-size for size, _ in ranks])
    return [(ranks[rank][1], lots) for rank, lots in rows]


def preferred(rules: MatchingRules, quantity: int, offers: list[NaiveOffer]) -> list[Row]:
    """The top order, then the lead market makers."""
    rows = [(which, min(quantity, offer.first)) for which, offer in enumerate(offers) if offer.first]
    rest = left(quantity, rows)
    for account_id, percent in rules.lead_market_makers:
        own = [which for which, offer in enumerate(offers) if offer.account_id == account_id and not offer.first]
        due = min(floor(Fraction(rest * percent, 100)), left(quantity, rows))
        given = oldest_first(due, [offers[which].displayed for which in own])
        rows += [(own[rank], lots) for rank, lots in given]
    return rows


def lead_market_maker(rules: MatchingRules, quantity: int, offers: list[NaiveOffer]) -> list[Row]:
    rows = preferred(rules, quantity, offers)
    return rows + oldest_first(left(quantity, rows), after(offers, rows))


def proportional(rules: MatchingRules, quantity: int, room: list[int]) -> list[Row]:
    whole = [floor(Fraction(quantity * lots, sum(room))) if any(room) else 0 for lots in room]
    return [(which, lots if lots >= rules.pro_rata_lots_min else 0) for which, lots in enumerate(whole)]


def pro_rata(rules: MatchingRules, quantity: int, offers: list[NaiveOffer]) -> list[Row]:
    rows = preferred(rules, quantity, offers)
    rows += proportional(rules, left(quantity, rows), after(offers, rows))
    return rows + oldest_first(left(quantity, rows), after(offers, rows))


def split(rules: MatchingRules, quantity: int, offers: list[NaiveOffer]) -> list[Row]:
    rows = preferred(rules, quantity, offers)
    by_time = floor(Fraction(left(quantity, rows) * rules.fifo_percent, 100))
    rows += oldest_first(by_time, after(offers, rows))
    room = after(offers, rows)
    by_size = proportional(rules, left(quantity, rows), room)
    rows += by_size
    if rules.leveling:
        empty = [which for which, lots in by_size if not lots and room[which]]
        empty.sort(key=lambda which: (-offers[which].displayed, which))
        rows += [(which, 1) for which in empty[: left(quantity, rows)]]
    return rows + oldest_first(left(quantity, rows), after(offers, rows))


ALGORITHMS: dict[str, Callable[[MatchingRules, int, list[NaiveOffer]], list[Row]]] = {
    "price-time": price_time,
    "size-time": largest_first,
    "lead-market-maker": lead_market_maker,
    "pro-rata": pro_rata,
    "split": split,
}
