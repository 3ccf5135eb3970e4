"""LOBSTER rows: what is read, and what is said about rows that cannot be."""

import gzip
from pathlib import Path

import pytest

from trading_engine.simulation.replay.lobster_files import (
    BookRow,
    Message,
    MessageType,
    ReplayError,
    book_shape,
    parse_message,
    read_book_rows,
    read_messages,
    recording_of,
)
from trading_engine.venue.terms import Side

FILE = Path("day.csv")


def write(path: Path, *rows: str) -> Path:
    path.write_text("".join(row + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("34200.004241176,1,16113575,18,5853300,1", (34_200_004_241_176, 1, 16113575, 18, 5853300, Side.BUY)),
        ("34200.00426064,2,16113584,18,5853200,-1", (34_200_004_260_640, 2, 16113584, 18, 5853200, Side.SELL)),
        ("34200,3,5,1,1,1", (34_200_000_000_000, 3, 5, 1, 1, Side.BUY)),
        ("0.5,4,5,1,1,-1", (500_000_000, 4, 5, 1, 1, Side.SELL)),
        ("35821.088778456004,5,0,100,5851550,1", (35_821_088_778_456, 5, 0, 100, 5851550, Side.BUY)),
        ("57600.1,6,-1,5000,5863000,-1", (57_600_100_000_000, 6, -1, 5000, 5863000, Side.SELL)),
        ("40000.1,7,0,0,-1,-1", (40_000_100_000_000, 7, 0, 0, -1, Side.SELL)),
        ("34200.5,1,7,100,5853300,-1,NSDQ", (34_200_500_000_000, 1, 7, 100, 5853300, Side.SELL)),
        ("34200.5,1,7,100,5853300,-1,null\r\n", (34_200_500_000_000, 1, 7, 100, 5853300, Side.SELL)),
    ],
)
def test_message_row_of_each_type_is_read(row: str, message: tuple[int, int, int, int, int, Side]) -> None:
    time_ns, message_type, order_id, size, price, side = message
    expected = Message(3, time_ns, MessageType(message_type), order_id, size, price, side)
    assert parse_message(FILE, 3, row) == expected


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("34200.1,1,1,18,5853300", "row '34200.1,1,1,18,5853300' has 5 fields, a message has 6: time, type, order id"),
        ("", "row '' has 1 fields, a message has 6"),
        ("1,1,1,1,1,1,1,1", "has 8 fields"),
        ("time,type,id,size,price,direction", "time 'time' is not seconds after midnight"),
        ("34200.1e3,1,1,18,5853300,1", "time '34200.1e3' is not seconds after midnight"),
        ("-1,1,1,18,5853300,1", "time '-1' is not seconds after midnight"),
        ("34200.1,8,1,18,5853300,1", "type '8' is not one of 1 to 7"),
        ("34200.1,0,1,18,5853300,1", "type '0' is not one of 1 to 7"),
        ("34200.1,1,x1,18,5853300,1", "order id 'x1' is not a whole number"),
        ("34200.1,1,1,1_8,5853300,1", "size '1_8' is not a whole number of shares"),
        ("34200.1,1,1,-18,5853300,1", "size '-18' is not a whole number of shares"),
        ("34200.1,1,1,٣,5853300,1", "size '٣' is not a whole number of shares"),
        ("34200.1,1,1,0,5853300,1", "size '0' is not greater than zero"),
        ("34200.1,1,1,18,585.33,1", "price '585.33' is not a whole number of 1/10000 dollar"),
        ("34200.1,4,1,18,0,1", "price '0' is not greater than zero"),
        ("34200.1,1,1,18,-5853300,1", "price '-5853300' is not greater than zero"),
        ("34200.1,1,1,18,5853300,2", "direction '2' is not 1 (buy) or -1 (sell)"),
        ("34200.1,1,1,18,5853300,0", "direction '0' is neither 1 (buy) nor -1 (sell)"),
        ("34200.1,7,0,0,2,-1", "price '2' is none of -1 (halt), 0 (quoting resumes), 1 (trading resumes)"),
        ("x" * 500, "row '" + "x" * 60 + "…' has 1 fields"),
    ],
)
def test_message_row_that_is_malformed_is_named_with_line_and_value(row: str, complaint: str) -> None:
    with pytest.raises(ReplayError) as caught:
        parse_message(FILE, 17, row)
    assert str(caught.value).startswith("day.csv, line 17: ")
    assert complaint in str(caught.value)


def test_messages_whose_time_goes_back_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "m.csv", "34200.2,1,1,1,100,1", "34200.1,1,2,1,100,1")
    with pytest.raises(ReplayError, match=r"m\.csv, line 2: time '34200\.1' goes back"):
        list(read_messages(path))


def test_file_that_is_missing_or_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match=r"nowhere\.csv: No such file or directory\."):
        list(read_messages(tmp_path / "nowhere.csv"))
    with pytest.raises(ReplayError, match="Is a directory"):
        list(read_messages(tmp_path))
    packed = tmp_path / "packed.csv"
    packed.write_bytes(gzip.compress(b"34200.2,1,1,1,100,1\n", mtime=0))
    with pytest.raises(ReplayError, match=r"packed\.csv, line 1: "):
        list(read_messages(packed))


def test_book_row_leaves_out_levels_that_are_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "b.csv", "101,5,99,7,102,1,-9999999999,0", "9999999999,0,99,7,9999999999,0,98,2")
    assert list(read_book_rows(path)) == [
        BookRow(1, [(101, 5), (102, 1)], [(99, 7)]),  # type: ignore[list-item]  # a Level is a tuple
        BookRow(2, [], [(99, 7), (98, 2)]),  # type: ignore[list-item]
    ]
    assert book_shape(path) == (2, 2)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ((), "holds no rows"),
        (("101,5,99",), "line 1: row '101,5,99' has 3 fields, which is not a multiple of four"),
        (
            ("101,5,99,7", "101,5,99,7,102,1,98,1"),
            "line 2: row '101,5,99,7,102,1,98,1' has 8 fields, the first row has 4",
        ),
        (("101,5,ninety,7",), "line 1: field 3 'ninety' is not a whole number"),
    ],
)
def test_book_file_that_is_malformed_is_named_with_line_and_value(
    tmp_path: Path, rows: tuple[str, ...], complaint: str
) -> None:
    path = write(tmp_path / "b.csv", *rows)
    with pytest.raises(ReplayError) as caught:
        [book_shape(path), *read_book_rows(path)]
    assert complaint in str(caught.value)


def test_recording_is_taken_from_the_file_name() -> None:
    summer = recording_of(Path("x/AAPL_2012-06-21_34200000_57600000_message_10.csv"))
    assert summer == ("AAPL", 1_340_251_200 * 10**9)  # 2012-06-21T00:00:00-04:00
    winter = recording_of(Path("BRK.A_2013-01-02_34200000_57600000_message_1.csv"))
    assert winter == ("BRK.A", 1_357_102_800 * 10**9)  # 2013-01-02T00:00:00-05:00
    assert recording_of(Path("messages.csv")) == ("LOBSTER", 0)
    assert recording_of(Path("X_2013-13-02_1_2_message_1.csv")) == ("X", 0)
