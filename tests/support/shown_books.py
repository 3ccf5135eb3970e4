"""The books as clients see them, beside those of a venue."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import groupby

from support.market_watch import displayed_orders
from trading_engine.clients import AsyncClient
from trading_engine.venue.conversion import lots_to_quantity, ticks_to_price
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.terms import Side
from trading_engine.venue.venue import Venue

DEPTH = 500

Offer = tuple[Decimal, Decimal]
"""Price and quantity."""
ShownBook = tuple[list[Offer], list[Offer], list[Offer], list[Offer]]
"""Levels of bids and asks, then the orders of bids and asks."""


async def shown_book(client: AsyncClient, symbol: str) -> ShownBook:
    levels, orders = await client.book(symbol, depth=DEPTH), await client.book_orders(symbol, depth=DEPTH)
    return (
        [(level.price, level.quantity) for level in levels.bids],
        [(level.price, level.quantity) for level in levels.asks],
        [(order.price, order.quantity) for order in orders.bids],
        [(order.price, order.quantity) for order in orders.asks],
    )


def venues_books(venues: Sequence[Venue]) -> dict[str, ShownBook]:
    return {
        instrument.symbol: venues_book(venue, instrument)
        for venue in venues
        for instrument in venue.instruments.values()
    }


def venues_book(venue: Venue, instrument: Instrument) -> ShownBook:
    bids, asks = (offers(venue, instrument, side) for side in Side)
    return added_up(bids), added_up(asks), bids, asks


def offers(venue: Venue, instrument: Instrument, side: Side) -> list[Offer]:
    """What each order displays, best price first, at one price first in the queue first."""
    return [
        (
            Decimal(ticks_to_price(order.price_ticks, instrument)),
            Decimal(lots_to_quantity(order.leaves_lots - order.hidden_lots, instrument)),
        )
        for order in displayed_orders(venue, instrument.instrument_id, side)
    ]


def added_up(offers: Sequence[Offer]) -> list[Offer]:
    by_price = groupby(offers, key=lambda offer: offer[0])
    return [(price, sum((quantity for _, quantity in some), Decimal(0))) for price, some in by_price]
