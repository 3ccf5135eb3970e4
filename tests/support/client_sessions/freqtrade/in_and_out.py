"""A strategy that buys at once, has its stop loss on the exchange, and sells what it has bought when that is there."""

from typing import Any, ClassVar

from freqtrade.strategy import IStrategy


class InAndOut(IStrategy):  # type: ignore[misc]
    timeframe = "1m"
    minimal_roi: ClassVar[dict[str, float]] = {"0": 100.0}
    stoploss = -0.5
    startup_candle_count = 0
    process_only_new_candles = False
    order_types: ClassVar[dict[str, str | bool]] = {
        "entry": "limit",
        "exit": "limit",
        "stoploss": "limit",
        "stoploss_on_exchange": True,
    }

    def populate_indicators(self, dataframe: Any, _: dict[str, Any]) -> Any:
        return dataframe

    def populate_entry_trend(self, dataframe: Any, _: dict[str, Any]) -> Any:
        dataframe["enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe: Any, _: dict[str, Any]) -> Any:
        return dataframe

    def custom_exit(self, trade: Any, **_: Any) -> str | None:
        return "protected" if trade.has_open_sl_orders else None
