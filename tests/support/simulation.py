"""Runs a venue under a random workload, audited, interrupted and replayed. A seed decides everything."""

from collections.abc import Mapping, Sequence
from random import Random

import msgspec

from support.auditor import decode_sequenced
from support.market_watch import MarketWatch
from support.venue_driver import EAGER, STRATEGIES, VenueDriver
from support.workload import NO_EMPHASIS, Workload
from trading_engine.venue import Venue
from trading_engine.venue.commands import AnyCommand
from trading_engine.venue.fast.venue import FastVenue


def simulate(
    seed: int,
    commands_count: int,
    *,
    compared: bool = True,
    emphasis: Mapping[str, float] = NO_EMPHASIS,
    opening: Sequence[AnyCommand] = (),
) -> VenueDriver:
    """A run of the workload of this seed, audited, and compared with the fast venue. A failure says the seed and the command."""
    random = Random(seed)
    driver = VenueDriver()
    if not compared:
        driver.fast = None
    assert driver.auditor
    hostility = random.choice((0.0, 0.02, 0.05, 0.3))
    workload = Workload(random, driver.auditor.mirror, hostility, emphasis)
    restarts = random.choice((0.0, 0.002, 0.02))
    for command in (*opening, *workload.opening()):
        driver.do(command)
    for number in range(commands_count):
        command = workload.next()
        try:
            driver.do(command, *workload.numbered(command))
            if random.random() < restarts:
                driver.venue = restarted(driver.venue)
                if driver.fast and random.random() < 0.5:
                    driver.fast = FastVenue.restore(driver.venue.snapshot(), STRATEGIES)
                    driver.fast.compile_eagerness = random.choice((1, EAGER))
        except Exception as error:
            error.add_note(f"SIM_SEED={seed}, command {number + 1} of {commands_count}: {command}")
            raise
    if driver.fast:
        assert driver.fast.snapshot() == driver.venue.snapshot(), f"SIM_SEED={seed}"
    return driver


def restarted(venue: Venue) -> Venue:
    data = venue.snapshot()
    restored = Venue.restore(data, STRATEGIES)
    assert restored.snapshot() == data
    return restored


def check_replay(driver: VenueDriver, seed: int) -> None:
    """The journal alone gives the same venue and the same events, from the start and from a snapshot on the way; the events alone give the
    public books."""
    encoded = [msgspec.msgpack.encode(sequenced) for sequenced in driver.commands]
    middle = Random(seed).randrange(len(encoded))
    replayed = Venue(STRATEGIES)
    batches = []
    watch = MarketWatch()
    snapshot = replayed.snapshot()
    for number, data in enumerate(encoded):
        if number == middle:
            snapshot = replayed.snapshot()
        batch = replayed.apply(decode_sequenced(data))
        batches.append(batch)
        if batch:
            watch.see(replayed, batch)
    assert [batch for batch in batches if batch] == driver.batches, f"SIM_SEED={seed}"
    assert replayed.state_hash() == driver.venue.state_hash(), f"SIM_SEED={seed}"
    resumed = Venue.restore(snapshot, STRATEGIES)
    assert [resumed.apply(decode_sequenced(data)) for data in encoded[middle:]] == batches[middle:], f"SIM_SEED={seed}"
    assert resumed.snapshot() == replayed.snapshot(), f"SIM_SEED={seed}"
