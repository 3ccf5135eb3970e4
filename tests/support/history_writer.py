"""A process that writes an embedded history, to be killed: `python -m support.history_writer FOLDER BATCHES SEED`.

It prints a line after each commit. Rolls and merges run in a thread beside the commits, as in the service.
"""

import sys
import threading
from pathlib import Path
from random import Random

import msgspec

from trading_engine.database.historical import fold
from trading_engine.database.historical.projection import HistoryProjection
from trading_engine.database.historical.tick_writer import TickStoreWriter
from trading_engine.venue.events import EventBatch

STREAM = "events.0"
ROLL_ROWS = 15


def maintain(writer: TickStoreWriter, stop: threading.Event) -> None:
    while not stop.is_set():
        writer.maintain()


def main(folder: Path, batches_file: Path, seed: int) -> None:
    fold.SNAPSHOT_CHANGES_MIN, fold.SNAPSHOT_CHANGES_PER_LEVEL = 40, 1
    batches = msgspec.msgpack.decode(batches_file.read_bytes(), type=list[EventBatch])
    random = Random(seed)
    writer = TickStoreWriter(folder, roll_rows=ROLL_ROWS, grace_s=0.0)
    projection = HistoryProjection(writer, STREAM)
    reached = projection.position()
    stop = threading.Event()
    beside = threading.Thread(target=maintain, args=(writer, stop))
    beside.start()
    following = [batch for batch in batches if batch.first_event_sequence > reached]
    while following:
        count = random.randint(1, 30)
        sys.stdout.write(f"{projection.apply(following[:count])}\n")
        following = following[count:]
        sys.stdout.flush()
    stop.set()
    beside.join()
    writer.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
