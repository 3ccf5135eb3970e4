"""docs/security.md says of roles and scopes what the table in the code says."""

import re
from pathlib import Path

from trading_engine.database.transactional.records import Role
from trading_engine.servers.tes.services.permissions import (
    PERMISSIONS_OF_ROLE,
    PERMISSIONS_OF_SCOPE,
    Permission,
    Scope,
)

DOCUMENT = (Path(__file__).parents[2] / "docs" / "security.md").read_text()


def tables() -> list[list[list[str]]]:
    """Rows of cells, of each table of the section about roles."""
    section = DOCUMENT.split("## Roles")[1].split("\n## ")[0]
    blocks = [block.splitlines() for block in section.split("\n\n") if block.startswith("|")]
    return [[[cell.strip() for cell in line.strip("|").split("|")] for line in block] for block in blocks]


def test_document_says_what_each_role_may_do() -> None:
    head, _, *rows = tables()[0]
    roles = [Role(name) for name in head[1:]]
    documented = {
        row[0].split(":")[0]: {role for role, mark in zip(roles, row[1:], strict=True) if mark} for row in rows
    }
    assert documented == {
        permission.value: {role for role in Role if permission in PERMISSIONS_OF_ROLE[role]}
        for permission in Permission
    }


def test_tests_that_the_document_names_are_there() -> None:
    named = set(re.findall(r"test_\w+\.py", DOCUMENT))
    known = {path.name for path in Path(__file__).parents[1].glob("*/test_*.py")}
    assert named
    assert named <= known


def test_document_says_what_each_scope_carries() -> None:
    _, _, *rows = tables()[1]
    documented = {row[0].strip("`"): set(row[1].split(", ")) for row in rows}
    assert documented == {scope.value: {p.value for p in PERMISSIONS_OF_SCOPE[scope]} for scope in Scope}
