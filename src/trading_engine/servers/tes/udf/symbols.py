"""Instruments as UDF's symbols: what a chart has to know to draw prices and to name what it draws."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from trading_engine.servers.tes.services.market_data import Market
from trading_engine.servers.tes.udf.sessions import ChartHours
from trading_engine.venue.instrument import Instrument

EXCHANGE = "VENUE"
SYMBOL_TYPE = "spot"
RESOLUTION_SECONDS = {
    **{f"{seconds}S": seconds for seconds in (1, 5, 15, 30)},
    **{str(minutes): 60 * minutes for minutes in (1, 3, 5, 15, 30, 60, 120, 240)},
    **dict.fromkeys(("D", "1D"), 86_400),
}
"""What `history` answers."""
MINUTES = [int(name) for name in RESOLUTION_SECONDS if name.isdigit()]
BUILT_FROM_DAYS = ("1W", "1M")
"""Charts make these themselves."""
RESOLUTIONS = [*(name for name in RESOLUTION_SECONDS if name != "D"), *BUILT_FROM_DAYS]


def configuration() -> dict[str, Any]:
    return {
        "supports_search": True,
        "supports_group_request": False,
        "supports_marks": True,
        "supports_timescale_marks": False,
        "supports_time": True,
        "exchanges": [{"value": "", "name": "All", "desc": ""}, {"value": EXCHANGE, "name": EXCHANGE, "desc": ""}],
        "symbols_types": [{"name": "All", "value": ""}, {"name": "Spot", "value": SYMBOL_TYPE}],
        "supported_resolutions": RESOLUTIONS,
    }


def symbol_info(instrument: Instrument, hours: ChartHours) -> dict[str, Any]:
    """The price scale is exact for every tick: one tick is `minmov` / `pricescale`."""
    places = decimal_places(instrument.tick_size)
    return {
        "name": instrument.symbol,
        "ticker": instrument.symbol,
        "full_name": full_name(instrument),
        "description": instrument.name,
        "type": SYMBOL_TYPE,
        "exchange": EXCHANGE,
        "listed_exchange": EXCHANGE,
        "exchange-traded": EXCHANGE,
        "exchange-listed": EXCHANGE,
        "format": "price",
        "pricescale": 10**places,
        "minmov": int(Decimal(instrument.tick_size).scaleb(places)),
        "minmov2": 0,
        "pointvalue": 1,
        "currency_code": instrument.currency,
        "original_currency_code": instrument.currency,
        "volume_precision": decimal_places(instrument.lot_size),
        "visible_plots_set": "ohlcv",
        "has_seconds": True,
        "seconds_multipliers": [name.removesuffix("S") for name in RESOLUTION_SECONDS if name.endswith("S")],
        "has_intraday": True,
        "has_weekly_and_monthly": False,
        "has_empty_bars": False,
        "supported_resolutions": RESOLUTIONS,
        "data_status": "streaming",
        **hours.fields(),
    }


def decimal_places(step: str) -> int:
    _, _, fraction = step.partition(".")
    return len(fraction)


def full_name(instrument: Instrument) -> str:
    return f"{EXCHANGE}:{instrument.symbol}"


def found(markets: Iterable[Market], query: str, limit: int) -> list[dict[str, Any]]:
    """Those whose symbol or name has the query in it: first where the symbol begins with it, then by symbol."""
    wanted = query.upper().removeprefix(f"{EXCHANGE}:")
    instruments = [
        market.instrument
        for market in markets
        if wanted in market.instrument.symbol.upper() or wanted in market.instrument.name.upper()
    ]
    instruments.sort(key=lambda instrument: (not instrument.symbol.upper().startswith(wanted), instrument.symbol))
    return [
        {
            "symbol": instrument.symbol,
            "full_name": full_name(instrument),
            "ticker": instrument.symbol,
            "description": instrument.name,
            "exchange": EXCHANGE,
            "type": SYMBOL_TYPE,
        }
        for instrument in instruments[:limit]
    ]
