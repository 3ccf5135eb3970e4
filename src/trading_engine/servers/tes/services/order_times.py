"""How long the commands of this process took on their way to the venue and back: its part of `system_performance`.

When a request came in is told by a context variable, which the edge sets where it reads a request and the task that serves it inherits:
so no call in between has to hand it on. Where nothing set it (what the server does by itself, the sockets of other APIs) it is not
measured.
"""

from collections.abc import Sequence
from contextvars import ContextVar

from trading_engine.database.analytics.latency import Stage
from trading_engine.database.analytics.performance import Performance

request_received_ns: ContextVar[int] = ContextVar("request_received_ns", default=0)


class OrderTimes:
    def __init__(self, performance: Performance) -> None:
        self._performance = performance
        self._received_to_submitted = performance.of(Stage.RECEIVED_TO_SUBMITTED)
        self._submitted_to_sequenced = performance.of(Stage.SUBMITTED_TO_SEQUENCED)
        self._sequenced_to_handled = performance.of(Stage.SEQUENCED_TO_HANDLED)
        self._received_to_handled = performance.of(Stage.RECEIVED_TO_HANDLED)

    def submitted(self, now_ns: int) -> int:
        """A command goes to the transport. Returns when its request came in, 0 where that is not to be measured: of the commands of one
        request only the first has not waited for others."""
        received_ns = request_received_ns.get()
        if received_ns:
            request_received_ns.set(0)
            self._received_to_submitted.add(now_ns - received_ns)
        return received_ns

    def answered(self, received_ns: int, submitted_ns: int, sequenced_ns: int, now_ns: int) -> None:
        """Its outcome is known."""
        if self._performance.has_real_stamps:
            self._submitted_to_sequenced.add(sequenced_ns - submitted_ns)
        if received_ns:
            self._received_to_handled.add(now_ns - received_ns)

    def handled(self, stamps_ns: Sequence[int]) -> None:
        """Events are taken in."""
        self._performance.count_since_stamps(self._sequenced_to_handled, stamps_ns)
