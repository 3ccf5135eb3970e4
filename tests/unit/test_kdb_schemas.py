"""What can be said of `schemas.q` without a q: that it agrees with the schema, with what the client calls, and with its twin."""

import re
from pathlib import Path

import pytest

from trading_engine.database import historical
from trading_engine.database.historical.records import ListedInstrument
from trading_engine.database.historical.schema import TABLES, Table

FOLDER = Path(historical.__file__).parent
SCHEMAS = (FOLDER / "schemas.q").read_text(encoding="utf-8")
QUERIES = (FOLDER / "queries.q").read_text(encoding="utf-8")
TWIN = (Path(__file__).parents[1] / "support" / "kdb_server.pep").read_text(encoding="utf-8")


def columns_of(text: str, table: str) -> list[str]:
    found = re.search(rf"^{table}:.*?\(\[\](.*)\)", text, re.MULTILINE)
    assert found, table
    return [column.partition(":")[0] for column in found[1].split(";")]


def functions_of(text: str) -> dict[str, int]:
    """Name to number of parameters."""
    found = re.findall(r"^(\.(?:te|u)\.\w+):\{\[([\w;]*)\]", text, re.MULTILINE)
    return {name: parameters.count(";") + 1 for name, parameters in found}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
@pytest.mark.parametrize("text", [SCHEMAS, TWIN], ids=["schemas.q", "twin"])
def test_table_of_the_schema_is_defined_with_its_columns(table: Table, text: str) -> None:
    assert tuple(columns_of(text, table.name)) == table.columns
    assert table.columns[:2] == ("time", "sym")


@pytest.mark.parametrize("text", [SCHEMAS, TWIN], ids=["schemas.q", "twin"])
def test_instruments_and_progress_have_the_columns_that_are_told(text: str) -> None:
    assert columns_of(text, "instrument") == ["time", "sym", *ListedInstrument.__struct_fields__[1:]]
    assert columns_of(text, "progress") == ["time", "sym", "sequence"]


def test_every_function_that_is_called_is_defined_with_as_many_parameters_as_in_the_tests() -> None:
    ours, twins, shared = functions_of(SCHEMAS), functions_of(TWIN), functions_of(QUERIES)
    client = (FOLDER / "kdb_history.py").read_text(encoding="utf-8")
    called = set(re.findall(r'"(\.(?:te|u)\.\w+)"', client)) | set(re.findall(r"\.te\.\w+", QUERIES))
    assert called == {name for name in called if name in ours or name in shared}
    assert called - shared.keys() == twins.keys()
    for name, parameters in twins.items():
        assert ours[name] == parameters, name


@pytest.mark.parametrize("text", [SCHEMAS, QUERIES], ids=["schemas.q", "queries.q"])
def test_no_line_comments_out_what_follows(text: str) -> None:
    """In q a slash alone on a line begins a comment that goes on to a backslash alone; a backslash alone ends the file."""
    assert not [line for line in text.splitlines() if line.strip() in ("/", "\\")]


@pytest.mark.parametrize("text", [SCHEMAS, QUERIES], ids=["schemas.q", "queries.q"])
def test_brackets_are_balanced_outside_comments(text: str) -> None:
    code = "\n".join(line for line in text.splitlines() if not line.startswith("/"))
    for opening, closing in ("()", "[]", "{}"):
        assert code.count(opening) == code.count(closing)
