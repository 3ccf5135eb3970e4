"""An endless flow of commands with the mix of the canonical workload, whose book neither grows nor empties.

Twenty commands are a cycle: nine limit orders, eight cancels, two replacements and an order that takes what the ninth offered, all in one
instrument. What a cycle enters is changed `RESTING_CYCLES / 2` cycles later and canceled after `RESTING_CYCLES`, so about four thousand
orders rest, and one of ten trades. It is all arithmetic: no venue has to be run along to know what is open.
"""

from collections.abc import Iterator

from benchmarks.processes import SYMBOLS
from trading_engine.venue.commands import AnyCommand, CancelOrder, OpenAccount, PlaceOrder, ReplaceOrder
from trading_engine.venue.terms import OrderType, Side, TimeInForce

ACCOUNTS = 20
CANCELED = 8
REPLACED = 2
ORDERS_PER_CYCLE = CANCELED + 2
COMMANDS_PER_CYCLE = 2 * CANCELED + REPLACED + 2
RESTING_CYCLES = 500
MIDDLE_TICKS = 20_000
DEPTH_TICKS = 40
LOTS = 10
CASH = 10**15
POSITION_LOTS = 10**9


def opening(first_account: int) -> list[AnyCommand]:
    positions = tuple((number, POSITION_LOTS) for number in range(1, len(SYMBOLS) + 1))
    return [OpenAccount(first_account + number, (("USD", CASH),), positions, 10_000) for number in range(ACCOUNTS)]


def flow(first_account: int) -> Iterator[AnyCommand]:
    """For ever."""
    cycle = 0
    while True:
        yield from commands_of(cycle, first_account)
        cycle += 1


def commands_of(cycle: int, first_account: int) -> Iterator[AnyCommand]:
    for number in range(CANCELED):
        yield order(cycle, number, first_account)
        if cycle >= RESTING_CYCLES:
            yield cancel(cycle - RESTING_CYCLES, number, first_account)
    if cycle >= RESTING_CYCLES // 2:
        for number in range(REPLACED):
            yield replacement(cycle - RESTING_CYCLES // 2, number, first_account)
    yield from trade(cycle, first_account)


def order(cycle: int, number: int, first_account: int) -> PlaceOrder:
    return PlaceOrder(
        account_of(cycle, first_account),
        name_of(cycle, number),
        instrument_of(cycle),
        side_of(number),
        OrderType.LIMIT,
        TimeInForce.GTC,
        LOTS,
        price_of(cycle, number),
    )


def cancel(cycle: int, number: int, first_account: int) -> CancelOrder:
    return CancelOrder(account_of(cycle, first_account), 0, name_of(cycle, number))


def replacement(cycle: int, number: int, first_account: int) -> ReplaceOrder:
    return ReplaceOrder(
        account_of(cycle, first_account), 0, name_of(cycle, number), price_ticks=price_of(cycle + 1, number)
    )


def trade(cycle: int, first_account: int) -> tuple[PlaceOrder, PlaceOrder]:
    """The best bid there is, and who takes it."""
    instrument_id = instrument_of(cycle)
    maker, taker = account_of(cycle, first_account), account_of(cycle + 1, first_account)
    limit, price = OrderType.LIMIT, MIDDLE_TICKS
    return (
        PlaceOrder(
            maker, name_of(cycle, CANCELED), instrument_id, Side.BUY, limit, TimeInForce.GTC, LOTS, price_ticks=price
        ),
        PlaceOrder(taker, "", instrument_id, Side.SELL, limit, TimeInForce.IOC, LOTS, price_ticks=price),
    )


def account_of(cycle: int, first_account: int) -> int:
    return first_account + cycle % ACCOUNTS


def instrument_of(cycle: int) -> int:
    return 1 + cycle % len(SYMBOLS)


def name_of(cycle: int, number: int) -> str:
    return f"{cycle}.{number}"


def side_of(number: int) -> Side:
    return Side.BUY if number % 2 else Side.SELL


def price_of(cycle: int, number: int) -> int:
    """Never the middle, so that nothing trades but what is to."""
    distance = 1 + (7 * cycle + 3 * number) % DEPTH_TICKS
    return MIDDLE_TICKS - distance if side_of(number) is Side.BUY else MIDDLE_TICKS + distance
