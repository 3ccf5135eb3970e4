"""An instrument as one of Binance's symbols: base and quote asset in one word, and its rules as filters."""

from collections.abc import Callable, Mapping
from typing import Any

from trading_engine.servers.tes.binance.errors import bad_symbol, missing
from trading_engine.servers.tes.services.market_data import Market, MarketData
from trading_engine.venue.conversion import lots_to_quantity, minor_to_amount, ticks_to_price
from trading_engine.venue.instrument import ICEBERG_SLICES_MAX, PPM, Instrument
from trading_engine.venue.terms import PHASE_RULES

ORDER_TYPES = ("LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT")
PREVENTION_MODES = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT")
OPEN_ORDERS_MAX = 1000
"""Of an account, in all instruments together."""
EXCHANGE_FILTERS = [{"filterType": "EXCHANGE_MAX_NUM_ORDERS", "maxNumOrders": OPEN_ORDERS_MAX}]
TRAILING_DELTA_MIN, TRAILING_DELTA_MAX = 1, 2000
"""In hundredths of a percent."""
PRECISION = 8


def symbol_of(instrument: Instrument) -> str:
    return instrument.symbol + instrument.currency


class Symbols:
    """Markets by symbol. Instruments are listed while the server runs, so the table is made anew when there are more."""

    def __init__(self, market_data: MarketData, decimals_of: Callable[[str], int]) -> None:
        self._market_data = market_data
        self.decimals_of = decimals_of
        self._known: dict[str, Market] = {}

    @property
    def all(self) -> dict[str, Market]:
        markets = self._market_data.markets
        if len(self._known) != len(markets):
            self._known = {symbol_of(market.instrument): market for market in markets.values()}
        return self._known

    def market(self, symbol: str) -> Market:
        """Raises `BinanceError`."""
        market = self.all.get(symbol)
        if market is None:
            raise bad_symbol()
        return market

    def named(self, parameters: Mapping[str, str]) -> Market:
        """The one that a request is about. Raises `BinanceError`."""
        if not parameters.get("symbol"):
            raise missing("symbol")
        return self.market(parameters["symbol"])

    def of(self, instrument_id: int) -> str:
        return symbol_of(self.instrument(instrument_id))

    def instrument(self, instrument_id: int) -> Instrument:
        return self._market_data.instrument(instrument_id)

    def units(self, instrument_id: int) -> tuple[Instrument, int]:
        """The instrument and the decimals of its currency: what an order's numbers are shown by."""
        instrument = self.instrument(instrument_id)
        return instrument, self.decimals_of(instrument.currency)

    def decimals(self, market: Market) -> int:
        return self.decimals_of(market.instrument.currency)


def symbol_view(market: Market, decimals: int) -> dict[str, Any]:
    instrument = market.instrument
    return {
        "symbol": symbol_of(instrument),
        "status": "TRADING" if PHASE_RULES[market.phase].new else "BREAK",
        "baseAsset": instrument.symbol,
        "baseAssetPrecision": PRECISION,
        "quoteAsset": instrument.currency,
        "quotePrecision": PRECISION,
        "quoteAssetPrecision": PRECISION,
        "baseCommissionPrecision": PRECISION,
        "quoteCommissionPrecision": PRECISION,
        "orderTypes": list(ORDER_TYPES),
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "opoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "pegInstructionsAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": filters(instrument, decimals),
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "NONE",
        "allowedSelfTradePreventionModes": list(PREVENTION_MODES),
    }


def filters(instrument: Instrument, decimals: int) -> list[dict[str, Any]]:
    quantity = {
        "minQty": lots_to_quantity(instrument.quantity_lots_min, instrument),
        "maxQty": lots_to_quantity(instrument.quantity_lots_max, instrument),
        "stepSize": lots_to_quantity(1, instrument),
    }
    found: list[dict[str, Any]] = [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": ticks_to_price(1, instrument),
            "maxPrice": ticks_to_price(instrument.price_ticks_max, instrument),
            "tickSize": ticks_to_price(1, instrument),
        },
        {"filterType": "LOT_SIZE", **quantity},
        {"filterType": "MARKET_LOT_SIZE", **quantity},
        {"filterType": "ICEBERG_PARTS", "limit": ICEBERG_SLICES_MAX},
        {
            "filterType": "TRAILING_DELTA",
            "minTrailingAboveDelta": TRAILING_DELTA_MIN,
            "maxTrailingAboveDelta": TRAILING_DELTA_MAX,
            "minTrailingBelowDelta": TRAILING_DELTA_MIN,
            "maxTrailingBelowDelta": TRAILING_DELTA_MAX,
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": minor_to_amount(instrument.notional_min, decimals),
            "applyMinToMarket": True,
            "maxNotional": minor_to_amount(instrument.notional_max, decimals),
            "applyMaxToMarket": True,
            "avgPriceMins": 0,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": OPEN_ORDERS_MAX},
    ]
    if instrument.price_band_ppm:
        up, down = PPM + instrument.price_band_ppm, max(0, PPM - instrument.price_band_ppm)
        found.append(
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": f"{up // PPM}.{up % PPM:06d}",
                "multiplierDown": f"{down // PPM}.{down % PPM:06d}",
                "avgPriceMins": 0,
            }
        )
    return found


def commission_rate(ppm: int) -> str:
    """A fee as a fraction: `0.00010000` for one basis point."""
    sign = "-" if ppm < 0 else ""
    return f"{sign}{abs(ppm) // PPM}.{abs(ppm) % PPM:06d}00"


def exchange_information(
    markets: list[Market], symbols: Symbols, time: int, limits: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "timezone": "UTC",
        "serverTime": time,
        "rateLimits": limits,
        "exchangeFilters": EXCHANGE_FILTERS,
        "symbols": [symbol_view(market, symbols.decimals(market)) for market in markets],
    }
