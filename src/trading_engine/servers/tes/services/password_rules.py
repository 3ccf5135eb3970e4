"""Which passwords may be chosen: long enough, and none that is guessed among the first.

Guesses are limited (`login_guard`), so what a password has to withstand is some hundred thousand of them: the 30,000 commonest, in the ways
in which people make them look otherwise, and the user's own name. A password that was chosen before is left alone.
"""

from itertools import pairwise

from zxcvbn.frequency_lists import FREQUENCY_LISTS

from trading_engine.servers.tes.errors import invalid_request

PASSWORD_CHARACTERS_MIN = 8
PASSWORD_CHARACTERS_MAX = 256
DIFFERENT_CHARACTERS_MIN = 4
ENDS_MAX = 4
"""So many digits and signs before or after a common password make it no better."""
LETTERS_OF_SIGNS = str.maketrans("@4301!5$7", "aaeoiisst")
COMMON: frozenset[str] = frozenset(FREQUENCY_LISTS["passwords"])


def check_password(password: str, username: str, field: str = "password") -> None:
    """Raises `ApiError`."""
    if not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
        raise invalid_request(
            f"A password has {PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX} characters; this one has {len(password)}.",
            field,
        )
    if is_easily_guessed(password, username):
        raise invalid_request(
            "This password is among the first that somebody would guess: choose one that is not common and not your name.",
            field,
        )


def is_easily_guessed(password: str, username: str) -> bool:
    lower = password.lower()
    if len(set(lower)) < DIFFERENT_CHARACTERS_MIN or is_sequence(lower):
        return True
    guessed = {lower, lower[::-1], lower.translate(LETTERS_OF_SIGNS)}
    guessed |= {core for text in tuple(guessed) for core in cores_of(text)}
    names = {username.lower(), username.lower()[::-1], 2 * username.lower()}
    return not guessed.isdisjoint(COMMON) or not guessed.isdisjoint(names)


def is_sequence(text: str) -> bool:
    """As `23456789` or `hgfedcba`."""
    steps = {ord(second) - ord(first) for first, second in pairwise(text)}
    return steps in ({1}, {-1})


def cores_of(text: str) -> list[str]:
    """The text without a few digits and signs that it begins or ends with."""
    begins = next((place for place, character in enumerate(text) if character.isalpha()), 0)
    ends = next((place for place, character in enumerate(reversed(text)) if character.isalpha()), 0)
    cores = []
    if ends <= ENDS_MAX:
        cores.append(text[: len(text) - ends])
    if begins <= ENDS_MAX and ends <= ENDS_MAX:
        cores.append(text[begins : len(text) - ends])
    return cores
