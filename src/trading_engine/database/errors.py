"""What can go wrong with any of the databases, split by what the caller can do about it."""


class DatabaseError(Exception):
    """Base of all failures of the databases."""


class DatabaseUnavailable(DatabaseError):
    """It cannot be reached or is locked for too long. Nothing was written: try again later."""


class MigrationFailed(DatabaseError):
    """The schema cannot be brought to the state that this release needs; the message says why."""


class ProjectionError(DatabaseError):
    """Base of what stops the projection."""


class ProjectionGap(ProjectionError):
    """Events are missing between what is stored and what came: read the stream again from the stored sequence."""


class ProjectionConflict(ProjectionError):
    """Another process has moved the same projection on. One projection of a stream may run at a time."""


class ProjectionBehind(ProjectionError):
    """The rows do not show the awaited event yet, and the time to wait is over."""


class ProjectionFailed(ProjectionError):
    """The projection has stopped; the cause is attached. Rows stay as they were at the last commit."""


class ProjectionAhead(ProjectionError):
    """The database holds events that the stream does not have: the two do not belong together, and waiting would not help."""
