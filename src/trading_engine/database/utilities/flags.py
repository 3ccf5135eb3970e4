"""The feature flags that there are: typed, with the default that holds while nobody has set another value.

A flag that is in the database and not here, because another release had it, means nothing.
"""

from typing import Any, Generic, TypeVar

from trading_engine.database.utilities.errors import InvalidEntry

FlagValue = bool | int | str
FlagT = TypeVar("FlagT", bool, int, str)


class Flag(Generic[FlagT]):
    def __init__(self, name: str, default: FlagT, meaning: str) -> None:
        self.name = name
        self.default: FlagT = default
        self.meaning = meaning

    def takes(self, value: FlagValue) -> bool:
        return type(value) is type(self.default)


NEW_ORDERS = Flag("new_orders", True, "Whether the API takes orders and replaces; cancels it always takes.")

LOGINS = Flag(
    "logins", True, "Whether traders and analysts can log in; who is logged in stays so, and API keys work on."
)
ALPACA_API = Flag("alpaca_api", True, "Whether requests and connections of Alpaca's API are taken.")
BINANCE_API = Flag("binance_api", True, "Whether requests and connections of Binance's API are taken.")
CHART_FEED = Flag("chart_feed", True, "Whether TradingView's data feed is served.")
SCENARIOS = Flag("scenarios", True, "Whether administrators can begin scenarios, where tes.scenarios offers them.")

FLAGS: dict[str, Flag[Any]] = {
    flag.name: flag for flag in (NEW_ORDERS, LOGINS, ALPACA_API, BINANCE_API, CHART_FEED, SCENARIOS)
}


def flag_named(name: str) -> Flag[Any]:
    """Raises `InvalidEntry`."""
    flag = FLAGS.get(name)
    if flag is None:
        raise InvalidEntry(f"there is no flag {name!r}; there are {', '.join(sorted(FLAGS))}")
    return flag
