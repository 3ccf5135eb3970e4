"""Every code that the venue can answer with has its place in the client's tree of exceptions."""

import pytest

from trading_engine.clients.sdk.errors import (
    ErrorBody,
    InvalidRequest,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Refused,
    ServerFailed,
    TradingError,
    Unavailable,
    error_of,
)
from trading_engine.servers.tes.errors import STATUS_OF_CODE
from trading_engine.venue.reasons import Reason

KINDS_OF_STATUS: dict[int, tuple[type[TradingError], ...]] = {
    400: (InvalidRequest,),
    401: (NotAuthenticated,),
    403: (NotAllowed,),
    404: (NotFound,),
    405: (InvalidRequest,),
    408: (Unavailable,),
    409: (Refused,),
    413: (InvalidRequest,),
    421: (InvalidRequest,),
    429: (RateLimited,),
    431: (InvalidRequest,),
    500: (ServerFailed,),
    503: (Unavailable, OutcomeUnknown),
}


@pytest.mark.parametrize("code", sorted(STATUS_OF_CODE))
def test_error_code_of_the_server_has_its_kind(code: str) -> None:
    error = error_of(ErrorBody(code, "Words."))
    assert isinstance(error, KINDS_OF_STATUS[STATUS_OF_CODE[code]])
    assert error.code == code


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.name not in STATUS_OF_CODE])
def test_error_refusal_of_the_venue_is_refused(reason: Reason) -> None:
    assert type(error_of(ErrorBody(reason.name, "Words."))) is Refused


def test_error_text_has_code_and_message() -> None:
    assert str(error_of(ErrorBody("PRICE_NOT_ON_TICK", "Not on a tick."))) == "PRICE_NOT_ON_TICK: Not on a tick."


def test_error_value_of_any_type_becomes_text() -> None:
    assert error_of(ErrorBody("INVALID_REQUEST", "No.", "quantity", 5)).value == "5"
