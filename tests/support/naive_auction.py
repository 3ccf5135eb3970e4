"""What an auction has to come to, by trying every price: so plain that one can see that it is right."""

from typing import NamedTuple

from trading_engine.venue.terms import Side

Outcome = tuple[int, int, int]
"""Price, lots that trade, lots that buyers want beyond what sellers give."""
NOTHING: Outcome = (0, 0, 0)


class Interest(NamedTuple):
    side: Side
    limit: int
    lots: int
    is_market: bool = False


def naive_price(interests: list[Interest], reference: int) -> Outcome:
    """The four steps, one after the other, over all prices that somebody named and the reference."""
    prices = {interest.limit for interest in interests if not interest.is_market} | (
        {reference} if reference else set()
    )
    outcomes = [outcome_at(interests, price) for price in prices]
    most = max((lots for _, lots, _ in outcomes), default=0)
    if most == 0:
        return NOTHING
    outcomes = [outcome for outcome in outcomes if outcome[1] == most]
    smallest = min(abs(surplus) for _, _, surplus in outcomes)
    outcomes = [outcome for outcome in outcomes if abs(outcome[2]) == smallest]
    signs = {(surplus > 0) - (surplus < 0) for _, _, surplus in outcomes}
    if signs == {1}:
        return max(outcomes)
    if signs == {-1}:
        return min(outcomes)
    near = reference or (max(outcomes)[0] + min(outcomes)[0]) // 2
    distance = min(abs(price - near) for price, _, _ in outcomes)
    return max(outcome for outcome in outcomes if abs(outcome[0] - near) == distance)


def outcome_at(interests: list[Interest], price: int) -> Outcome:
    wanted = sum(lots for side, limit, lots, _ in interests if side is Side.BUY and limit >= price)
    given = sum(lots for side, limit, lots, _ in interests if side is Side.SELL and limit <= price)
    return price, min(wanted, given), wanted - given
