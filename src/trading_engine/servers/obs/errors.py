"""Why the order book server stops. None of these is a refusal: those are events."""


class ObsError(Exception):
    """The order book server cannot go on. Everything that it acknowledged is in the journal."""


class CannotStart(ObsError):
    """Starting again will not mend it: somebody has to look first."""


class JournalCorrupt(CannotStart):
    """The journal is not what was written. Nothing was changed; restore the files, or ask before you cut."""


class WriteFailed(ObsError):
    """The disk did not take it: full, or broken. What was being written was not acknowledged."""


class ApplyFailed(ObsError):
    """The venue broke while it applied a command: a bug. The journal has the command."""
