"""Requests as the venue gets them."""

from decimal import Decimal

import msgspec
import pytest

from trading_engine.clients.sdk import calls
from trading_engine.clients.sdk.client import credentials_of


def test_calls_order_without_price_is_a_market_order() -> None:
    fields = calls.order_fields("AAPL", "sell", 5)
    assert (fields["type"], fields["quantity"], "price" in fields) == ("market", "5", False)


def test_calls_order_fields_that_are_not_asked_for_are_left_to_the_venue() -> None:
    fields = calls.order_fields("AAPL", "buy", "5", price="1.50", client_order_id="x")
    assert fields == {
        "symbol": "AAPL",
        "side": "buy",
        "type": "limit",
        "quantity": "5",
        "price": "1.50",
        "client_order_id": "x",
    }


def test_calls_client_order_ids_differ_and_are_of_the_allowed_form() -> None:
    ids = {calls.new_client_order_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(name) <= 64 and name.replace("-", "").isalnum() for name in ids)


@pytest.mark.parametrize(
    ("number", "text"), [(Decimal("1E+3"), "1000"), (Decimal("1E-7"), "0.0000001"), (7, "7"), ("230.10", "230.10")]
)
def test_calls_number_is_written_plainly(number: calls.Number, text: str) -> None:
    assert calls.number_text(number, "price") == text


@pytest.mark.parametrize("number", [230.1, True, None])
def test_calls_number_that_is_inexact_is_refused(number: object) -> None:
    with pytest.raises(TypeError, match="price must be a Decimal"):
        calls.number_text(number, "price")


def test_calls_order_is_named_in_one_way_only() -> None:
    for arguments in ({}, {"order_id": "1", "client_order_id": "a"}):
        with pytest.raises(ValueError, match="either"):
            calls.order(**arguments)


def test_calls_names_in_paths_are_quoted() -> None:
    assert calls.book("BRK/B ?", 5).path == "/v1/instruments/BRK%2FB%20%3F/book"
    assert calls.cancel(client_order_id="a/b").path == "/v1/orders/by-client-id/a%2Fb"


def test_calls_query_leaves_out_what_was_not_given() -> None:
    assert calls.orders("open", None, 100, None).query == {"status": "open", "limit": "100"}
    assert calls.candles("AAPL", "1m", 5, None, 10).query == {"interval": "1m", "start": "5", "limit": "10"}


def test_calls_replace_with_nothing_new_is_refused() -> None:
    with pytest.raises(ValueError, match="new quantity"):
        calls.replace("1", None, None)
    assert msgspec.json.decode(calls.replace("1", None, "2.50").body or b"") == {"price": "2.50"}


@pytest.mark.parametrize(
    "arguments", [("ann", "", "", ""), ("", "word", "", ""), ("ann", "word", "key", "secret"), ("", "", "key", "")]
)
def test_calls_half_given_credentials_are_refused(arguments: tuple[str, str, str, str]) -> None:
    with pytest.raises(ValueError, match="give either"):
        credentials_of(*arguments)
