"""The price of a call auction: the tables of the CME, the cases of each step, and every small book against trying all prices."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.naive_auction import Interest, naive_price, outcome_at
from trading_engine.venue.auction import NO_PRICE, AuctionPrice, find_price, pairs
from trading_engine.venue.terms import Side

PRICES = range(51, 42, -1)


def found(buys: dict[int, int], sells: dict[int, int], reference: int = 0) -> AuctionPrice:
    return find_price(buys, sells, {*buys, *sells, *([reference] if reference else [])}, reference)


def column(text: str) -> dict[int, int]:
    """Lots at the prices 51 down to 43."""
    return {price: int(lots) for price, lots in zip(PRICES, text.split(), strict=True) if int(lots)}


@pytest.mark.parametrize(
    ("bids", "offers", "price", "matched", "surplus"),
    [
        ("10 20 30 40 50 70 100 1 30", "30 100 1 25 1 100 90 4 6", 46, 200, 20),
        ("10 20 30 40 50 30 100 1 30", "30 100 1 25 0 50 90 4 6", 47, 150, 0),
        ("10 20 30 40 80 0 20 30 30", "30 100 1 25 0 50 90 4 6", 47, 150, 30),
    ],
    ids=["V1 most volume", "V2 least surplus", "V3 pressure of buyers"],
)
def test_price_is_that_of_the_cme_tables(bids: str, offers: str, price: int, matched: int, surplus: int) -> None:
    assert found(column(bids), column(offers)) == (price, matched, surplus)


@pytest.mark.parametrize(
    ("buys", "sells", "reference", "expected"),
    [
        ({99: 5}, {100: 5}, 100, NO_PRICE),
        ({}, {}, 100, NO_PRICE),
        ({100: 5}, {100: 5}, 0, (100, 5, 0)),
        ({105: 5}, {100: 9}, 0, (100, 5, -4)),
        ({105: 9}, {100: 5}, 0, (105, 5, 4)),
        ({105: 5}, {100: 5}, 103, (103, 5, 0)),
        ({105: 5}, {100: 5}, 90, (100, 5, 0)),
        ({105: 5}, {100: 5}, 200, (105, 5, 0)),
        ({105: 5, 104: 0}, {100: 5, 101: 0}, 0, (101, 5, 0)),
        ({102: 5, 98: 5}, {98: 5, 102: 5}, 100, (100, 5, 0)),
        ({102: 5}, {98: 5}, 0, (102, 5, 0)),
    ],
    ids=[
        "nothing crosses",
        "nothing is there",
        "one price",
        "pressure of sellers takes the lowest",
        "pressure of buyers takes the highest",
        "reference within",
        "reference below",
        "reference above",
        "no reference: closest to the middle",
        "reference is a candidate",
        "of two equally close the higher",
    ],
)
def test_price_follows_the_steps(
    buys: dict[int, int], sells: dict[int, int], reference: int, expected: AuctionPrice
) -> None:
    assert found(buys, sells, reference) == expected


def test_price_of_market_orders_alone_is_the_reference() -> None:
    """Their limits, which protection gave them, are no candidates."""
    assert find_price({110: 20}, {90: 15}, [100], 100) == (100, 15, 5)


quantities = st.dictionaries(st.integers(1, 12), st.integers(1, 9), max_size=6)


@given(buys=quantities, sells=quantities, market_buys=quantities, market_sells=quantities, reference=st.integers(0, 14))
@settings(max_examples=400, derandomize=True)
def test_price_is_what_trying_every_price_finds(
    buys: dict[int, int],
    sells: dict[int, int],
    market_buys: dict[int, int],
    market_sells: dict[int, int],
    reference: int,
) -> None:
    interests = [
        Interest(side, limit, lots, is_market)
        for side, is_market, lots_by_limit in (
            (Side.BUY, False, buys),
            (Side.BUY, True, market_buys),
            (Side.SELL, False, sells),
            (Side.SELL, True, market_sells),
        )
        for limit, lots in lots_by_limit.items()
    ]
    price = find_price(
        together(buys, market_buys),
        together(sells, market_sells),
        {*buys, *sells, *([reference] if reference else [])},
        reference,
    )
    assert price == naive_price(interests, reference)
    if not (market_buys or market_sells):
        assert price.matched_lots == max((outcome_at(interests, at)[1] for at in range(1, 15)), default=0)


def together(lots: dict[int, int], more: dict[int, int]) -> dict[int, int]:
    return {limit: lots.get(limit, 0) + more.get(limit, 0) for limit in {*lots, *more}}


def test_pairs_give_one_side_all_it_wants() -> None:
    buys, sells = [("a", 5), ("b", 4)], [("x", 2), ("y", 6), ("z", 9)]
    assert list(pairs(buys, sells, 9)) == [("a", "x", 2), ("a", "y", 3), ("b", "y", 3), ("b", "z", 1)]
    assert list(pairs(buys, sells, 0)) == []
