"""What can go wrong with the rows, beyond the failures that all databases have (`database.errors`)."""

from trading_engine.database.errors import DatabaseError


class AlreadyExists(DatabaseError):
    """The name is taken. Nothing was written: choose another one."""


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
