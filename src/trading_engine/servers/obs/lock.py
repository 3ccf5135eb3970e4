"""One writer per data directory: a file that is locked as long as the process lives, however it ends.

The lock is the kernel's, so it is free the moment the owner is dead, and never before. While the owner serves it also *beats*: it counts up
a number in the file. Who waits for the lock sees by that whether the owner still does anything (see `standby`).

| Field | Bytes | |
|---|---|---|
| process id | 20 | of the owner, in decimal, padded with spaces |
| beats | 8 | little-endian; 0 until the owner serves |
"""

import fcntl
import os
import signal
import sys
from pathlib import Path

from trading_engine.servers.obs.errors import CannotStart

PROCESS_ID_BYTES = 20
BEATS_BYTES = 8


class DirectoryLock:
    def __init__(self, path: Path) -> None:
        """Does not lock yet. Raises `CannotStart`."""
        self._directory = path.parent
        self._beats = 0
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise CannotStart(f"the data directory cannot be used: {error}") from error

    def acquire(self) -> None:
        """Raises `CannotStart` when another process has the lock."""
        if not self.try_acquire():
            owner = self.named_owner or "unknown"
            raise CannotStart(f"{self._directory} is in use by another order book server (process {owner})")

    def try_acquire(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        os.pwrite(self._descriptor, str(os.getpid()).encode().ljust(PROCESS_ID_BYTES) + bytes(BEATS_BYTES), 0)
        return True

    def release(self) -> None:
        os.close(self._descriptor)

    def beat(self) -> None:
        """The owner says that it serves."""
        self._beats += 1
        self._write_beats(self._beats)

    def rest(self) -> None:
        """The owner does not serve any more, and may take its time for what is left to do."""
        self._write_beats(0)

    @property
    def beats(self) -> tuple[str, int]:
        """(the owner's process id as it wrote it, how often it has said that it serves)."""
        data = os.pread(self._descriptor, PROCESS_ID_BYTES + BEATS_BYTES, 0)
        return data[:PROCESS_ID_BYTES].decode(errors="replace").strip(), int.from_bytes(
            data[PROCESS_ID_BYTES:], "little"
        )

    @property
    def named_owner(self) -> str:
        return self.beats[0]

    def kill_owner(self) -> bool:
        """kill -9 of the process that has the lock. False where the kernel does not say that it has it."""
        owner = self.named_owner
        if sys.platform != "linux" or not self._is_locked_by(owner):
            return False
        try:
            descriptor = os.pidfd_open(int(owner))
        except ProcessLookupError:
            return True
        try:
            # Asked again: only now is it sure that the descriptor is the owner's, and not of a process that has got its number since.
            if self._is_locked_by(owner):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)
        return True

    def _write_beats(self, beats: int) -> None:
        os.pwrite(self._descriptor, beats.to_bytes(BEATS_BYTES, "little"), PROCESS_ID_BYTES)

    def _is_locked_by(self, process_id: str) -> bool:
        """What the owner wrote is only believed where the kernel says the same; in another container it does not."""
        inode = str(os.fstat(self._descriptor).st_ino)
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            columns = line.split()
            if columns[1] == "FLOCK" and columns[4] == process_id and columns[5].split(":")[-1] == inode:
                return True
        return False
