"""What the utilities database wants of the venue and the venue has not yet, as commands.

The venue never reads the database: it is a function of its journal. So the wanted state is compared with the one that the venue is in, and
the difference becomes commands like any others, numbered, journaled and replayed. A comparison needs no memory: after a crash anywhere
it finds what is still missing, and nothing twice. What the venue would refuse is not sent, because a journal is no place to try
things; it is compared again until it may.

An entry that is removed leaves the venue as it is: only what stands in the database is wanted.
"""

from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from trading_engine.database.utilities.records import Applied, Contents, InstrumentEntry, RiskLimitsEntry
from trading_engine.servers.obs.listing import instrument_of
from trading_engine.shared.config import ConfigError, VenueConfig
from trading_engine.venue.commands import AnyCommand, ChangeInstrument, ListInstrument, SetRiskLimits
from trading_engine.venue.instrument import Instrument
from trading_engine.venue.reasons import REASON_TEXT, Reason
from trading_engine.venue.shards import INSTRUMENTS_PER_SHARD
from trading_engine.venue.venue import Venue

IN_EFFECT = "in effect"
WAITS = "waits: "
REFUSED = "refused: "
PASSING = frozenset(
    {Reason.INSTRUMENT_IN_USE, Reason.FEES_NOT_COVERED, Reason.UNKNOWN_ACCOUNT},
)
"""Reasons that pass by themselves: the entry waits for it."""


class Wanted(NamedTuple):
    """An entry, and what has to be sent for it to be in effect, if anything."""

    kind: str
    key: str
    version: int
    outcome: str
    command: AnyCommand | None = None

    def report(self, shard: int) -> Applied:
        return Applied(shard, self.kind, self.key, self.version, self.outcome)


def wanted_of(contents: Contents, config: VenueConfig, venue: Venue, shard: int = 0) -> list[Wanted]:
    """All entries that concern the venue of a shard. Limits concern each: an account may have a balance on several."""
    limits = [wanted_limits(entry, venue) for entry in contents.risk_limits]
    return [*wanted_instruments(contents, config, venue, shard), *limits]


def wanted_instruments(contents: Contents, config: VenueConfig, venue: Venue, shard: int) -> Iterator[Wanted]:
    """Those of the shard in the order of listing, so that new ones get the next ids in it. Each shard has ids of its own."""
    listed = {instrument.symbol: instrument for instrument in venue.instruments.values()}
    next_id = max(venue.instruments, default=shard * INSTRUMENTS_PER_SHARD) + 1
    for entry in contents.instruments:
        if entry.definition.shard != shard:
            continue
        known = listed.get(entry.symbol)
        wanted = wanted_instrument(entry, known, next_id, config, venue)
        next_id += isinstance(wanted.command, ListInstrument)
        yield wanted


def wanted_instrument(
    entry: InstrumentEntry, listed: Instrument | None, next_id: int, config: VenueConfig, venue: Venue
) -> Wanted:
    wanted = Wanted("instruments", entry.symbol, entry.version, IN_EFFECT)
    try:
        instrument = instrument_of(entry.definition, listed.instrument_id if listed else next_id, config)
    except ConfigError as error:
        return wanted._replace(outcome=f"{REFUSED}{error}")
    if listed is None:
        return sent(wanted, ListInstrument(instrument), venue)
    # The reference price is for the time before the first trade; what it was then is nothing to want.
    instrument = replace(instrument, reference_price_ticks=listed.reference_price_ticks)
    return wanted if instrument == listed else sent(wanted, ChangeInstrument(instrument), venue)


def wanted_limits(entry: RiskLimitsEntry, venue: Venue) -> Wanted:
    wanted = Wanted("risk_limits", f"{int(entry.scope)} {entry.scope_id}", entry.version, IN_EFFECT)
    if venue.risk_limits(entry.scope, entry.scope_id) == entry.limits:
        return wanted
    return sent(wanted, SetRiskLimits(entry.scope, entry.scope_id, entry.limits), venue)


def sent(wanted: Wanted, command: ListInstrument | ChangeInstrument | SetRiskLimits, venue: Venue) -> Wanted:
    """With the command where the venue would take it, else with the reason why not."""
    reason = venue.refusal_of(command)
    if reason is None:
        return wanted._replace(command=command)
    return wanted._replace(outcome=f"{WAITS if reason in PASSING else REFUSED}{reason.name} ({REASON_TEXT[reason]})")
