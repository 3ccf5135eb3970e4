"""Transfers of money between the venues of different shards, each of which has a balance of its own for an account.

    this shard                              the other shard
    BeginTransfer ──▶ TransferBegun
      out of the balance, in transit  ──▶   ReceiveTransfer ──▶ TransferReceived: into the balance
                                                            └─▶ TransferRejected: no such account, say
    CompleteTransfer ◀──────────────────────  either way
      received ──▶ TransferCompleted: no longer on this venue
      rejected ──▶ TransferReturned: back into the balance

Nobody but the two venues remembers anything. Whoever carries the messages between them may do so twice, stop anywhere, and begin again. The
sending venue numbers its transfers to each other shard 1, 2, 3, …, and the receiving one takes only the next number of each: so none is
credited twice or left out, however many carry. Asked again for one that had its turn, it tells what became of it. For that it
remembers the last number, and those that it rejected, until the sender says that it knows. The sender keeps a transfer until it is
told what became of it, and can be told once.

Until then the amount belongs to the sending venue (`Venue._issued_cash` counts it), so that there is always room to give it back. In both
venues together no money is made or lost; what one has in transit after the other has received it is there twice until it is completed.
"""

import msgspec

from trading_engine.venue import commands as c
from trading_engine.venue.checks import Refusal
from trading_engine.venue.instrument import ID_MAX, MONEY_MAX
from trading_engine.venue.reasons import Reason
from trading_engine.venue.shards import SHARD_MAX

TRANSFER_ID_BYTES_MAX = 64
TRANSFERS_IN_TRANSIT_MAX = 10
"""Of one account; each lasts only as long as a message to the other shard and back, when both are up."""
TRANSFER_IDS_REMEMBERED = 10_000
"""A transfer id stays taken while the transfer is in transit and until so many later ones of the venue have ended."""


class Transfer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A transfer that this venue sent."""

    account_id: int
    transfer_id: str
    currency: str
    amount: int
    to_shard: int
    number: int

    @property
    def name(self) -> tuple[int, str]:
        return self.account_id, self.transfer_id

    def is_same(self, command: c.BeginTransfer) -> bool:
        content = (command.currency, command.amount, command.to_shard)
        return content == (self.currency, self.amount, self.to_shard)


class Incoming:
    """What a venue remembers of the transfers from one other shard."""

    def __init__(self) -> None:
        self.last = 0
        """Number of the last one that had its turn."""
        self.settled = 0
        """Up to this number the other shard knows what became of them."""
        self.rejected: set[int] = set()
        """Numbers after that of those that were rejected."""

    def take(self, number: int, settled: int, *, received: bool) -> None:
        self.last = number
        if not received:
            self.rejected.add(number)
        if settled > self.settled:
            self.settled = settled
            self.rejected = {rejected for rejected in self.rejected if rejected > settled}


class Transfers:
    """What a venue remembers of transfers to and from others."""

    def __init__(self) -> None:
        self.sent: dict[int, int] = {}
        """Shard → number of the last transfer to it."""
        self.received: dict[int, Incoming] = {}
        """By shard."""
        self.in_transit: dict[tuple[int, int], Transfer] = {}
        """(shard, number) → transfer."""
        self.counts: dict[int, int] = {}
        """Account id → how many of its transfers are in transit, where there are any."""
        self.known: dict[tuple[int, str], Transfer] = {}
        """(account id, transfer id) → transfer, in transit or ended not long ago."""
        self.ended: dict[tuple[int, str], bool | None] = {}
        """Those that have ended, oldest first: whether the other shard received each. None: it ended before this was remembered."""

    def begin(self, command: c.BeginTransfer) -> Transfer:
        number = self.sent.get(command.to_shard, 0) + 1
        transfer = Transfer(
            command.account_id, command.transfer_id, command.currency, command.amount, command.to_shard, number
        )
        self.sent[command.to_shard] = number
        self.hold(transfer)
        return transfer

    def end(self, to_shard: int, number: int, *, received: bool) -> Transfer | None:
        """None where it is not in transit."""
        transfer = self.in_transit.pop((to_shard, number), None)
        if transfer is None:
            return None
        self.counts[transfer.account_id] -= 1
        if not self.counts[transfer.account_id]:
            del self.counts[transfer.account_id]
        self.ended[transfer.name] = received
        if len(self.ended) > TRANSFER_IDS_REMEMBERED:
            oldest = next(iter(self.ended))
            del self.ended[oldest], self.known[oldest]
        return transfer

    def hold(self, transfer: Transfer) -> None:
        """It is in transit from now on, or again after a restart."""
        self.in_transit[transfer.to_shard, transfer.number] = transfer
        self.known[transfer.name] = transfer
        self.counts[transfer.account_id] = self.counts.get(transfer.account_id, 0) + 1


def check_begin(command: c.BeginTransfer) -> None:
    if not 0 < len(command.transfer_id.encode()) <= TRANSFER_ID_BYTES_MAX or not 0 <= command.to_shard <= SHARD_MAX:
        raise Refusal(Reason.INVALID_TRANSFER)


def check_receive(command: c.ReceiveTransfer, transfers: Transfers) -> None:
    is_valid = 0 <= command.from_shard <= SHARD_MAX and 0 < command.amount <= MONEY_MAX
    if not is_valid or not 0 <= command.settled < command.number <= ID_MAX:
        raise Refusal(Reason.INVALID_TRANSFER)
    incoming = transfers.received.get(command.from_shard, Incoming())
    if not incoming.settled < command.number <= incoming.last + 1:
        raise Refusal(Reason.TRANSFER_OUT_OF_TURN)


class TransfersRecord(msgspec.Struct, frozen=True, array_like=True):
    """In a snapshot."""

    sent: list[tuple[int, int]] = []
    received: list[tuple[int, int, int, list[int]]] = []
    """(shard, last, settled, rejected)."""
    in_transit: list[Transfer] = []
    """By shard and number."""
    ended: list[Transfer] = []
    """Oldest first."""
    outcomes: list[bool | None] = []
    """Of each of those; a snapshot of an earlier release has none."""


def save_transfers(transfers: Transfers) -> TransfersRecord:
    return TransfersRecord(
        sorted(transfers.sent.items()),
        [
            (shard, incoming.last, incoming.settled, sorted(incoming.rejected))
            for shard, incoming in sorted(transfers.received.items())
        ],
        [transfer for _, transfer in sorted(transfers.in_transit.items())],
        [transfers.known[name] for name in transfers.ended],
        list(transfers.ended.values()),
    )


def load_transfers(record: TransfersRecord) -> Transfers:
    """Raises `ValueError` for what cannot be."""
    transfers = Transfers()
    transfers.sent = dict(record.sent)
    for shard, last, settled, rejected in record.received:
        incoming = transfers.received[shard] = Incoming()
        incoming.last, incoming.settled, incoming.rejected = last, settled, set(rejected)
    for transfer in record.in_transit:
        transfers.hold(transfer)
    outcomes = record.outcomes or [None] * len(record.ended)
    for transfer, received in zip(record.ended, outcomes, strict=True):
        transfers.known[transfer.name] = transfer
        transfers.ended[transfer.name] = received
    all_there = (*record.in_transit, *record.ended)
    if len(transfers.known) < len(all_there) or len(transfers.in_transit) < len(record.in_transit):
        raise ValueError("transfers that are there twice")
    for transfer in all_there:
        if not 0 < transfer.number <= transfers.sent.get(transfer.to_shard, 0) or not 0 < transfer.amount <= MONEY_MAX:
            raise ValueError(f"transfer {transfer}")
    return transfers
