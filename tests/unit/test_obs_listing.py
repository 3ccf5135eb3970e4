"""From configured instruments to listed ones."""

import msgspec
import pytest

from trading_engine.servers.obs.listing import check_definition, circuit_breakers, instrument_of
from trading_engine.shared.config import (
    BandsConfig,
    BreakerLevelConfig,
    CircuitBreakersConfig,
    ConfigError,
    CurrencyConfig,
    InstrumentConfig,
    LimitBandsConfig,
    MatchingConfig,
    VenueConfig,
)
from trading_engine.venue.auction import BandRules, LimitBandRules
from trading_engine.venue.circuit_breakers import BreakerLevel, CircuitBreakers
from trading_engine.venue.instrument import Instrument, MatchingRules

STOCK = InstrumentConfig(symbol="AAPL", name="Apple Inc", reference_price="230.00")
COIN = InstrumentConfig(
    symbol="BTC-USD",
    name="Bitcoin",
    tick_size="0.5",
    lot_size="0.02",
    reference_price="60000",
    quantity_max="50",
    notional_max="1000000.00",
    market_protection="100",
    price_band_percent=10,
    maker_fee_bp="0",
    taker_fee_bp="2.5",
)


def config() -> VenueConfig:
    return VenueConfig(currencies={"USD": CurrencyConfig(decimals=2)})


def test_instrument_is_in_ticks_lots_and_minor_units() -> None:
    stock, coin = (instrument_of(item, number, config()) for number, item in enumerate((STOCK, COIN), 1))
    assert stock == Instrument(
        1,
        "AAPL",
        "Apple Inc",
        "USD",
        "0.01",
        "1",
        tick_value=1,
        quantity_lots_max=1_000_000,
        notional_max=1_000_000_000_000,
        market_protection_ticks=500,
        price_band_ppm=500_000,
        maker_fee_ppm=100,
        taker_fee_ppm=300,
        reference_price_ticks=23_000,
    )
    assert coin == Instrument(
        2,
        "BTC-USD",
        "Bitcoin",
        "USD",
        "0.5",
        "0.02",
        tick_value=1,
        quantity_lots_max=2_500,
        notional_max=100_000_000,
        market_protection_ticks=200,
        price_band_ppm=100_000,
        maker_fee_ppm=0,
        taker_fee_ppm=250,
        reference_price_ticks=120_000,
    )


def test_instrument_takes_matching_rules_over() -> None:
    matching = MatchingConfig(algorithm="split", top=True, lead_market_makers={7: 20, 3: 5}, fifo_percent=40)
    assert instrument_of(msgspec.structs.replace(STOCK, matching=matching), 1, config()).matching == MatchingRules(
        "split", top=True, lead_market_makers=((7, 20), (3, 5)), fifo_percent=40
    )


def test_matching_rules_of_the_configuration_are_those_of_the_venue() -> None:
    defaults = msgspec.structs.asdict(MatchingConfig(algorithm="split")) | {"lead_market_makers": ()}
    assert defaults == msgspec.structs.asdict(MatchingRules("split"))


def test_instrument_with_an_algorithm_that_there_is_not_raises() -> None:
    with pytest.raises(ConfigError, match=r"AAPL: there is no matching algorithm 'prorata'; there are .*pro-rata"):
        instrument_of(msgspec.structs.replace(STOCK, matching=MatchingConfig(algorithm="prorata")), 1, config())


def test_instrument_takes_bands_over() -> None:
    collars = BandsConfig(dynamic_percent="2.5", static_percent="10", call_s=60)
    assert instrument_of(msgspec.structs.replace(STOCK, bands=collars), 1, config()).bands == BandRules(
        25_000, 100_000, 60 * 10**9
    )
    limited = msgspec.structs.replace(STOCK, limit_bands=LimitBandsConfig(percent="75", width_max="0.15"))
    assert instrument_of(limited, 1, config()).limit_bands == LimitBandRules(750_000, 15)


def test_circuit_breakers_of_the_configuration_are_of_the_listed_instruments_and_of_the_day() -> None:
    listed = {4: Instrument(4, "AAPL", "", "USD", "0.01", "1", 1)}
    us = CircuitBreakersConfig(index={"AAPL": 2}, timed_until_s=2_100)
    levels = (BreakerLevel(70_000, 900 * 10**9), BreakerLevel(130_000, 900 * 10**9), BreakerLevel(200_000))
    assert circuit_breakers(us, listed, 5_000 * 10**9) == CircuitBreakers(((4, 2),), levels, 300 * 10**9, 2_900 * 10**9)
    assert circuit_breakers(CircuitBreakersConfig(), listed, 1) is None


@pytest.mark.parametrize(
    ("breakers", "said"),
    [
        (CircuitBreakersConfig(index={"AAPL": 1, "IBM": 1}), "index: IBM is not among"),
        (
            CircuitBreakersConfig(index={"AAPL": 1}, levels=(BreakerLevelConfig(fall_percent="0.00001"),)),
            "not a usable percentage",
        ),
    ],
)
def test_circuit_breakers_that_cannot_be_raise(breakers: CircuitBreakersConfig, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        circuit_breakers(breakers, {4: Instrument(4, "AAPL", "", "USD", "0.01", "1", 1)}, 1)


def test_definition_that_the_venue_would_not_take_raises() -> None:
    check_definition(STOCK, config())
    with pytest.raises(ConfigError, match="does not take the definition of AAPL"):
        check_definition(msgspec.structs.replace(STOCK, maintenance_margin_percent=101), config())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"currency": "EUR"}, "EUR is not among"),
        ({"reference_price": "230.005"}, "230.005 is not a whole number of steps"),
        ({"quantity_max": "1.5"}, "1.5 is not a whole number"),
        ({"tick_size": "0.001", "lot_size": "1"}, "not a whole number"),
        ({"tick_size": "cheap"}, "not a usable number"),
        ({"tick_size": "0"}, "not a usable number"),
        ({"taker_fee_bp": "0.001"}, "not a whole number"),
        ({"limit_bands": LimitBandsConfig(percent="5", width_max="0.001")}, "not a whole number"),
        ({"bands": BandsConfig(static_percent="much")}, "not a usable number"),
    ],
)
def test_instrument_of_a_definition_that_does_not_come_out_even_raises(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        instrument_of(msgspec.structs.replace(STOCK, **changes), 1, config())
    assert "AAPL" in str(error.value)
