"""An order's terms beyond a plain one, from decimal strings to the venue's integers.

What may be combined with what is the venue's to say (`venue/checks.py`); here a term is only given its unit. A plain order has none of
them, and is not made to pay for any.
"""

from datetime import UTC, datetime

import msgspec

from trading_engine.servers.tes.errors import ApiError, invalid_request, not_on_step, refusal
from trading_engine.servers.tes.models.requests import PlaceRequest
from trading_engine.servers.tes.services.market_data import Market
from trading_engine.venue.conversion import NotADecimal, NotAMultiple, price_to_ticks, quantity_to_lots
from trading_engine.venue.instrument import PRICE_TICKS_MAX, QUANTITY_LOTS_MAX, TIME_NS_MAX, Instrument
from trading_engine.venue.reasons import Reason
from trading_engine.venue.terms import PegPrice, SelfTradePrevention, SpecialTerms

PEGS: dict[str, PegPrice] = {"primary": PegPrice.PRIMARY, "market": PegPrice.MARKET, "mid": PegPrice.MID}
MODES: dict[str, SelfTradePrevention] = {
    "none": SelfTradePrevention.NONE,
    "cancel_incoming": SelfTradePrevention.CANCEL_INCOMING,
    "cancel_resting": SelfTradePrevention.CANCEL_RESTING,
    "cancel_both": SelfTradePrevention.CANCEL_BOTH,
    "decrement": SelfTradePrevention.DECREMENT,
}
PLAIN = SpecialTerms()


def special_terms(request: PlaceRequest, market: Market) -> SpecialTerms | None:
    """None for a plain order. Raises `ApiError` for what cannot be said in the instrument's units."""
    if is_plain(request):
        return None
    instrument = market.instrument
    terms = SpecialTerms(
        stop_price_ticks=_stop_price_ticks(request, market),
        display_lots=_lots(request.display_quantity, "display_quantity", instrument),
        hidden=request.hidden,
        expire_time_ns=0 if request.expire_time is None else time_ns_of(request.expire_time, "expire_time"),
        minimum_lots=_lots(request.minimum_quantity, "minimum_quantity", instrument),
        reprice=request.reprice,
        trail_ticks=_ticks(request.trail, "trail", instrument),
        peg=PegPrice.NONE if request.peg is None else PEGS[request.peg],
        peg_offset_ticks=_signed_ticks(request.peg_offset, "peg_offset", instrument),
        all_or_none=request.all_or_none,
    )
    return None if terms == PLAIN else terms


def is_plain(request: PlaceRequest) -> bool:
    """Whether nothing was said that makes `SpecialTerms`."""
    return (
        request.stop_price is None
        and request.trail is None
        and request.display_quantity is None
        and request.expire_time is None
        and request.minimum_quantity is None
        and request.peg is None
        and request.peg_offset is None
        and not (request.hidden or request.reprice or request.all_or_none)
    )


def _stop_price_ticks(request: PlaceRequest, market: Market) -> int:
    """A trailing stop that does not say where it begins is at its distance from the last price."""
    if request.stop_price is not None:
        return positive_ticks(request.stop_price, market.instrument, "stop_price")
    if request.trail is None:
        return 0
    if market.price_ticks is None:
        raise invalid_request(
            "There is no price to trail yet: say where the stop begins with a 'stop_price'.", "stop_price"
        )
    trail_ticks = ticks_of(request.trail, market.instrument, "trail")
    return market.price_ticks + (trail_ticks if request.side == "buy" else -trail_ticks)


def _ticks(text: str | None, field: str, instrument: Instrument) -> int:
    return 0 if text is None else ticks_of(text, instrument, field)


def _lots(text: str | None, field: str, instrument: Instrument) -> int:
    return 0 if text is None else lots_of(text, instrument, field)


def _signed_ticks(text: str | None, field: str, instrument: Instrument) -> int:
    if text is None or not text.startswith("-"):
        return _ticks(text, field, instrument)
    return -ticks_of(text[1:], instrument, field)


def lots_of(text: str, instrument: Instrument, field: str = "quantity") -> int:
    """Lots, as large as the venue's integers take."""
    try:
        lots = quantity_to_lots(text, instrument)
    except NotADecimal:
        raise not_a_decimal(field, text) from None
    except NotAMultiple:
        raise not_on_step(Reason.QUANTITY_NOT_ON_LOT, field, text, instrument.lot_size) from None
    if lots > QUANTITY_LOTS_MAX:
        raise refusal(
            Reason.QUANTITY_ABOVE_MAXIMUM,
            instrument=instrument,
            limit=instrument.quantity_lots_max,
            sent={"quantity": text},
        )
    return max(lots, -1)


def ticks_of(text: str, instrument: Instrument, field: str = "price") -> int:
    """Ticks, as large as the venue's integers take. Every price below zero is one to refuse: they all become -1."""
    try:
        ticks = price_to_ticks(text, instrument)
    except NotADecimal:
        raise not_a_decimal(field, text) from None
    except NotAMultiple:
        raise not_on_step(Reason.PRICE_NOT_ON_TICK, field, text, instrument.tick_size) from None
    if ticks > PRICE_TICKS_MAX:
        raise refusal(
            Reason.PRICE_ABOVE_MAXIMUM, instrument=instrument, limit=instrument.price_ticks_max, sent={"price": text}
        )
    return max(ticks, -1)


def positive_lots(text: str, instrument: Instrument) -> int:
    """Where 0 would mean that nothing was said."""
    lots = lots_of(text, instrument)
    if lots <= 0:
        raise refusal(Reason.QUANTITY_NOT_POSITIVE, sent={"quantity": text})
    return lots


def positive_ticks(text: str, instrument: Instrument, field: str = "price") -> int:
    ticks = ticks_of(text, instrument, field)
    if ticks <= 0:
        raise refusal(Reason.PRICE_NOT_POSITIVE, sent={field: text})
    return ticks


def time_ns_of(text: str, field: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time with a zone. Raises `ApiError`."""
    whole, point, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    try:
        moment = msgspec.convert(whole + rest[len(digits) :], datetime)
    except msgspec.ValidationError:
        moment = None
    if moment is None or moment.tzinfo is None or bool(point) != bool(digits) or len(digits) > 9:
        raise invalid_request(
            f"The field {field!r} is wrong: a time such as 2026-01-05T14:30:00Z is expected.", field, text
        )
    seconds = int((moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    time_ns = seconds * 1_000_000_000 + int(digits.ljust(9, "0"))
    if not 0 < time_ns <= TIME_NS_MAX:
        raise invalid_request(f"The field {field!r} is wrong: this time is out of range.", field, text)
    return time_ns


def not_a_decimal(field: str, text: str) -> ApiError:
    return invalid_request(f'The field {field!r} is wrong: a decimal number such as "230.10" is expected.', field, text)
