"""What Alpaca has and this venue has none of: options, crypto, news, corporate actions, codes of conditions and exchanges.

Lists of them are empty here, as they are for an account there that has none; one of them by its name is not found; and what would
need one is forbidden. So a client that asks for everything gets through, and is told nothing that is not so.
"""

from collections.abc import Callable, Mapping
from typing import Any

from trading_engine.servers.tes.alpaca.errors import FORBIDDEN, AlpacaError, not_found

Path = tuple[str, ...]
NAME = "*"
"""Of a path: any one part."""

EMPTY: Mapping[Path, Any] = {
    ("v2", "options", "contracts"): {"option_contracts": [], "next_page_token": None},
    ("v2", "corporate_actions", "announcements"): [],
    ("v2", "stocks", "meta", "exchanges"): {},
    ("v2", "stocks", "meta", "conditions", NAME): {},
    ("v1beta1", "news"): {"news": [], "next_page_token": None},
    ("v1beta1", "corporate-actions"): {"corporate_actions": {}, "next_page_token": None},
    **{
        (*market, kind): {kind: {}, "next_page_token": None}
        for market in (("v1beta1", "options"), ("v1beta3", "crypto", NAME))
        for kind in ("bars", "trades", "quotes", "snapshots")
    },
    **{("v1beta1", "options", kind, "latest"): {kind: {}} for kind in ("trades", "quotes")},
    ("v1beta1", "options", "snapshots", NAME): {"snapshots": {}, "next_page_token": None},
    ("v1beta1", "options", "meta", "exchanges"): {},
    **{("v1beta3", "crypto", NAME, "latest", kind): {kind: {}} for kind in ("bars", "trades", "quotes", "orderbooks")},
}
"""By path, what there is of it."""


def no_contract() -> AlpacaError:
    return not_found("option contract not found")


def no_announcement() -> AlpacaError:
    return not_found("announcement not found")


def no_options() -> AlpacaError:
    return AlpacaError(FORBIDDEN, "account is not allowed to trade options")


REFUSED: Mapping[tuple[str, Path], Callable[[], AlpacaError]] = {
    ("GET", ("v2", "options", "contracts", NAME)): no_contract,
    ("GET", ("v2", "corporate_actions", "announcements", NAME)): no_announcement,
    ("POST", ("v2", "positions", NAME, "exercise")): no_options,
    ("POST", ("v2", "positions", NAME, "do-not-exercise")): no_options,
}
