"""Passwords that may be chosen, and those that somebody would try first."""

import pytest
from msgspec import UNSET

from trading_engine.servers.tes.errors import ApiError
from trading_engine.servers.tes.services.password_rules import check_password

COMMON = ["password", "PassWord", "12345678", "qwertyuiop", "iloveyou", "trustno1", "drowssap", "p@ssw0rd", "P@55w0rd"]
ENDS = ["password1", "Password123!", "!!dragon99", "1letmein", "football2026", "qwerty!!!!", "87654321"]
PATTERNS = ["aaaaaaaa", "abababab", "abcabcabcabc", "abcdefgh", "hgfedcba", "23456789"]
NAMES = ["marianne", "Marianne", "ennairam", "marianne99", "mariannemarianne"]
GOOD = [
    "correct horse battery",
    "jK4#p9Qz",
    "marianne likes tea",
    "password of a kind",
    "2026-11-30 is a day",
    "grünkohl im mai",
    "x" * 7 + "yzab",
]


@pytest.mark.parametrize("password", [*COMMON, *ENDS, *PATTERNS, *NAMES])
def test_password_that_is_guessed_first_is_refused(password: str) -> None:
    with pytest.raises(ApiError, match="first that somebody would guess") as error:
        check_password(password, "marianne", "new_password")
    assert (error.value.code, error.value.body.field) == ("INVALID_REQUEST", "new_password")
    assert error.value.body.value is UNSET, "it is not sent back"


@pytest.mark.parametrize("password", GOOD)
def test_password_of_its_own_is_taken(password: str) -> None:
    check_password(password, "marianne")


@pytest.mark.parametrize("password", ["", "jK4#p9Q", "jK4#p9Qz" * 33])
def test_password_of_another_length_is_refused(password: str) -> None:
    with pytest.raises(ApiError, match="8 to 256 characters"):
        check_password(password, "marianne")
