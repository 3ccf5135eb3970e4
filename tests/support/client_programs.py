"""Programs of client libraries, each run with the interpreter of its own environment against a venue."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from client_environments import client_python

from support import client_sessions
from support.tes_venue import Venue

SESSIONS = Path(client_sessions.__file__).parent
SESSION_SECONDS = 120


@asynccontextmanager
async def client_program(
    venue: Venue, environment: str, *arguments: str, **variables: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Running, with an API key of each user in its environment; afterwards it has to have ended well."""
    python = client_python(environment)
    if python is None:
        pytest.skip(f"needs the clients of requirements/{environment}.txt: make clients")
    known = {**os.environ, "ADDRESS": venue.tes.url, **variables}
    for name in ("ann", "bob"):
        trader = await venue.log_in(name)
        key = (await trader.request("POST", "/v1/api-keys", json={"label": environment})).json()
        known |= {f"KEY_{name}": key["key_id"], f"SECRET_{name}": key["secret"]}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(python, *arguments, env=known, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(SESSION_SECONDS):
            yield process
            _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def run_program(venue: Venue, environment: str, *arguments: str) -> str:
    """What a program wrote."""
    async with client_program(venue, environment, *arguments) as process:
        assert process.stdout is not None
        return (await process.stdout.read()).decode()


async def run_session(
    venue: Venue,
    environment: str,
    session: str,
    acts: dict[str, Callable[[], Awaitable[None]]] | None = None,
    **variables: str,
) -> dict[str, Any]:
    """What a client's session saw. It may write words on the way: then it waits until that act is done."""
    async with client_program(venue, environment, str(SESSIONS / f"{session}.py"), **variables) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        while line := await process.stdout.readline():
            word = line.decode().strip()
            if word not in (acts or {}):
                seen: dict[str, Any] = json.loads(word)
                return seen
            await (acts or {})[word]()
            process.stdin.write(b"done\n")
    raise AssertionError(f"{session} wrote nothing that it saw")


def snippets_of(document: Path, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)


def pointed_at(venue: Venue, snippet: str) -> str:
    """A document's example, with the address of this venue."""
    return snippet.replace("127.0.0.1:8000", venue.tes.url.partition("://")[2])


async def run_snippet(venue: Venue, environment: str, snippet: str) -> str:
    """The same with a key, run."""
    code = "import os\nkey_id, secret = os.environ['KEY_ann'], os.environ['SECRET_ann']\n" + snippet
    return await run_program(venue, environment, "-c", pointed_at(venue, code))
