"""`/v2/watchlists`: lists of assets that a client keeps here, each named by its id or by its name."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec.structs import replace

from trading_engine.database.transactional.errors import AlreadyExists, TooMany
from trading_engine.database.transactional.records import Watchlist
from trading_engine.database.transactional.watchlists import Key, WatchlistRepository
from trading_engine.servers.tes.alpaca.assets import Assets
from trading_engine.servers.tes.alpaca.errors import AlpacaError, invalid, not_found, unprocessable
from trading_engine.servers.tes.alpaca.ids import Kind, numbers_of, uuid_of
from trading_engine.servers.tes.alpaca.requests import Parameters
from trading_engine.servers.tes.models.views import rfc3339
from trading_engine.servers.tes.services.credentials import Principal
from trading_engine.servers.tes.services.order_entry import require_portfolio
from trading_engine.servers.tes.services.permissions import Permission

NAME_CHARACTERS_MAX = 64
Edit = Callable[[Watchlist], Watchlist]


class WatchlistBody(msgspec.Struct, frozen=True):
    """What is not sent stays as it is; a new list needs a name."""

    name: str | None = None
    symbols: list[str] | None = None


class SymbolBody(msgspec.Struct, frozen=True):
    symbol: str


decode_watchlist = msgspec.json.Decoder(WatchlistBody)
decode_symbol = msgspec.json.Decoder(SymbolBody)


class Watchlists:
    def __init__(self, assets: Assets, repository: WatchlistRepository, now_ns: Callable[[], int]) -> None:
        self._assets = assets
        self._repository = repository
        self._now_ns = now_ns

    # Reading

    async def all(self, principal: Principal) -> list[dict[str, Any]]:
        """Without what is in them, as there."""
        require_portfolio(principal, Permission.READ)
        return [outer_view(each) for each in await self._repository.watchlists(principal.account_id)]

    async def one(self, principal: Principal, key: Key) -> dict[str, Any]:
        require_portfolio(principal, Permission.READ)
        return self._view(await self._repository.find(principal.account_id, key))

    # Changing

    async def create(self, principal: Principal, body: WatchlistBody) -> dict[str, Any]:
        require_portfolio(principal)
        name, instrument_ids = checked_name(body.name), self._instrument_ids(body.symbols or ())
        try:
            return self._view(await self._repository.create(principal.account_id, name, instrument_ids, self._now_ns()))
        except AlreadyExists as error:
            raise name_taken() from error
        except TooMany as error:
            raise unprocessable(str(error)) from error

    async def update(self, principal: Principal, key: Key, body: WatchlistBody) -> dict[str, Any]:
        """Another name, other assets, or both."""
        name = None if body.name is None else checked_name(body.name)
        ids = None if body.symbols is None else self._instrument_ids(body.symbols)
        if name is None and ids is None:
            raise invalid("name or symbols is required")

        def edit(found: Watchlist) -> Watchlist:
            return replace(
                found,
                name=found.name if name is None else name,
                instrument_ids=found.instrument_ids if ids is None else ids,
            )

        return await self._edit(principal, key, edit)

    async def add(self, principal: Principal, key: Key, body: SymbolBody) -> dict[str, Any]:
        """At the end. One that is there already stays where it is."""
        (added,) = self._instrument_ids([body.symbol])
        return await self._edit(
            principal,
            key,
            lambda found: replace(found, instrument_ids=tuple(dict.fromkeys((*found.instrument_ids, added)))),
        )

    async def remove(self, principal: Principal, key: Key, symbol: str) -> dict[str, Any]:
        (removed,) = self._instrument_ids([symbol])

        def edit(found: Watchlist) -> Watchlist:
            if removed not in found.instrument_ids:
                raise not_found(f"{symbol} is not in the watchlist")
            return replace(found, instrument_ids=tuple(each for each in found.instrument_ids if each != removed))

        return await self._edit(principal, key, edit)

    async def delete(self, principal: Principal, key: Key) -> None:
        require_portfolio(principal)
        if not await self._repository.delete(principal.account_id, key):
            raise unknown_watchlist()

    async def _edit(self, principal: Principal, key: Key, edit: Edit) -> dict[str, Any]:
        require_portfolio(principal)
        try:
            return self._view(await self._repository.change(principal.account_id, key, self._now_ns(), edit))
        except AlreadyExists as error:
            raise name_taken() from error

    # What is named, and how it is shown

    def _instrument_ids(self, symbols: Iterable[str]) -> tuple[int, ...]:
        """Each once. Raises `AlpacaError`."""
        found = {symbol: self._assets.find(symbol) for symbol in symbols}
        if unknown := [symbol for symbol, market in found.items() if market is None]:
            raise not_found(f"asset not found for {unknown[0][:100]}")
        return tuple(dict.fromkeys(market.instrument.instrument_id for market in found.values() if market))

    def _view(self, watchlist: Watchlist | None) -> dict[str, Any]:
        if watchlist is None:
            raise unknown_watchlist()
        return {**outer_view(watchlist), "assets": self._assets.of_instruments(watchlist.instrument_ids)}


def outer_view(watchlist: Watchlist) -> dict[str, Any]:
    return {
        "id": uuid_of(Kind.WATCHLIST, watchlist.watchlist_id),
        "account_id": uuid_of(Kind.ACCOUNT, watchlist.portfolio_id),
        "created_at": rfc3339(watchlist.created_ns),
        "updated_at": rfc3339(watchlist.updated_ns),
        "name": watchlist.name,
    }


def key_of_id(text: str) -> Key:
    """Raises `AlpacaError`."""
    numbers = numbers_of(Kind.WATCHLIST, text)
    if numbers is None:
        raise unknown_watchlist()
    return numbers.number


def key_of_name(parameters: Parameters) -> Key:
    """Raises `AlpacaError`."""
    name = parameters.get("name", "")
    if not is_name(name):
        raise unknown_watchlist()
    return name


def checked_name(name: str | None) -> str:
    """Raises `AlpacaError`."""
    if name is None or not is_name(name):
        raise invalid(f"name is required, with 1 to {NAME_CHARACTERS_MAX} printable characters")
    return name


def is_name(text: str) -> bool:
    return 0 < len(text) <= NAME_CHARACTERS_MAX and text.isprintable()


def unknown_watchlist() -> AlpacaError:
    return not_found("watchlist not found")


def name_taken() -> AlpacaError:
    return invalid("watchlist name must be unique")
