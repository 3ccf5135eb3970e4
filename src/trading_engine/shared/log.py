"""Logs: one line per record on standard error, as text or as JSON, with fields beside the message.

    log = logging.getLogger(__name__)
    log.info("journal opened", extra=fields(segment=3, sequence=4711))

gives `2026-01-05T14:30:00.123Z INFO servers.obs.journal: journal opened segment=3 sequence=4711`. A value never breaks the line: what
is not printable is escaped, and what has spaces is quoted.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

PACKAGE = "trading_engine."
FIELD_CHARACTERS_MAX = 2_000
"""A longer value is cut: a log line is no place for a message body."""


def fields(**values: object) -> dict[str, dict[str, object]]:
    """What to pass as `extra` so that the values stand beside the message."""
    return {"fields": values}


def setup_logging(level: str = "INFO", form: str = "text", stream: TextIO | None = None) -> None:
    """Send all logs to `stream` (standard error). `form` is `text` or `json`. Calling it again replaces the first set-up."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        words = [
            f"{time_of(record)} {record.levelname} {name_of(record)}: {one_line(record.getMessage())}",
            *(f"{key}={quoted(value)}" for key, value in fields_of(record).items()),
        ]
        line = " ".join(words)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            "time": time_of(record),
            "level": record.levelname,
            "name": name_of(record),
            "message": record.getMessage(),
            **{
                key: value if isinstance(value, int | float | bool) else cut(str(value))
                for key, value in fields_of(record).items()
            },
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False)


def time_of(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def name_of(record: logging.LogRecord) -> str:
    return record.name.removeprefix(PACKAGE)


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    values = getattr(record, "fields", None)
    return values if isinstance(values, dict) else {}


def cut(text: str) -> str:
    return text if len(text) <= FIELD_CHARACTERS_MAX else text[:FIELD_CHARACTERS_MAX] + "…"


def one_line(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def quoted(value: object) -> str:
    text = one_line(cut(str(value)))
    return json.dumps(text, ensure_ascii=False) if not text or " " in text or '"' in text or "=" in text else text
