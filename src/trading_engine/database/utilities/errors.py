"""What can go wrong here besides what can with any database."""

from trading_engine.database.errors import DatabaseError


class UtilitiesError(DatabaseError):
    """Base of what is wrong with an entry. Nothing was written."""


class InvalidEntry(UtilitiesError):
    """It breaks a rule; the message says which, and what would do."""


class VersionConflict(UtilitiesError):
    """Somebody else has changed the entry since it was read: read it again, and decide anew."""
