"""What there is on a RabbitMQ server, and with which properties. Nowhere else is anything declared.

| Name | What | Properties |
|---|---|---|
| `commands.<shard>` | quorum queue | one active consumer; full at `QUEUE_DEPTH_MAX` batches or `QUEUE_BYTES_MAX`: then it refuses |
| `commands.<shard>.dead` | quorum queue | what could not be used, with the reason; the oldest goes when there are `DEAD_MAX` |
| `events.<shard>` | stream | everything, from the first event on; nothing is removed by reading |
| `calls` | direct exchange | routes a question to the queues of those who answer it |
| (named by the server) | exclusive queue | of one who answers; goes with its connection |

All names begin with the prefix of the configuration. Properties of a queue cannot be changed once it exists: who wants others deletes it.

It is the same on 3.10 and on 4.x. Of what 4.x took away nothing is used: no mirrored queue, no transient queue that is not exclusive, no
prefetch of a whole channel. `x-delivery-limit` is given for both quorum queues, because from 4.0 on its default is 20: a command must
outlive more crashes of its consumer than that, and a dead letter, for which there is no other queue, would be dropped when somebody looked
at it for the twenty-first time. It is not -1: on 4.x that is no limit, on 3.10 a message is dropped when it first comes back.

The server takes back what was delivered and not acknowledged for half an hour (`consumer_timeout`), by closing the channel or canceling the
consumer, who then takes a place anew and has it once more.
"""

from aio_pika.abc import AbstractChannel, AbstractQueue

from trading_engine.messaging.broker import QUEUE_DEPTH_MAX

QUEUE_BYTES_MAX = 64 << 20
DEAD_MAX = 100_000
DELIVERY_LIMIT = 100_000
"""So often a message is delivered again before the server itself puts it with the dead ones, or drops a dead one."""
STREAM_SEGMENT_BYTES = 64 << 20
CALLS_EXCHANGE = "calls"


class Topology:
    def __init__(
        self, prefix: str = "", queue_depth_max: int = QUEUE_DEPTH_MAX, queue_bytes_max: int = QUEUE_BYTES_MAX
    ) -> None:
        self._prefix = prefix
        self._queue_depth_max = queue_depth_max
        self._queue_bytes_max = queue_bytes_max

    def queue(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def dead_queue(self, name: str) -> str:
        return f"{self._prefix}{name}.dead"

    def stream(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def calls_exchange(self) -> str:
        return f"{self._prefix}{CALLS_EXCHANGE}"

    async def declare_queue(self, channel: AbstractChannel, name: str) -> None:
        """A command queue, and the one for what cannot be used of it."""
        await channel.declare_queue(
            self.dead_queue(name),
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-max-length": DEAD_MAX,
                "x-overflow": "drop-head",
                "x-delivery-limit": DELIVERY_LIMIT,
            },
        )
        await channel.declare_queue(
            self.queue(name),
            durable=True,
            arguments={
                "x-queue-type": "quorum",
                "x-single-active-consumer": True,
                "x-max-length": self._queue_depth_max,
                "x-max-length-bytes": self._queue_bytes_max,
                "x-overflow": "reject-publish",
                "x-delivery-limit": DELIVERY_LIMIT,
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": self.dead_queue(name),
            },
        )

    async def declare_stream(self, channel: AbstractChannel, name: str) -> None:
        await channel.declare_queue(
            self.stream(name),
            durable=True,
            arguments={"x-queue-type": "stream", "x-stream-max-segment-size-bytes": STREAM_SEGMENT_BYTES},
        )

    async def declare_calls(self, channel: AbstractChannel) -> None:
        await channel.declare_exchange(self.calls_exchange(), "direct", durable=True)

    async def declare_answering_queue(self, channel: AbstractChannel, name: str) -> AbstractQueue:
        """The queue of one who answers questions named `name`."""
        await self.declare_calls(channel)
        queue = await channel.declare_queue(exclusive=True, auto_delete=True)
        await queue.bind(self.calls_exchange(), routing_key=name)
        return queue
