"""Projects event batches into a database, to be killed while it does: `python -m support.project_batches URL FILE COUNT`.

The file has an array of batches (MessagePack). It goes on from what the database has reached, in transactions of `COUNT` batches, and
ends when all is written.
"""

import asyncio
import sys
from pathlib import Path

import msgspec

from trading_engine.database.transactional.database import TransactionalDatabase
from trading_engine.database.transactional.projection import TransactionalProjection
from trading_engine.venue.events import EventBatch


async def project(url: str, batches: list[EventBatch], count: int) -> None:
    database = await TransactionalDatabase.open(url)
    projection = TransactionalProjection(database)
    reached = await projection.position()
    remaining = [batch for batch in batches if batch.last_event_sequence > reached]
    for start in range(0, len(remaining), count):
        await projection.apply(remaining[start : start + count])
    await database.close()


if __name__ == "__main__":
    address, file, number = sys.argv[1:]
    asyncio.run(project(address, msgspec.msgpack.decode(Path(file).read_bytes(), type=list[EventBatch]), int(number)))
