"""What Binance has and this venue has none of: lists of it are empty, and orders that would need it are rejected, as there for a symbol
that does not have it (`exchangeInfo` says so: no `sors`, no `opoAllowed`)."""

from collections.abc import Callable, Mapping
from typing import Any

from trading_engine.servers.tes.binance.errors import NEW_ORDER_REJECTED, NO_REFERENCE_PRICE, BinanceError


def no_reference_price() -> BinanceError:
    return BinanceError(NO_REFERENCE_PRICE, "This symbol doesn't have a reference price.")


def no_order_routing() -> BinanceError:
    return BinanceError(NEW_ORDER_REJECTED, "SOR is not supported for this symbol.")


def no_pending_orders_of_proceeds() -> BinanceError:
    return BinanceError(NEW_ORDER_REJECTED, "OPO orders are not supported for this symbol.")


EMPTY: Mapping[str, Any] = {"executionRules": {"symbolRules": []}, "historicalBlockTrades": []}
"""Of a symbol, by path: what there is."""
REFUSED: Mapping[str, Callable[[], BinanceError]] = {
    "referencePrice": no_reference_price,
    "referencePrice/calculation": no_reference_price,
}
REJECTED_ORDERS: Mapping[str, Callable[[], BinanceError]] = {
    "sor/order": no_order_routing,
    "sor/order/test": no_order_routing,
    "orderList/opo": no_pending_orders_of_proceeds,
    "orderList/opoco": no_pending_orders_of_proceeds,
}
