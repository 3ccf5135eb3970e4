"""A seeded market: every kind of command, mostly orders near the middle, so that most kinds of event come out."""

from random import Random

from msgspec.structs import replace

from support.venue_driver import AAPL, ALICE, BOB, CAROL, GTC, MSFT, VenueDriver, open_venue
from trading_engine.venue import commands as c
from trading_engine.venue.shards import INSTRUMENTS_PER_SHARD
from trading_engine.venue.terms import OrderType, SelfTradePrevention, Side, SpecialTerms, TimeInForce, TradingPhase

ACCOUNTS = (ALICE, BOB, CAROL)
INSTRUMENTS = (AAPL, MSFT)
MIDDLE_TICKS = 1_000


def random_market(seed: int, commands: int, *, orders_only: bool = False, shard: int = 0) -> VenueDriver:
    """A venue after `commands` commands of chance; with `orders_only` nothing is delivered, suspended or halted."""
    random = Random(seed)
    instruments = [
        replace(instrument, instrument_id=shard * INSTRUMENTS_PER_SHARD + instrument.instrument_id)
        for instrument in INSTRUMENTS
    ]
    driver = open_venue(instruments, ACCOUNTS, lots=1_000)
    for _ in range(commands):
        driver.do(_command(random, driver, 0 if orders_only else 8))
    return driver


def _command(random: Random, driver: VenueDriver, administration: int) -> c.AnyCommand:
    account_id = random.choice(ACCOUNTS)
    instrument_id = random.choice(list(driver.venue.instruments))
    match random.choices(("place", "cancel", "replace", "mass", "other"), (60, 15, 15, 2, administration))[0]:
        case "place":
            return _place(random, account_id, instrument_id)
        case "cancel":
            return c.CancelOrder(account_id, _open_order(random, driver, account_id))
        case "replace":
            order_id = _open_order(random, driver, account_id)
            return c.ReplaceOrder(account_id, order_id, "", random.randint(0, 40), random.choice((0, _price(random))))
        case "mass":
            return c.MassCancel(account_id, random.choice((0, instrument_id)), random.choice((0, 1, 2)))
        case _:
            return _administrative(random, account_id, instrument_id)


def _place(random: Random, account_id: int, instrument_id: int) -> c.PlaceOrder:
    is_market = random.random() < 0.1
    return c.PlaceOrder(
        account_id,
        random.choice(("", f"c{random.randint(1, 10**6)}")),
        instrument_id,
        random.choice(tuple(Side)),
        OrderType.MARKET if is_market else OrderType.LIMIT,
        random.choice((GTC, GTC, *TimeInForce)),
        random.randint(1, 40),
        0 if is_market else _price(random),
        not is_market and random.random() < 0.1,
        random.choice((SelfTradePrevention.NONE, *SelfTradePrevention)),
        random.choice((None, None, SpecialTerms(display_lots=3), SpecialTerms(hidden=True))),
    )


def _open_order(random: Random, driver: VenueDriver, account_id: int) -> int:
    """Mostly an open order of the account, now and then a number that means nothing to it."""
    open_orders = sorted(driver.venue.account(account_id).open_orders)
    return random.choice(open_orders) if open_orders and random.random() < 0.95 else random.randint(1, 100)


def _price(random: Random) -> int:
    return MIDDLE_TICKS + random.randint(-8, 8)


def _administrative(random: Random, account_id: int, instrument_id: int) -> c.AnyCommand:
    return random.choice(
        (
            c.AdjustCash(account_id, "USD", random.randint(-50_000, 100_000)),
            c.AdjustPosition(account_id, instrument_id, random.randint(-50, 100)),
            c.SuspendAccount(account_id, random.random() < 0.2),
            c.SetTradingPhase(random.choice((0, instrument_id)), TradingPhase.CONTINUOUS, trading_day_ends=True),
            c.SetTradingPhase(instrument_id, random.choice((TradingPhase.HALTED, TradingPhase.CONTINUOUS))),
            c.SetTradingPhase(0, TradingPhase.CONTINUOUS),
            c.OpenAccount(account_id),
        )
    )
