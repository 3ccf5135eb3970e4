"""Log lines: one record, one line, whatever is in it."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from trading_engine.shared.log import FIELD_CHARACTERS_MAX, fields, setup_logging

log = logging.getLogger("trading_engine.servers.obs.journal")


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before, level


def written(form: str, message: str, *arguments: object, **values: object) -> str:
    stream = io.StringIO()
    setup_logging("info", form, stream)
    log.debug("not this")
    log.info(message, *arguments, extra=fields(**values))
    return stream.getvalue()


def test_text_line_has_time_level_name_message_and_fields() -> None:
    line = written("text", "journal %s", "opened", segment=3, path="/a b", empty="")
    assert line[4] == "-"
    assert line[24:] == ' INFO servers.obs.journal: journal opened segment=3 path="/a b" empty=""\n'


def test_text_line_with_control_characters_stays_one_line() -> None:
    line = written("text", "a\nb", value="x\ny\x1b[0m")
    assert line.count("\n") == 1
    assert r"a\nb value=x\ny\x1b[0m" in line


def test_long_field_is_cut() -> None:
    assert len(written("text", "m", value="x" * 10_000)) < FIELD_CHARACTERS_MAX + 100


def test_json_line_is_one_object() -> None:
    document = json.loads(written("json", "a\nb", number=3, text="ü"))
    assert {key: document[key] for key in ("level", "name", "message", "number", "text")} == {
        "level": "INFO",
        "name": "servers.obs.journal",
        "message": "a\nb",
        "number": 3,
        "text": "ü",
    }


@pytest.mark.parametrize("form", ["text", "json"])
def test_exception_is_in_the_log(form: str) -> None:
    stream = io.StringIO()
    setup_logging("INFO", form, stream)
    try:
        raise ValueError("what went wrong")
    except ValueError:
        log.exception("failed")
    assert "ValueError: what went wrong" in stream.getvalue()
