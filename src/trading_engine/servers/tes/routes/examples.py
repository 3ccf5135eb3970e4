"""Values shown in the API's document, the same as in docs/api/native.md."""

TIME = "2026-01-05T14:30:00.123456789Z"
ORDER = {
    "order_id": "123",
    "client_order_id": "my-1",
    "portfolio_id": "1",
    "symbol": "AAPL",
    "side": "buy",
    "type": "limit",
    "time_in_force": "day",
    "post_only": False,
    "price": "230.10",
    "quantity": "100",
    "filled_quantity": "40",
    "leaves_quantity": "60",
    "average_price": "230.08",
    "status": "partially_filled",
    "reason": None,
    "created_at": TIME,
    "updated_at": TIME,
    "event_sequence": "4711",
}
PLACE = {
    "symbol": "AAPL",
    "side": "buy",
    "type": "limit",
    "quantity": "100",
    "price": "230.10",
    "time_in_force": "day",
    "post_only": False,
    "client_order_id": "my-1",
}
FILL = {
    "trade_id": "77",
    "order_id": "123",
    "client_order_id": "my-1",
    "symbol": "AAPL",
    "side": "buy",
    "price": "230.08",
    "quantity": "40",
    "fee": "2.77",
    "liquidity": "taker",
    "time": TIME,
    "event_sequence": "4711",
}
