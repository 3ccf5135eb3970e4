"""Decimal strings to integers and back, exactly; everything else is refused."""

from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_engine.venue.conversion import (
    DECIMAL_DIGITS_MAX,
    NotADecimal,
    NotAMultiple,
    amount_to_minor,
    from_steps,
    lots_to_quantity,
    minor_to_amount,
    minor_unit,
    parse_decimal,
    price_to_ticks,
    quantity_to_lots,
    tick_value,
    ticks_to_price,
    to_steps,
)
from trading_engine.venue.instrument import Instrument

STEPS = ["1", "10", "0.5", "0.01", "0.010", "0.25", "0.0001", "0.00000001", "3", "0.7", "1000000"]
steps = st.sampled_from(STEPS)
counts = st.integers(-(2**63), 2**64)
same_each_time = settings(derandomize=True)


@same_each_time
@given(counts, steps)
def test_count_survives_the_way_out_and_in(count: int, step: str) -> None:
    assert to_steps(from_steps(count, step), step) == count


@same_each_time
@given(counts, steps)
def test_text_is_exact_and_has_the_places_of_the_step(count: int, step: str) -> None:
    text = from_steps(count, step)
    assert Fraction(text) == count * Fraction(step)
    assert len(text.partition(".")[2]) == len(step.partition(".")[2])


@same_each_time
@given(st.decimals(min_value=-(10**9), max_value=10**9, places=6), steps)
def test_text_is_a_multiple_or_is_refused_as_none(value: Decimal, step: str) -> None:
    exact = Fraction(value) / Fraction(step)
    if exact.denominator == 1:
        assert to_steps(f"{value:f}", step) == exact
    else:
        with pytest.raises(NotAMultiple):
            to_steps(f"{value:f}", step)


@same_each_time
@given(st.text(max_size=50))
def test_any_text_is_a_decimal_or_is_refused(text: str) -> None:
    try:
        value = parse_decimal(text)
    except NotADecimal:
        return
    assert value.is_finite()
    assert Fraction(text) == Fraction(value)


@same_each_time
@given(counts, steps)
def test_precision_of_the_thread_does_not_matter(count: int, step: str) -> None:
    text = from_steps(count, step)
    with localcontext() as context:
        context.prec = 3
        assert from_steps(count, step) == text
        assert to_steps(text, step) == count


@pytest.mark.parametrize(
    ("text", "step", "count"),
    [
        ("230.15", "0.01", 23_015),
        ("230.1500", "0.01", 23_015),
        ("0230.15", "0.01", 23_015),
        (".5", "0.5", 1),
        ("1.", "0.5", 2),
        ("-1.5", "0.5", -3),
        ("-0", "0.01", 0),
        ("1000", "10", 100),
        ("0.3", "0.1", 3),
        ("9" * 40, "1", 10**40 - 1),
        ("9" * 38 + ".9", "0.1", 10**39 - 1),
    ],
)
def test_text_becomes_steps(text: str, step: str, count: int) -> None:
    assert to_steps(text, step) == count


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "NaN",
        "sNaN",
        "nan",
        "Infinity",
        "-inf",
        "1e3",
        "1E-2",
        "1_000",
        "1,000",
        "+1",
        "--1",
        "1-",
        "-",
        ".",
        "-.",
        "1.2.3",
        " 1",
        "1 ",
        "1\n",
        "\t1",
        "0x10",
        "\u0661\u0662",  # Arabic digits
        "\uff11\uff12",  # Fullwidth digits
        "\u00b2",  # Superscript
        "1\u00a0000",
        "1" * (DECIMAL_DIGITS_MAX + 1),
        "1" * 10_000,
        "0." + "0" * 10_000 + "1",
        "1\x00",
    ],
)
def test_text_that_is_no_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(NotADecimal) as caught:
        to_steps(text, "0.01")
    assert len(str(caught.value)) <= DECIMAL_DIGITS_MAX + 1


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("230.155", "0.01"),
        ("0.001", "0.01"),
        ("15", "10"),
        ("1", "0.7"),
        ("1" + "0" * 39, "3"),
        ("0." + "0" * 37 + "1", "1"),
    ],
)
def test_text_between_two_steps_is_refused(text: str, step: str) -> None:
    with pytest.raises(NotAMultiple):
        to_steps(text, step)


@pytest.mark.parametrize(
    ("decimals", "unit", "amount", "minor"),
    [(0, "1", "500", 500), (2, "0.01", "-5.05", -505), (8, "0.00000001", "0.00000001", 1)],
)
def test_amount_has_the_decimals_of_its_currency(decimals: int, unit: str, amount: str, minor: int) -> None:
    assert minor_unit(decimals) == unit
    assert amount_to_minor(amount, decimals) == minor
    assert minor_to_amount(minor, decimals) == amount


@pytest.mark.parametrize(
    ("tick", "lot", "decimals", "value"),
    [("0.01", "1", 2, 1), ("0.25", "50", 2, 1_250), ("1", "1", 0, 1), ("0.01", "0.001", 8, 1_000)],
)
def test_tick_value_is_the_worth_of_one_lot_at_one_tick(tick: str, lot: str, decimals: int, value: int) -> None:
    assert tick_value(tick, lot, decimals) == value


def test_prices_and_quantities_go_by_the_steps_of_their_instrument() -> None:
    bitcoin = Instrument(1, "BTC-USD", "Bitcoin", "USD", "0.5", "0.001", 5)
    assert price_to_ticks("64000.5", bitcoin) == 128_001
    assert ticks_to_price(128_001, bitcoin) == "64000.5"
    assert quantity_to_lots("1.25", bitcoin) == 1_250
    assert lots_to_quantity(1_250, bitcoin) == "1.250"


def test_tick_value_that_is_no_whole_minor_unit_is_refused() -> None:
    with pytest.raises(NotAMultiple):
        tick_value("0.01", "0.1", 2)
