"""FIX in front of two order book servers: each has events of its own, and of each a session is told all, once."""

from pathlib import Path

from msgspec.structs import replace

from support.fix_client import FixClient, fix_gateway, shown
from support.tes_venue import running_venue, venue_config


def order_on_each(client: FixClient, prefix: str, side: str) -> None:
    client.order(f"{prefix}a", side, "10", "230.00", (59, "1"))
    client.order(f"{prefix}c", side, "0.02", "60000.0", (59, "1"), (55, "COIN"))


async def test_session_over_two_shards_is_told_each_event_of_both_once(tmp_path: Path) -> None:
    config = venue_config(tmp_path)
    aapl, coin = config.venue.instruments
    config = replace(config, venue=replace(config.venue, shards=2, instruments=(aapl, replace(coin, shard=1))))
    async with (
        running_venue(config) as venue,
        fix_gateway(venue) as gateway,
        gateway.client() as ann,
        gateway.client("bob") as bob,
    ):
        await ann.log_on()
        await bob.log_on()
        order_on_each(ann, "1", "1")
        assert {(await ann.report())[11] for _ in range(2)} == {"1a", "1c"}
        ann.replace("2a", "1a", "20", "230.00")
        assert shown(await ann.report(), 11, 150) == ["2a", "5"]
        await ann.log_out()
        order_on_each(bob, "3", "2")
        for _ in range(4):
            await bob.report()
        await ann.log_on()
        told = {tuple(shown(await ann.report(), 11, 39)) for _ in range(2)}
        assert told == {("2a", "1"), ("1c", "2")}
        await ann.log_out()
        await ann.log_on()
        ann.cancel("4a", "2a")
        assert shown(await ann.report(), 11, 41, 39) == ["4a", "2a", "4"]
        assert ann.seen == []
