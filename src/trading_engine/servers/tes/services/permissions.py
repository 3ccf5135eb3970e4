"""Who may do what: the one table of roles, and what of it an API key carries.

A user may do what the role has. An API key may do what its owner may *and* its scopes name: it never does more than its owner, and nothing
that its owner did not give it. Those who run the venue do not trade on it.

Each thing that needs a permission asks for it where it is done (`Principal.require`), not where the request came in: so every API that
leads there, and every one that will, is held to the same table.
"""

from collections.abc import Iterable
from enum import StrEnum

from trading_engine.database.transactional.records import Role


class Permission(StrEnum):
    """Each value completes "may not …"."""

    READ = "read the account"
    """Orders, fills, positions, cash, results, the private stream: one's own."""
    TRADE = "trade"
    """Place, replace and cancel one's own orders, and say what becomes of them when one is gone."""
    MANAGE_ACCESS = "manage API keys and passwords"
    """One's own: only somebody who has logged in, so that no key makes itself another that may do more."""
    READ_ALL = "read everybody's results"
    READ_AUDIT = "read the audit log"
    OPERATE = "operate the market"
    """Suspend accounts, throw the kill switch, follow the orders of all accounts."""
    ADMINISTER = "administer users"
    """Make them, give them roles, shut them out; begin an account again; scenarios of a venue under test."""


class Scope(StrEnum):
    """What an API key is for."""

    READ = "read"
    TRADE = "trade"
    ADMIN = "admin"
    """What the owner's role has beyond an own account. No key has it unless it was asked for."""


OWN_ACCOUNT = frozenset({Permission.READ, Permission.MANAGE_ACCESS})
PERMISSIONS_OF_ROLE: dict[str, frozenset[Permission]] = {
    Role.TRADER: OWN_ACCOUNT | {Permission.TRADE},
    Role.MARKET_MAKER: OWN_ACCOUNT | {Permission.TRADE},
    Role.ANALYST: OWN_ACCOUNT | {Permission.READ_ALL},
    Role.OPERATOR: OWN_ACCOUNT | {Permission.READ_ALL, Permission.READ_AUDIT, Permission.OPERATE},
    Role.ADMIN: OWN_ACCOUNT | {Permission.READ_ALL, Permission.READ_AUDIT, Permission.OPERATE, Permission.ADMINISTER},
}
PERMISSIONS_OF_SCOPE: dict[str, frozenset[Permission]] = {
    Scope.READ: frozenset({Permission.READ, Permission.READ_ALL}),
    Scope.TRADE: frozenset({Permission.TRADE}),
    Scope.ADMIN: frozenset({Permission.READ_AUDIT, Permission.OPERATE, Permission.ADMINISTER}),
}
NO_PERMISSIONS: frozenset[Permission] = frozenset()
"""Of a role or a scope that this release does not know."""
DEFAULT_SCOPES = (Scope.READ, Scope.TRADE)


def permissions_of_role(role: str) -> frozenset[Permission]:
    return PERMISSIONS_OF_ROLE.get(role, NO_PERMISSIONS)


def permissions_of_scopes(scopes: Iterable[str]) -> frozenset[Permission]:
    return NO_PERMISSIONS.union(*(PERMISSIONS_OF_SCOPE.get(scope, NO_PERMISSIONS) for scope in scopes))
