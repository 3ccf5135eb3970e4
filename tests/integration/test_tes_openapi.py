"""Requests made from the OpenAPI document, sound ones and broken ones: no answer is an error of the server's, and each is documented.

A few hundred cases run with all tests, thousands in the soak. They are the same each time; a failure names the case.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import jsonschema_rs
import pytest
import pytest_asyncio
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    status_code_conformance,
)

from support.tes_venue import PASSWORD, Venue, running_venue, venue_config

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN_PASSWORD = "the-administrator-1"
CASES_OF_AN_OPERATION = 9
CASES_IN_THE_SOAK = 150
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
]
"""And the schemas of the answers, which are compared here: the tool takes tuples (`prefixItems`) for invalid in an answer."""
MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def venue(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    """With a history, an open order, and the book and the trades of a market."""
    folder = tmp_path_factory.mktemp("v")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRADING_ENGINE_ADMIN_PASSWORD", ADMIN_PASSWORD)
        async with running_venue(venue_config(folder)) as venue, venue.keeping_history():
            ann, bob = await venue.log_in("ann"), await venue.log_in("bob")
            await ann.place("sell", "10", "230.00")
            await bob.place("buy", "5", "230.00")
            yield venue


class Requests:
    """Cases of each operation, sent by somebody who may do it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False
        self._document = self._json("GET", "/openapi.json")
        self._schema = schemathesis.openapi.from_dict(self._document)
        self._validators: dict[str, Any] = {}
        self._logins = {name: self._log_in(name, word) for name, word in (("ann", PASSWORD), ("admin", ADMIN_PASSWORD))}
        self.sent = 0

    def _json(self, method: str, path: str, **options: Any) -> Any:
        response = self._session.request(method, self._url + path, timeout=20, **options)
        response.raise_for_status()
        return response.json()

    def _log_in(self, name: str, password: str) -> dict[str, str]:
        tokens = self._json("POST", "/v1/auth/login", json={"username": name, "password": password})
        return {"Authorization": f"Bearer {tokens['access_token']}"}

    def operations(self) -> Iterator[Any]:
        for result in self._schema.get_all_operations():
            assert isinstance(result, Ok), result
            yield result.ok()

    def failures_of(self, operation: Any, mode: GenerationMode, count: int) -> list[str]:
        """What was wrong with the answers to so many cases at the most."""
        wrong: list[str] = []
        sender = "admin" if "Administration" in operation.tags else "ann"

        @seed(1)
        @settings(
            max_examples=count,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def send(case: Any) -> None:
            self.sent += 1
            headers = self._logins[sender]
            try:
                response = case.call_and_validate(
                    base_url=self._url, session=self._session, headers=headers, checks=CHECKS, timeout=20
                )
            except FailureGroup as group:
                wrong.extend(f"{operation.label}: {failure}" for failure in group.exceptions)
            else:
                wrong.extend(f"{operation.label}: {error}" for error in self._schema_errors(operation, response))

        try:
            send()
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE, operation.label
            assert not operation.body, f"{operation.label}: nothing broken could be made"
        return wrong

    def _schema_errors(self, operation: Any, response: Any) -> list[str]:
        """Where the answer is not what the document says of this status."""
        content = operation.definition.raw["responses"][str(response.status_code)].get("content")
        if content is None:
            return [] if not response.content else ["an answer without a body has one"]
        reference = content["application/json"]["schema"]["$ref"]
        if reference not in self._validators:
            root = {"$ref": reference, "components": self._document["components"]}
            self._validators[reference] = jsonschema_rs.Draft202012Validator(root)
        return [str(error)[:500] for error in self._validators[reference].iter_errors(response.json())]


def failures(url: str, mode: GenerationMode, count: int) -> tuple[int, list[str]]:
    made = Requests(url)
    wrong = [failure for operation in made.operations() for failure in made.failures_of(operation, mode, count)]
    return made.sent, wrong


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
async def test_answers_are_documented_and_no_error_of_the_server(venue: Venue, mode: GenerationMode) -> None:
    sent, wrong = await asyncio.to_thread(failures, venue.tes.url, mode, CASES_OF_AN_OPERATION)
    assert wrong == []
    assert sent >= 200


@pytest.mark.soak
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
async def test_answers_to_thousands_of_requests_are_documented(venue: Venue, mode: GenerationMode) -> None:
    sent, wrong = await asyncio.to_thread(failures, venue.tes.url, mode, CASES_IN_THE_SOAK)
    assert wrong == []
    assert sent >= 3_000
