"""What can go wrong with the rows, beyond the failures that all databases have (`database.errors`)."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import IntegrityError

from trading_engine.database.errors import DatabaseError


class AlreadyExists(DatabaseError):
    """The name is taken. Nothing was written: choose another one."""


class TooMany(DatabaseError):
    """There are as many as there may be. Nothing was written: delete one first."""


class LastAdministrator(DatabaseError):
    """Nobody could give anybody a role any more. Nothing was written: make another administrator first."""


@contextmanager
def unique(message: str) -> Iterator[None]:
    """Turns the breach of a uniqueness rule into `AlreadyExists`."""
    try:
        yield
    except IntegrityError as error:
        if "unique" not in str(error.orig).lower():
            raise
        raise AlreadyExists(message) from error
