"""The one place where decimal strings become integers and integers become decimal strings.

Inside, a price is ticks, a quantity lots, an amount minor units. Outside, all three are decimal strings. Nothing here goes through
binary floating point.
"""

from decimal import Context, Decimal, InvalidOperation
from functools import lru_cache

from trading_engine.venue.instrument import Instrument

DECIMAL_DIGITS_MAX = 40
REMEMBERED = 1 << 15
"""Conversions of each kind. Prices and quantities come again and again, and looking one up costs a tenth of making it."""
_CONTEXT = Context(prec=2 * DECIMAL_DIGITS_MAX)
"""Wide enough for any product or quotient of two such numbers; the thread's own context could have any precision."""


class NotADecimal(ValueError):
    """The text is not a plain, finite decimal number of a reasonable length."""


class NotAMultiple(ValueError):
    """The number is not a whole multiple of the step."""


@lru_cache(maxsize=4096)
def _step(text: str) -> tuple[Decimal, int]:
    step = Decimal(text)
    exponent = step.as_tuple().exponent
    assert isinstance(exponent, int)
    return step, max(0, -exponent)


@lru_cache(maxsize=4096)
def _units(step_text: str) -> tuple[int, int]:
    """The step as a whole number of units of its last decimal place, and how many places that are."""
    step, places = _step(step_text)
    return int(_CONTEXT.scaleb(step, places)), places


def last_place_units(step_text: str) -> int:
    """The step in units of its last decimal place: 5 for `0.05`."""
    return _units(step_text)[0]


def parse_decimal(text: str) -> Decimal:
    """A finite decimal from text such as `230.15`; raises `NotADecimal` for anything else, exponents and underscores included."""
    if not text.isascii() or len(text) > DECIMAL_DIGITS_MAX or text.strip("0123456789.-") or not text:
        raise NotADecimal(text[: DECIMAL_DIGITS_MAX + 1])
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise NotADecimal(text) from None
    return value


@lru_cache(maxsize=REMEMBERED)
def to_steps(text: str, step_text: str) -> int:
    """How many steps of size `step_text` the decimal `text` is. Raises `NotADecimal` or `NotAMultiple`."""
    step, _ = _step(step_text)
    steps = _CONTEXT.divide(parse_decimal(text), step)
    whole = int(steps)
    if whole != steps:
        raise NotAMultiple(text)
    return whole


@lru_cache(maxsize=REMEMBERED)
def from_steps(count: int, step_text: str) -> str:
    """The decimal string of `count` steps, with as many decimal places as the step has."""
    units, places = _units(step_text)
    digits = str(abs(count) * units).rjust(places + 1, "0")
    whole = f"{digits[:-places]}.{digits[-places:]}" if places else digits
    return f"-{whole}" if count < 0 else whole


def price_to_ticks(text: str, instrument: Instrument) -> int:
    return to_steps(text, instrument.tick_size)


def ticks_to_price(ticks: int, instrument: Instrument) -> str:
    return from_steps(ticks, instrument.tick_size)


def quantity_to_lots(text: str, instrument: Instrument) -> int:
    return to_steps(text, instrument.lot_size)


def lots_to_quantity(lots: int, instrument: Instrument) -> str:
    return from_steps(lots, instrument.lot_size)


def amount_to_minor(text: str, decimals: int) -> int:
    return to_steps(text, minor_unit(decimals))


def minor_to_amount(minor: int, decimals: int) -> str:
    return from_steps(minor, minor_unit(decimals))


def minor_unit(decimals: int) -> str:
    """The decimal string of one minor unit: `0.01` for two decimals."""
    return "1" if decimals == 0 else "0." + "0" * (decimals - 1) + "1"


def tick_value(tick_size: str, lot_size: str, decimals: int) -> int:
    """Minor units that one lot is worth at one tick. Raises `NotAMultiple` where that is no whole number."""
    value = _CONTEXT.multiply(parse_decimal(tick_size), parse_decimal(lot_size))
    return to_steps(f"{value:f}", minor_unit(decimals))
