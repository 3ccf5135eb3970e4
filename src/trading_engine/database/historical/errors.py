"""What can go wrong with the historical database beside what can with any."""

from trading_engine.database.errors import DatabaseError, MigrationFailed


class HistoryInUse(DatabaseError):
    """Another process writes this history."""


class HistoryTooNew(MigrationFailed):
    """It was written by a later release."""


class UnknownSymbol(DatabaseError):
    """No instrument of this symbol has been listed in what the history covers."""
