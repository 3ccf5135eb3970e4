"""Drives a venue in tests: numbers and stamps commands, has every outcome audited, and keeps what came out."""

from collections.abc import Sequence

from support.auditor import Auditor
from trading_engine.servers.obs.strategy import strategies
from trading_engine.venue import Venue
from trading_engine.venue import commands as c
from trading_engine.venue import events as e
from trading_engine.venue.fast.venue import FastVenue
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.terms import OrderType, Side, TimeInForce, TradingPhase

AAPL = Instrument(1, "AAPL", "Apple Inc", "USD", "0.01", "1", 1, price_ticks_max=1_000_000, notional_max=10**12)
MSFT = Instrument(2, "MSFT", "Microsoft Corp", "USD", "0.01", "1", 1, maker_fee_ppm=100, taker_fee_ppm=300)

STRATEGIES = strategies()

ALICE, BOB, CAROL = 1, 2, 3
STARTING_CASH = 10_000_000_00
STARTING_LOTS = 1_000_000

BUY, SELL = Side.BUY, Side.SELL
LIMIT, MARKET = OrderType.LIMIT, OrderType.MARKET
DAY, GTC, IOC, FOK = TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK


EAGER = 1 << 40
"""Markets of the fast venue become compiled as soon as they are plain."""


class VenueDriver:
    """A venue with a clock that ticks once per command. A venue that comes with a past is not audited.

    The fast venue goes along, with a past of its own, and has to bring about the same events.
    """

    def __init__(self, venue: Venue | None = None, *, audited: bool = True) -> None:
        self.auditor = Auditor() if audited and venue is None else None
        self.fast = FastVenue(STRATEGIES, compile_eagerness=EAGER) if audited and venue is None else None
        self.venue = venue or Venue(STRATEGIES)
        self.commands: list[c.SequencedCommand] = []
        self.batches: list[e.EventBatch] = []

    def do(
        self, command: c.AnyCommand, producer: str = "test", producer_sequence: int | None = None
    ) -> tuple[e.AnyEvent, ...]:
        """Apply a command; returns its events."""
        sequence = self.venue.command_sequence + 1
        sequenced = c.SequencedCommand(
            sequence, 1_000 * sequence, producer, sequence if producer_sequence is None else producer_sequence, command
        )
        self.commands.append(sequenced)
        batch = self.auditor.apply(self.venue, sequenced) if self.auditor else self.venue.apply(sequenced)
        if self.fast:
            assert self.fast.apply(sequenced) == batch, sequenced
        if batch is None:
            return ()
        self.batches.append(batch)
        return batch.events

    def place(
        self,
        account_id: int,
        side: Side,
        quantity_lots: int,
        price_ticks: int = 0,
        *,
        time_in_force: TimeInForce = GTC,
        order_type: OrderType | None = None,
        client_order_id: str = "",
        post_only: bool = False,
        instrument_id: int = 1,
    ) -> tuple[e.AnyEvent, ...]:
        """Place a limit order, or without a price a market order."""
        if order_type is None:
            order_type = LIMIT if price_ticks else MARKET
        return self.do(
            c.PlaceOrder(
                account_id,
                client_order_id,
                instrument_id,
                side,
                order_type,
                time_in_force,
                quantity_lots,
                price_ticks,
                post_only,
            )
        )

    def rest(self, account_id: int, side: Side, quantity_lots: int, price_ticks: int, **options: object) -> int:
        """Place a limit order that is accepted; returns its order id."""
        accepted = self.place(account_id, side, quantity_lots, price_ticks, **options)[0]  # type: ignore[arg-type]
        assert isinstance(accepted, e.OrderAccepted), accepted
        return accepted.order_id

    def levels(self, side: Side, instrument_id: int = 1) -> list[tuple[int, int]]:
        """(price, quantity) of one side, best first."""
        book_side = self.venue.book(instrument_id).side(side)
        return [(price, book_side.levels[price].quantity_lots) for price in book_side.prices_best_first()]

    def queue(self, side: Side, price_ticks: int, instrument_id: int = 1) -> list[tuple[int, int]]:
        """(order id, leaves) at one price, first in the queue first."""
        level = self.venue.book(instrument_id).side(side).levels.get(price_ticks)
        return [(order.order_id, order.leaves_lots) for order in level.orders.values()] if level else []

    def cash(self, account_id: int) -> tuple[int, int]:
        """(balance, held) in minor units of USD."""
        cash = self.venue.account(account_id).cash["USD"]
        return cash.quantity, cash.held

    def lots(self, account_id: int, instrument_id: int = 1) -> tuple[int, int]:
        """(quantity, held)."""
        position = self.venue.account(account_id).position_in(instrument_id)
        return position.quantity, position.held


def open_venue(
    instruments: Sequence[Instrument] = (AAPL, MSFT),
    accounts: Sequence[int] = (ALICE, BOB, CAROL),
    cash: int = STARTING_CASH,
    lots: int = STARTING_LOTS,
    *,
    audited: bool = True,
) -> VenueDriver:
    """A venue in continuous trading whose accounts have cash and shares."""
    driver = VenueDriver(audited=audited)
    for instrument in instruments:
        driver.do(c.ListInstrument(instrument))
    driver.do(c.SetTradingPhase(0, TradingPhase.CONTINUOUS))
    for account_id in accounts:
        positions = tuple((instrument.instrument_id, lots) for instrument in instruments)
        driver.do(c.OpenAccount(account_id, (("USD", cash),), positions))
    return driver


def of_type(events: Sequence[e.AnyEvent], *types: type[e.Event]) -> list[e.AnyEvent]:
    return [event for event in events if isinstance(event, types)]
