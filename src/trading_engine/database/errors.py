"""What can go wrong with any of the databases, split by what the caller can do about it."""


class DatabaseError(Exception):
    """Base of all failures of the databases."""


class DatabaseUnavailable(DatabaseError):
    """It cannot be reached or is locked for too long. Nothing was written: try again later."""


class MigrationFailed(DatabaseError):
    """The schema cannot be brought to the state that this release needs; the message says why."""
