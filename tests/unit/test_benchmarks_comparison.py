"""The comparison compares what it says: our own books stand in for the others here, so nothing is downloaded."""

import sys
from pathlib import Path

import pytest
from benchmarks import book_workload, comparison_driver
from benchmarks.comparison import (
    OURS,
    PACKAGES,
    Package,
    Result,
    Stream,
    agreement,
    environment,
    figure_of,
    make_stream,
    measure,
    measure_ours,
)
from benchmarks.figures import Figure
from benchmarks.processes import BenchmarkFailed

PYTHON = Path(sys.executable)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Stream, list[Figure]]:
    """A stream of 400 messages, with the reference's trades, and what our books did with it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(book_workload, "_fill", book_workload._fill_python)  # To compile it takes longer than to run it.
        stream = make_stream(tmp_path_factory.mktemp("comparison"), 400)
    return stream, measure_ours(stream)


@pytest.fixture
def stream(measured: tuple[Stream, list[Figure]]) -> Stream:
    return measured[0]


def test_stream_has_all_kinds_of_messages_and_trades(stream: Stream) -> None:
    kinds = [kind for kind, *_ in comparison_driver.read(stream.path)]
    assert len(kinds) == 400
    assert min(kinds.count(kind) for kind in (0, 1, 2)) > 10
    assert len(stream.trades) > 20
    assert stream.levels


def test_our_books_agree_with_each_other(measured: tuple[Stream, list[Figure]]) -> None:
    stream, figures = measured
    assert stream.ours.keys() == set(OURS)
    assert len(figures) == len(OURS)
    for figure in figures:
        assert f"all {len(stream.trades):,} trades agree" in figure.note


def test_book_that_keeps_up_gets_the_longest_stream(stream: Stream) -> None:
    result = measure("reference venue", PYTHON, [stream, stream])
    assert result.agreement.startswith("all ")
    assert len(result.repeats) == 3
    figure = figure_of("it", result)
    assert figure.value == max(result.repeats)
    assert "400 messages, about 20 resting" in figure.note


def test_what_is_told_is_compared_in_the_terms_in_which_it_is_told() -> None:
    levels = [[0, 99, 3]]
    stream = Stream(Path(), 9, 1, levels, [[1, 9, 100, 2], [2, 9, 100, 3], [3, 9, 101, 4], [4, 10, 101, 5]])
    assert stream.expected("makers") == [[1, 100, 2], [2, 100, 3], [3, 101, 4], [4, 101, 5]]
    assert stream.expected("prices") == [[9, 100, 5], [9, 101, 4], [10, 101, 5]]
    assert stream.expected("book") == levels
    assert stream.expected("trades") == stream.trades


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([[1, 2, 100, 5], [1, 3, 100, 6]], "all 2 trades agree"),
        ([[1, 2, 100, 5], [1, 3, 101, 6]], "DIFFERS from trade 2 of 2 on"),
        ([[1, 2, 100, 5]], "DIFFERS from trade 2 of 2 on"),
        ([], "DIFFERS from trade 1 of 2 on"),
        ([[1, 2, 100, 5], [1, 3, 100, 6], [1, 3, 100, 6]], "DIFFERS from trade 3 of 2 on"),
    ],
)
def test_first_difference_is_named(rows: list[list[int]], said: str) -> None:
    stream = Stream(Path(), 9, 1, [], [[1, 2, 100, 5], [1, 3, 100, 6]])
    assert agreement({"tells": "trades", "rows": rows}, stream) == said


def test_ratio_is_to_our_books_on_the_same_stream() -> None:
    ours = {"fast core, one by one": 500.0, "fast core, in batches": 2_000.0}
    own = Stream(Path(), 2_000, 100, [], [], ours)
    assert figure_of("it", Result(100.0, (100.0,), own, "")).note.startswith("ours: x5.0 one by one, x20 in batches;")


def test_package_that_cannot_be_installed_is_a_reported_failure(tmp_path: Path) -> None:
    package = Package("nothing", (str(tmp_path / "no-such-package"),), "nothing")
    with pytest.raises(BenchmarkFailed, match="could not be installed"):
        environment(tmp_path / "nothing", package)


def test_book_that_fails_is_a_reported_failure(stream: Stream) -> None:
    """None of the packages is in the project's own environment."""
    with pytest.raises(BenchmarkFailed, match="on 400 messages: ModuleNotFoundError"):
        measure(PACKAGES[0].name, PYTHON, [stream])


def test_book_that_fails_on_a_longer_stream_keeps_its_figure_and_the_failure_is_told(stream: Stream) -> None:
    missing = Stream(Path("no-such-stream.bin"), 4_000, 200, [])
    result = measure("reference venue", PYTHON, [stream, missing])
    assert result.stream is stream
    assert "trades agree; FAILS on 4,000 messages: FileNotFoundError" in result.agreement


def test_every_package_has_its_adapter_and_a_version() -> None:
    assert [package.name for package in PACKAGES] == [name for name in comparison_driver.ADAPTERS if name not in OURS]
    for package in PACKAGES:
        assert package.requirements[0].startswith(f"{package.name}==")
