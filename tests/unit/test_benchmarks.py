"""The parts of the benchmarks whose mistakes would not show in a table."""

from itertools import islice

import pytest
from benchmarks import calibration
from benchmarks.cpu import CpuMeter, bottleneck
from benchmarks.figures import latency_figures, percentile
from benchmarks.flatness import stream
from benchmarks.sustained_flow import ACCOUNTS, COMMANDS_PER_CYCLE, ORDERS_PER_CYCLE, RESTING_CYCLES, flow, opening
from benchmarks.sustained_load import Lag, Marks, keeps_up
from benchmarks.workload import canonical, instrument

from trading_engine.venue import Venue
from trading_engine.venue.commands import (
    AnyCommand,
    CancelOrder,
    ListInstrument,
    PlaceOrder,
    ReplaceOrder,
    SequencedCommand,
    SetTradingPhase,
)
from trading_engine.venue.events import EventBatch, OrderRejected, TradeExecuted
from trading_engine.venue.fast.bare_book import BareBook
from trading_engine.venue.fast.order_book import REFUSED, TRADED
from trading_engine.venue.terms import TradingPhase


@pytest.mark.parametrize(("percent", "value"), [(0, 1.0), (50, 50.0), (99, 99.0), (99.5, 100.0), (100, 100.0)])
def test_percentile_is_the_nearest_rank(percent: float, value: float) -> None:
    assert percentile([float(number) for number in range(1, 101)], percent) == value


def test_latencies_become_milliseconds() -> None:
    figures = latency_figures("answer", [3_000_000, 1_000_000, 2_000_000])
    assert [(figure.name, figure.value, figure.unit) for figure in figures] == [
        ("answer, p50", 2.0, "ms"),
        ("answer, p99", 3.0, "ms"),
        ("answer, max", 3.0, "ms"),
    ]


def test_calibration_loop_is_the_one_that_it_always_was() -> None:
    """`measure` checks what the loop comes to: another loop would make all earlier ratios worthless."""
    assert calibration.measure() > 0


def test_canonical_workload_is_the_same_each_time_and_has_the_mix_it_says() -> None:
    first, second = canonical(2_000), canonical(2_000)
    assert first.commands == second.commands
    replayed = Venue()
    for command in first.commands:
        replayed.apply(command)
    assert replayed.state_hash() == first.venue.state_hash()
    kinds = [type(sequenced.command) for sequenced in first.commands[-2_000:]]
    takes = sum(
        isinstance(sequenced.command, PlaceOrder) and sequenced.command.time_in_force.is_immediate
        for sequenced in first.commands[-2_000:]
    )
    assert kinds.count(PlaceOrder) - takes == pytest.approx(900, abs=100)
    assert kinds.count(CancelOrder) == pytest.approx(800, abs=100)
    assert kinds.count(ReplaceOrder) == pytest.approx(200, abs=60)
    assert takes == pytest.approx(100, abs=50)
    assert 3_000 < first.venue.open_order_count < 7_000


@pytest.mark.parametrize("is_young", [True, False])
def test_flatness_messages_trade_and_leave_about_as_many_orders_as_there_were(is_young: bool) -> None:
    fill, messages = stream(1_000, 100, 4_000, is_young)
    book = BareBook()
    book.apply(fill)
    assert len(book) == 1_000
    reports = book.apply(messages)
    assert 990 <= len(book) <= 1_000
    assert (reports["kind"] == TRADED).sum() == 200
    refused = (reports["kind"] == REFUSED).sum()
    assert refused <= 1_000 - len(book)


def test_bottleneck_is_named_by_the_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    busy = {"OBS": 2.0, "TES": 9.5, "client": 1.0, "others": 0.5, "elapsed": 10.0}
    assert bottleneck(busy) == "bottleneck: TES (OBS 20%, TES 95%, client 10%, others 5% of a core)"
    shared = {"OBS": 5.0, "TES": 8.0, "client": 5.0, "others": 1.0, "elapsed": 10.0}
    assert bottleneck(shared).startswith("bottleneck: all 2 cores, most by TES (")
    crowded = {"OBS": 3.0, "TES": 5.0, "client": 1.0, "others": 11.0, "elapsed": 10.0}
    assert bottleneck(crowded).startswith("bottleneck: none of them, the cores are full with other work (")
    waiting = {"OBS": 1.0, "TES": 2.0, "client": 1.0, "elapsed": 10.0}
    assert bottleneck(waiting).startswith("bottleneck: none of them")


def test_cpu_meter_sees_this_process_work() -> None:
    meter = CpuMeter({})
    while meter.read()["client"] < 0.05:
        sum(range(10_000))
    assert meter.read()["elapsed"] > 0


def applied(venue: Venue, commands: list[AnyCommand]) -> list[EventBatch]:
    first = venue.command_sequence + 1
    numbered = [SequencedCommand(first + place, 1, "bench", first + place, each) for place, each in enumerate(commands)]
    return [batch for command in numbered if (batch := venue.apply(command)) is not None]


def test_sustained_flow_is_taken_whole_and_leaves_the_book_as_deep_as_it_was() -> None:
    venue, first_account = Venue(), 100
    applied(venue, [ListInstrument(instrument(number)) for number in range(1, 6)])
    applied(venue, [SetTradingPhase(0, TradingPhase.CONTINUOUS), *opening(first_account)])
    assert all(venue.account(first_account + number) for number in range(ACCOUNTS))
    commands = flow(first_account)
    applied(venue, list(islice(commands, RESTING_CYCLES * COMMANDS_PER_CYCLE)))
    depth = venue.open_order_count
    cycles = 50
    some = list(islice(commands, cycles * COMMANDS_PER_CYCLE))
    events = [event for batch in applied(venue, some) for event in batch.events]
    assert sum(isinstance(command, PlaceOrder) for command in some) == cycles * ORDERS_PER_CYCLE
    assert sum(isinstance(event, TradeExecuted) for event in events) == cycles
    assert not [event for event in events if isinstance(event, OrderRejected)]
    assert abs(venue.open_order_count - depth) <= ORDERS_PER_CYCLE
    assert depth == pytest.approx(4_000, abs=10)


def test_marks_tell_the_age_of_the_first_event_beyond_a_place() -> None:
    marks = Marks()
    for position, time_ns in ((3, 1_000_000), (7, 2_000_000), (9, 5_000_000)):
        marks.add(position, time_ns)
    assert marks.lag(2, 6_000_000) == Lag(5.0, 7)
    assert marks.lag(3, 6_000_000) == Lag(4.0, 6)
    assert marks.lag(8, 6_000_000) == Lag(1.0, 1)
    assert marks.lag(9, 6_000_000) == Lag(0.0, 0)
    marks.forget(9)
    assert (marks.last, marks.lag(9, 6_000_000)) == (9, Lag(0.0, 0))


def test_a_load_is_kept_up_with_when_the_lag_does_not_grow() -> None:
    steady = [50.0, 0.0] * 100
    assert keeps_up(steady)
    assert keeps_up([1_000.0] * 200), "behind from the beginning, and no further"
    assert not keeps_up([0.0] * 3), "too few to tell"
    growing = [25.0 * sample * 0.04 for sample in range(200)]
    assert keeps_up(growing), "4 % of shortfall in five seconds are 100 ms in half of it"
    assert not keeps_up([25.0 * sample * 0.06 for sample in range(200)])
