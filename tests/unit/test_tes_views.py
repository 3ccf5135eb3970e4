"""Numbers, times and refusals as clients are shown them, and bodies as they are understood."""

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_engine.servers.tes.errors import REFUSED_STATUS, STATUS_OF_CODE, ApiError, printable, refusal
from trading_engine.servers.tes.models.requests import (
    decode_body,
    decode_operation,
    decode_place,
    order_id_of,
    sequence_of,
)
from trading_engine.servers.tes.models.views import average_price, rfc3339
from trading_engine.servers.tes.services.order_terms import lots_of, ticks_of
from trading_engine.venue.instrument import PRICE_TICKS_MAX, QUANTITY_LOTS_MAX, Instrument
from trading_engine.venue.reasons import Reason

DOCUMENT = Path(__file__).parents[2] / "docs" / "api" / "native.md"
APPLE = Instrument(1, "AAPL", "Apple Inc", "USD", "0.01", "1", 1)
COIN = Instrument(2, "COIN", "A coin", "USD", "0.5", "0.02", 1)


@pytest.mark.parametrize(
    ("value", "lots", "tick_size", "shown"),
    [
        (0, 0, "0.01", None),
        (23008 * 40, 40, "0.01", "230.08"),
        (23008 * 40 + 23009 * 20, 60, "0.01", "230.083333"),
        (23008 * 40 + 23009 * 40, 80, "0.01", "230.085"),
        (7, 2, "1", "3.5"),
        (4, 2, "1", "2"),
        (5, 2, "0.5", "1.25"),
        (1, 3, "0.05", "0.016667"),
        (100, 3, "10", "333.3333"),
    ],
)
def test_average_price_is_exact_to_four_places_beyond_the_tick(
    value: int, lots: int, tick_size: str, shown: str | None
) -> None:
    assert average_price(value, lots, tick_size) == shown


@given(st.integers(1, 10**12), st.integers(1, 10**6), st.sampled_from(["0.01", "0.5", "1", "0.00025"]))
def test_average_price_is_within_half_a_unit_of_its_last_place(value: int, lots: int, tick_size: str) -> None:
    shown = average_price(value, lots, tick_size)
    assert shown is not None
    tick = Fraction(tick_size)
    places = len(tick_size.partition(".")[2]) + 4
    assert abs(Fraction(shown) - tick * value / lots) <= Fraction(1, 2 * 10**places)
    assert average_price(-value, -lots, tick_size) == shown  # of a short position


def test_time_is_shown_to_the_nanosecond() -> None:
    assert rfc3339(1_767_623_400_123_456_789) == "2026-01-05T14:30:00.123456789Z"
    assert rfc3339(0) == "1970-01-01T00:00:00.000000000Z"


def test_error_table_of_the_document_is_the_code() -> None:
    text = DOCUMENT.read_text(encoding="utf-8").partition("## Errors")[2].partition("## Authentication")[0]
    documented = {
        code: int(status)
        for status, cell in re.findall(r"^\| (\d{3}) \| (.*) \|$", text, re.MULTILINE)
        for code in re.findall(r"`([A-Z_]{4,})`", cell)
        if int(status) != REFUSED_STATUS
    }
    assert documented == STATUS_OF_CODE


def test_every_reason_of_the_venue_can_be_told() -> None:
    for reason in Reason:
        error = refusal(reason, instrument=APPLE, limit=5, sent={"price": "1.00", "quantity": "7"})
        assert error.body.code == reason.name
        assert error.body.message.endswith(".")
        assert error.status in (404, 409, 422)


def test_refusal_names_value_and_bound() -> None:
    error = refusal(Reason.PRICE_OUTSIDE_BAND, instrument=APPLE, limit=11500, sent={"price": "100.00"})
    assert error.body.message == "The price is too far from the reference price: 100.00, the bound is 115.00."
    error = refusal(Reason.INSUFFICIENT_FUNDS, instrument=APPLE, limit=0)
    assert error.body.message.endswith(": available is 0.00 USD.")


def test_value_sent_back_is_short_and_printable() -> None:
    assert printable("x" * 1000) == "x" * 100 + "…"
    assert printable(2**70) == str(2**70)
    assert printable("\ud800") == "?"
    assert printable(True) is True


def refused_code(ask: Callable[[], object]) -> str | None:
    """The code of the refusal; None where there is none."""
    try:
        ask()
    except ApiError as error:
        return error.code
    return None


@pytest.mark.parametrize("text", ["9" * 40, "-" + "9" * 39, "99999999999999999999.98", "21474836.48", "42949672.96"])
def test_number_of_any_size_becomes_one_that_the_venue_can_take_or_a_refusal(text: str) -> None:
    assert refused_code(lambda: ticks_of(text, APPLE)) in (None, "PRICE_ABOVE_MAXIMUM")
    assert refused_code(lambda: lots_of(text, COIN)) in (None, "QUANTITY_ABOVE_MAXIMUM", "QUANTITY_NOT_ON_LOT")


def test_largest_numbers_of_the_venue_pass() -> None:
    assert ticks_of("21474836.47", APPLE) == PRICE_TICKS_MAX
    assert lots_of("42949672.94", COIN) == QUANTITY_LOTS_MAX
    assert (ticks_of("-" + "9" * 38, APPLE), lots_of("-0.02", COIN)) == (-1, -1)


@given(st.text(max_size=50))
def test_any_text_as_a_quantity_is_converted_or_refused(text: str) -> None:
    assert refused_code(lambda: lots_of(text, COIN)) in (
        None,
        "INVALID_REQUEST",
        "QUANTITY_NOT_ON_LOT",
        "QUANTITY_ABOVE_MAXIMUM",
    )


@given(st.binary(max_size=200))
def test_any_bytes_are_understood_or_refused(body: bytes) -> None:
    for ask in (lambda: decode_body(body, decode_place), lambda: decode_body(body, decode_operation)):
        assert refused_code(ask) in (None, "MALFORMED_JSON", "INVALID_REQUEST")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("0", None),
        ("-1", None),
        ("", None),
        ("9" * 19, None),
        (str(2**63 - 1), 2**63 - 1),
        ("1 ", None),
        ("\u0661", None),
    ],
)
def test_order_id_is_a_number_of_the_venue_or_nothing(text: str, number: int | None) -> None:
    assert order_id_of(text) == number


def test_sequence_that_is_none_is_refused() -> None:
    assert sequence_of("0", "since") == 0
    for text in ("", "-1", "9" * 30, "x"):
        with pytest.raises(ApiError, match="since"):
            sequence_of(text, "since")
