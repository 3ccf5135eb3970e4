"""A QuickFIX initiator, unmodified, against this venue, with the settings that the documentation has."""

import asyncio
import json
import os
import platform
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from client_environments import client_python, interpreter_for

from support import client_sessions
from support.client_programs import snippets_of
from support.fix_client import FixGateway
from support.tes_venue import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")

SESSION = Path(client_sessions.__file__).parent / "quickfix_trading.py"
DOCUMENT = Path(__file__).parents[2] / "docs" / "clients" / "quickfix.md"
SESSION_SECONDS = 120
CAN_BE_HAD = sys.platform == "linux" and platform.machine() == "x86_64" and interpreter_for("quickfix") is not None
"""It has one wheel. Elsewhere nothing can be done about it, so under CI, where nothing may be skipped, it is not a test there."""
__test__ = CAN_BE_HAD or "CI" not in os.environ
if not CAN_BE_HAD:
    warnings.warn("QuickFIX has no wheel for this machine's Python: the gateway is not tested with it", stacklevel=1)


def settings_of(folder: Path, python: Path, port: int, begin_string: str) -> str:
    """The documented settings, with this gateway's port."""
    [text] = snippets_of(DOCUMENT, "ini")
    dictionary = python.parents[1] / "share" / "quickfix" / f"{begin_string.replace('.', '')}.xml"
    text = text.replace("9878", str(port)).replace("FIX.4.4", begin_string).replace("FIX44.xml", str(dictionary))
    return text.replace("store", str(folder / "store")).replace("UseData", f"FileLogPath={folder / 'log'}\nUseData")


def with_rival(settings: str) -> str:
    """And a second session like the first."""
    head, session = settings.split("[SESSION]")
    return f"{head}[SESSION]{session}\n[SESSION]{session.replace('TRADER', 'RIVAL')}"


def quickfix_python() -> Path:
    python = client_python("quickfix")
    if python is None or not (python.parents[1] / "share" / "quickfix").is_dir():
        pytest.skip(
            "needs QuickFIX: `make clients` on Linux (x86-64) where there is a Python 3.11, the one that it has a wheel for"
        )
    return python


async def key_of(venue: Venue, name: str) -> tuple[str, str]:
    trader = await venue.log_in(name)
    key = (await trader.request("POST", "/v1/api-keys", json={"label": "quickfix"})).json()
    return key["key_id"], key["secret"]


async def output_of(folder: Path, *command: str | Path, **variables: str) -> str:
    """What the program writes; with QuickFIX's own log where it fails."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, **variables}, cwd=folder, stdout=pipe, stderr=pipe
    )
    async with asyncio.timeout(SESSION_SECONDS):
        output, errors = await process.communicate()
    logs = "\n".join(path.read_text() for path in (folder / "log").glob("*") if process.returncode)
    assert process.returncode == 0, errors.decode() + logs
    return output.decode()


async def run_session(venue: Venue, gateway: FixGateway, folder: Path, begin_string: str) -> dict[str, Any]:
    python = quickfix_python()
    (folder / "settings").write_text(with_rival(settings_of(folder, python, gateway.port, begin_string)))
    (folder / "application").write_text(snippets_of(DOCUMENT)[0])
    variables = {
        "BEGIN_STRING": begin_string,
        "SETTINGS": str(folder / "settings"),
        "APPLICATION": str(folder / "application"),
    }
    for name in ("ann", "bob"):
        variables[f"KEY_{name}"], variables[f"SECRET_{name}"] = await key_of(venue, name)
    seen: dict[str, Any] = json.loads(await output_of(folder, python, SESSION, **variables))
    return seen


async def test_documented_program_places_an_order(venue: Venue, gateway: FixGateway, tmp_path: Path) -> None:
    python = quickfix_python()
    (tmp_path / "settings.cfg").write_text(settings_of(tmp_path, python, gateway.port, "FIX.4.4"))
    key_id, secret = await key_of(venue, "ann")
    program = "\n".join([f"key_id, secret = {key_id!r}, {secret!r}", *snippets_of(DOCUMENT)])
    for _ in ("entered", "told as it is"):
        assert (await output_of(tmp_path, python, "-c", program)).splitlines()[-1] == "8 0 first-1"
    ann = await venue.log_in("ann")
    assert [order["client_order_id"] for order in (await ann.get("/v1/orders"))["orders"]] == ["first-1"]
    await ann.cancel_all()


@pytest.mark.parametrize(
    ("begin_string", "partial", "replaced", "away", "transaction", "asked"),
    [("FIX.4.4", "F", "1", "F", "-", ["-", "I", "4"]), ("FIX.4.2", "1", "1", "1", "0", ["3", "4", "4"])],
)
async def test_quickfix_initiator_trades_and_misses_nothing(
    venue: Venue,
    gateway: FixGateway,
    tmp_path: Path,
    begin_string: str,
    partial: str,
    replaced: str,
    away: str,
    transaction: str,
    asked: list[str],
) -> None:
    assert await run_session(venue, gateway, tmp_path, begin_string) == {
        "snapshot": "0",
        "rival": ["r1", "0", "0", "5", "5", "0"],
        "increment": ["0", "1", "AAPL", "231.00", "5"],
        "placed": [["t1", "0", "0", "8", "8", "0"], ["t1", partial, "1", "8", "3", "5"]],
        "amended": ["t2", "5", replaced, "10", "5", "5", "t1"],
        "while away": [["t2", away, "1", "10", "4", "6"], ["t2", away, "1", "10", "3", "7"]],
        "canceled": ["t3", "4", "4", "10", "0", "7", "t2"],
        "too late": ["9", "t4", "t2", "0", "1"],
        "transactions": [transaction],
        "asked": asked,
        "security": "17",
        "session": "2",
        "refused": [],
    }
