"""kill -9 of the OBS, of the TES and of both at once, at random moments under load; then everything has to agree.

What clients were told is the measure: each acknowledged order exists exactly once, each acknowledged cancel is in effect, no event was
delivered twice, and the database, the API and a replay of the journal from its first command agree to the last cent and share.

CRASH_SEED makes it another; `make soak` runs a hundred rounds.
"""

import random
from pathlib import Path

import pytest

from support.processes import VenueProcesses, venue_processes
from support.venue_under_load import CONFIGURATION, SEED, check_all_agrees, run_under_load

VICTIMS = [("obs",), ("tes",), ("obs", "tes"), ("obs", "tes")]


async def kill(venue: VenueProcesses, rng: random.Random) -> None:
    victims = rng.choice(VICTIMS)
    venue.kill(*victims)
    for name in rng.sample(victims, len(victims)):
        venue.start(name, "-s", name.upper())


@pytest.mark.parametrize("rounds", [4, pytest.param(100, marks=pytest.mark.soak)])
async def test_venue_killed_at_random_moments_keeps_what_it_acknowledged_and_nothing_twice(
    rounds: int, tmp_path: Path
) -> None:
    print(f"CRASH_SEED={SEED}")  # noqa: T201 (shown when the test fails)
    with venue_processes(tmp_path, CONFIGURATION) as venue:
        venue.start_servers()
        venue.wait_ready()
        records = await run_under_load(venue, random.Random(SEED), rounds, kill)
        await check_all_agrees(venue, records, rounds)
