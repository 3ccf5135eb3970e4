"""From instruments and circuit breakers as people define them to those that the venue knows."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from decimal import Decimal

from msgspec import structs

from trading_engine.servers.obs.strategy import strategies
from trading_engine.shared.config import (
    AuctionsConfig,
    BandsConfig,
    CircuitBreakersConfig,
    ConfigError,
    InstrumentConfig,
    LimitBandsConfig,
    MatchingConfig,
    VenueConfig,
)
from trading_engine.venue.auction import AuctionRules, BandRules, LimitBandRules
from trading_engine.venue.checks import Refusal, check_instrument
from trading_engine.venue.circuit_breakers import BreakerLevel, CircuitBreakers
from trading_engine.venue.conversion import (
    NotADecimal,
    NotAMultiple,
    amount_to_minor,
    parse_decimal,
    tick_value,
    to_steps,
)
from trading_engine.venue.instrument import Instrument, MatchingRules

PPM_PER_BASIS_POINT = 100
PPM_PER_PERCENT = 10_000
NANOSECONDS = 10**9


def check_definition(item: InstrumentConfig, config: VenueConfig) -> None:
    """Raises `ConfigError` for one that the venue would not take, even if no other instrument stood in its way."""
    try:
        check_instrument(instrument_of(item, 1, config))
    except Refusal as refusal:
        raise ConfigError(f"venue.instruments: the venue does not take the definition of {item.symbol}") from refusal


def instrument_of(item: InstrumentConfig, instrument_id: int, config: VenueConfig) -> Instrument:
    """Raises `ConfigError`."""
    currency = config.currencies.get(item.currency)
    if currency is None:
        raise ConfigError(
            f"venue.instruments: {item.symbol}: the currency {item.currency} is not among venue.currencies"
        )
    decimals = currency.decimals
    try:
        return Instrument(
            instrument_id=instrument_id,
            symbol=item.symbol,
            name=item.name,
            currency=item.currency,
            tick_size=item.tick_size,
            lot_size=item.lot_size,
            tick_value=tick_value(item.tick_size, item.lot_size, decimals),
            quantity_lots_max=to_steps(item.quantity_max, item.lot_size),
            notional_max=amount_to_minor(item.notional_max, decimals),
            market_protection_ticks=to_steps(item.market_protection, item.tick_size),
            price_band_ppm=item.price_band_percent * PPM_PER_PERCENT,
            maker_fee_ppm=fee_ppm(item.maker_fee_bp),
            taker_fee_ppm=fee_ppm(item.taker_fee_bp),
            reference_price_ticks=to_steps(item.reference_price, item.tick_size),
            matching=matching_rules(item.symbol, item.matching) if item.matching else None,
            auctions=auction_rules(config.auctions),
            bands=band_rules(item.bands) if item.bands else None,
            limit_bands=limit_band_rules(item.limit_bands, item.tick_size) if item.limit_bands else None,
            initial_margin_ppm=item.initial_margin_percent * PPM_PER_PERCENT,
            maintenance_margin_ppm=item.maintenance_margin_percent * PPM_PER_PERCENT,
            shortable=item.shortable,
            suspended=item.suspended,
        )
    except NotAMultiple as error:
        raise ConfigError(
            f"venue.instruments: {item.symbol}: {error} is not a whole number of steps (tick_size {item.tick_size}, "
            f"lot_size {item.lot_size}, {decimals} decimals of {item.currency})"
        ) from error
    except (NotADecimal, ZeroDivisionError, ArithmeticError) as error:
        raise ConfigError(f"venue.instruments: {item.symbol}: not a usable number: {error}") from error


def matching_rules(symbol: str, matching: MatchingConfig) -> MatchingRules:
    """Raises `ConfigError` for an algorithm that there is not: refused by the venue it would be in the journal for good."""
    known = strategies()
    if matching.algorithm not in known:
        names = ", ".join(sorted(known))
        raise ConfigError(
            f"venue.instruments: {symbol}: there is no matching algorithm {matching.algorithm!r}; there are {names}"
        )
    makers = tuple(matching.lead_market_makers.items())
    return MatchingRules(**{**structs.asdict(matching), "lead_market_makers": makers})


def auction_rules(auctions: AuctionsConfig) -> AuctionRules | None:
    if not (auctions.price_extensions_max or auctions.market_order_extensions_max):
        return None
    return AuctionRules(
        collar_ppm=auctions.collar_percent * PPM_PER_PERCENT,
        price_extensions_max=auctions.price_extensions_max,
        market_order_extensions_max=auctions.market_order_extensions_max,
        extension_ns=auctions.extension_s * NANOSECONDS,
    )


def band_rules(bands: BandsConfig) -> BandRules:
    return BandRules(ppm_of(bands.dynamic_percent), ppm_of(bands.static_percent), bands.call_s * NANOSECONDS)


def limit_band_rules(bands: LimitBandsConfig, tick_size: str) -> LimitBandRules:
    return LimitBandRules(
        width_ppm=ppm_of(bands.percent),
        width_ticks_max=to_steps(bands.width_max, tick_size),
        change_ppm=ppm_of(bands.change_percent),
        window_ns=bands.window_s * NANOSECONDS,
        update_ns=bands.update_s * NANOSECONDS,
        limit_state_ns=bands.limit_state_s * NANOSECONDS,
        pause_ns=bands.pause_s * NANOSECONDS,
    )


def circuit_breakers(
    config: CircuitBreakersConfig,
    listed: Mapping[int, Instrument],
    day_ends_ns: int,
    elsewhere: AbstractSet[str] = frozenset(),
) -> CircuitBreakers | None:
    """Of a day that ends then. What of the index is `elsewhere`, on other shards, counts there. Raises `ConfigError`."""
    ids = {instrument.symbol: instrument_id for instrument_id, instrument in listed.items()}
    unknown = ", ".join(sorted(config.index.keys() - ids.keys() - elsewhere))
    if unknown:
        raise ConfigError(f"venue.circuit_breakers: index: {unknown} is not among venue.instruments")
    index = tuple((ids[symbol], weight) for symbol, weight in config.index.items() if symbol in ids)
    if not index:
        return None
    try:
        levels = tuple(BreakerLevel(ppm_of(level.fall_percent), level.halt_s * NANOSECONDS) for level in config.levels)
    except (NotADecimal, NotAMultiple) as error:
        raise ConfigError(f"venue.circuit_breakers: levels: not a usable percentage: {error}") from error
    return CircuitBreakers(
        index,
        levels,
        config.call_s * NANOSECONDS,
        day_ends_ns - config.timed_until_s * NANOSECONDS if config.timed_until_s else 0,
    )


def ppm_of(percent: str) -> int:
    return to_steps(f"{parse_decimal(percent) * PPM_PER_PERCENT:f}", str(Decimal(1)))


def fee_ppm(basis_points: str) -> int:
    return to_steps(f"{parse_decimal(basis_points) * PPM_PER_BASIS_POINT:f}", str(Decimal(1)))
