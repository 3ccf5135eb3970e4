"""What can go wrong with the rows, beyond the failures that all databases have (`database.errors`)."""

from trading_engine.database.errors import DatabaseError


class AlreadyExists(DatabaseError):
    """The name is taken. Nothing was written: choose another one."""


class LastAdministrator(DatabaseError):
    """Nobody could give anybody a role any more. Nothing was written: make another administrator first."""
