"""Users and their accounts at the venue.

A user is a row in the database, an account a thing of the venue; making both takes two steps, and a crash can fall in between. So the
second step can be done again at any time: `OpenAccount` is refused as a whole where the account is open already. At each start every
portfolio without an account gets one, the demo users' and the simulated traders' with what the configuration gives them.

An account is opened on all shards at once, so that it can trade whatever is listed. Its cash is divided equally among them, and each
gets the positions in its own instruments.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from trading_engine.database.transactional.access import AccessRepository
from trading_engine.database.transactional.audit import Act
from trading_engine.database.transactional.errors import AlreadyExists
from trading_engine.database.transactional.records import Portfolio, Role, User
from trading_engine.database.transactional.venue_trading import VenueTrading
from trading_engine.servers.tes.errors import ApiError, invalid_request, refusal, unlisted_symbol
from trading_engine.servers.tes.models.requests import USERNAME, UserRequest
from trading_engine.servers.tes.services.authentication import Authentication
from trading_engine.servers.tes.services.credentials import (
    NO_PASSWORD,
    ApiKeySecrets,
    Passwords,
    write_private_file,
)
from trading_engine.servers.tes.services.market_data import MarketData
from trading_engine.servers.tes.services.password_rules import check_password
from trading_engine.servers.tes.services.venue_gateway import VenueGateway
from trading_engine.shared.addresses import is_loopback
from trading_engine.shared.config import BotsConfig, Config
from trading_engine.shared.log import fields
from trading_engine.venue.commands import OpenAccount
from trading_engine.venue.conversion import NotADecimal, NotAMultiple, amount_to_minor, quantity_to_lots
from trading_engine.venue.events import CommandRefused
from trading_engine.venue.instrument import MONEY_MAX
from trading_engine.venue.reasons import Reason
from trading_engine.venue.shards import shard_of_instrument

BOTS_FILE = "bots.json"
BOT_KEY_LABEL = "simulated trader"
OPEN_ORDERS_MAX = 1000
ADMIN_USERNAME = "admin"
CONFIGURATION = "(configuration)"
"""The actor of what is done at a start, in the audit log: no user name can be this."""

log = logging.getLogger(__name__)


class UnsafeDemoUsers(Exception):
    """Demo users have passwords that everybody knows; the message says what to do."""


class Opening(msgspec.Struct, frozen=True):
    """What an account starts with, as decimal strings."""

    cash: Mapping[str, str] = {}
    positions: Mapping[str, str] = {}


class BotCredentials(msgspec.Struct, frozen=True):
    """One simulated trader, as `bots.json` tells it."""

    username: str
    kind: str
    portfolio_id: str
    key_id: str
    secret: str


class BotsFile(msgspec.Struct, frozen=True):
    api_url: str
    bots: list[BotCredentials]


class Accounts:
    def __init__(
        self,
        access: AccessRepository,
        passwords: Passwords,
        authentication: Authentication,
        key_secrets: ApiKeySecrets,
        trading: VenueTrading,
        gateway: VenueGateway,
        market_data: MarketData,
        decimals_of: Callable[[str], int],
        now_ns: Callable[[], int],
    ) -> None:
        self._access = access
        self._passwords = passwords
        self._authentication = authentication
        self._key_secrets = key_secrets
        self._trading = trading
        self._gateway = gateway
        self._market_data = market_data
        self._decimals_of = decimals_of
        self._now_ns = now_ns

    # One user

    async def create(self, request: UserRequest, actor: str) -> tuple[User, int]:
        """A user with a portfolio and its account at the venue; the same request again finishes what was interrupted."""
        check_username(request.username)
        check_password(request.password, request.username)
        opening = self.opening_command(0, Opening(request.cash, request.positions))
        self._gateway.require_ready()
        user, portfolio_id = await self._registered(request, actor)
        await self.open_account(msgspec.structs.replace(opening, account_id=portfolio_id))
        return user, portfolio_id

    async def _registered(self, request: UserRequest, actor: str) -> tuple[User, int]:
        now_ns, role = self._now_ns(), Role(request.role)
        password_hash = await self._passwords.hash(request.password)
        act = _creation(now_ns, actor, request.username, role)
        try:
            registration = await self._access.register(request.username, password_hash, role, now_ns, act=act)
        except AlreadyExists:
            return await self._unfinished(request)
        return registration.user, registration.portfolio.portfolio_id

    async def _unfinished(self, request: UserRequest) -> tuple[User, int]:
        """The user of this name, if its account was not opened yet and the password is the same. Raises `USERNAME_TAKEN`."""
        taken = ApiError("USERNAME_TAKEN", "There is a user of this name.", field="username", value=request.username)
        user = await self._access.find_user(request.username)
        if user is None or not await self._passwords.verify(user.password_hash, request.password):
            raise taken
        portfolios = await self._access.portfolios_of_user(user.user_id)
        waiting = {portfolio.portfolio_id for portfolio in await self._without_account()}
        unfinished = [portfolio.portfolio_id for portfolio in portfolios if portfolio.portfolio_id in waiting]
        if not unfinished:
            raise taken
        return user, unfinished[0]

    async def open_account(self, command: OpenAccount) -> bool:
        """Whether the account is new somewhere; one that is open already is as good. Raises `ApiError`."""
        is_new = False
        for gateway in self._gateway.shards:
            outcome = await gateway.submit(part_of(command, gateway.shard, len(self._gateway.shards)))
            event = outcome.batch.events[0]
            if not isinstance(event, CommandRefused):
                is_new = True
            elif event.reason is not Reason.ACCOUNT_EXISTS:
                raise refusal(event.reason)
        return is_new

    def opening_command(self, account_id: int, opening: Opening) -> OpenAccount:
        """In minor units and lots. Raises `ApiError` for what cannot be said to the venue."""
        return OpenAccount(
            account_id,
            tuple((currency, self._minor(currency, text)) for currency, text in opening.cash.items()),
            tuple(self._lots(symbol, text) for symbol, text in opening.positions.items()),
            OPEN_ORDERS_MAX,
        )

    def _minor(self, currency: str, text: str) -> int:
        if not any(market.instrument.currency == currency for market in self._market_data.markets.values()):
            raise invalid_request("No instrument of this venue trades in this currency.", "cash", currency)
        try:
            return within_money(amount_to_minor(text, self._decimals_of(currency)), "cash", text)
        except (NotADecimal, NotAMultiple):
            raise invalid_request(f"This is no amount of {currency}.", "cash", text) from None

    def _lots(self, symbol: str, text: str) -> tuple[int, int]:
        market = self._market_data.market(symbol)
        if market is None:
            raise unlisted_symbol(symbol)
        try:
            lots = within_money(quantity_to_lots(text, market.instrument), "positions", text)
        except (NotADecimal, NotAMultiple):
            raise invalid_request(f"This is no quantity of {symbol}.", "positions", text) from None
        return market.instrument.instrument_id, lots

    # At the start

    async def ensure_admin(self, password: str) -> None:
        """The first operator, if there is none of this name."""
        if await self._access.find_user(ADMIN_USERNAME) is not None:
            return
        check_password(password, ADMIN_USERNAME)
        now_ns = self._now_ns()
        act = _creation(now_ns, CONFIGURATION, ADMIN_USERNAME, Role.ADMIN)
        password_hash = await self._passwords.hash(password)
        await self._access.create_user(ADMIN_USERNAME, password_hash, Role.ADMIN, now_ns, act=act)
        log.info("administrator created", extra=fields(username=ADMIN_USERNAME))

    async def ensure_configured(self, config: Config, api_url: str) -> None:
        """Demo users and simulated traders of the configuration, then an account for every portfolio that has none.

        The venue has to be ready, with its instruments listed.
        """
        openings: dict[int, Opening] = {}
        for demo in config.demo.users:
            user = await self.ensure_user(demo.username, demo.password, Role.TRADER)
            openings[await self._portfolio_of(user)] = self._equal_opening(demo.cash, demo.quantity_each)
        bots = []
        for username, kind in bot_names(config.bots):
            role = Role.MARKET_MAKER if kind == "maker" else Role.TRADER
            user = await self.ensure_user(username, None, role)
            portfolio_id = await self._portfolio_of(user)
            openings[portfolio_id] = self._equal_opening(config.bots.cash, config.bots.quantity_each)
            key_id, secret = await self._bot_key(user)
            bots.append(BotCredentials(username, kind, str(portfolio_id), key_id, secret))
        await self._open_missing(openings)
        if bots:
            write_bots_file(config.data_path / BOTS_FILE, BotsFile(api_url, bots))

    async def ensure_user(self, username: str, password: str | None, role: Role) -> User:
        """The user of this name, made if need be. Without a password nobody can log in as it; an API key is its only way in."""
        user = await self._access.find_user(username)
        if user is None:
            password_hash = NO_PASSWORD if password is None else await self._passwords.hash(password)
            now_ns = self._now_ns()
            act = _creation(now_ns, CONFIGURATION, username, role)
            user = (await self._access.register(username, password_hash, role, now_ns, act=act)).user
            log.info("user created", extra=fields(username=username, role=role))
        return user

    async def ensure_counterparty(self, username: str) -> int:
        """The account of a user that nobody can log in as, with nothing in it at first."""
        portfolio_id = await self._portfolio_of(await self.ensure_user(username, None, Role.MARKET_MAKER))
        await self.open_account(OpenAccount(portfolio_id, open_orders_max=OPEN_ORDERS_MAX))
        return portfolio_id

    async def _portfolio_of(self, user: User) -> int:
        return (await self._access.portfolios_of_user(user.user_id))[0].portfolio_id

    async def _bot_key(self, user: User) -> tuple[str, str]:
        for key in await self._access.api_keys_of_user(user.user_id):
            if key.label == BOT_KEY_LABEL:
                return key.key_id, self._key_secrets.secret_of(key.key_id)
        key, secret = await self._authentication.create_api_key(user.user_id, CONFIGURATION, BOT_KEY_LABEL)
        return key.key_id, secret

    async def _open_missing(self, openings: Mapping[int, Opening]) -> None:
        for portfolio in await self._without_account():
            opening = openings.get(portfolio.portfolio_id, Opening())
            command = self.opening_command(portfolio.portfolio_id, opening)
            if await self.open_account(command):
                log.info("account opened", extra=fields(account_id=portfolio.portfolio_id))

    async def _without_account(self) -> list[Portfolio]:
        """Or not on every shard, as far as the projections have come."""
        opened = await self._trading.accounts()
        return [portfolio for portfolio in await self._access.portfolios() if portfolio.portfolio_id not in opened]

    def _equal_opening(self, cash: Mapping[str, str], quantity_each: str) -> Opening:
        positions = {market.instrument.symbol: quantity_each for market in self._market_data.markets.values()}
        return Opening(cash, positions if quantity_each.strip("0.") else {})


def part_of(command: OpenAccount, shard: int, shards: int) -> OpenAccount:
    """The shard's part; what does not come out even is with the first."""
    cash = [(currency, amount // shards + (amount % shards if shard == 0 else 0)) for currency, amount in command.cash]
    positions = [position for position in command.positions if shard_of_instrument(position[0]) == shard]
    return msgspec.structs.replace(command, cash=tuple(cash), positions=tuple(positions))


def _creation(now_ns: int, actor: str, username: str, role: Role) -> Act:
    return Act(now_ns, actor, "user.create", username, detail={"role": role.value})


def within_money(count: int, field: str, text: str) -> int:
    if not 0 <= count <= MONEY_MAX:
        raise invalid_request("This is below zero or more than the venue can hold.", field, text)
    return count


def check_username(username: str) -> None:
    if not USERNAME.fullmatch(username):
        raise invalid_request("A user name has 1 to 64 characters of A-Z a-z 0-9 . _ -", "username", username)


def bot_names(bots: BotsConfig) -> list[tuple[str, str]]:
    """(user name, kind) of each simulated trader: bot-1, bot-2, … makers first."""
    kinds = ["maker"] * bots.makers + ["taker"] * bots.takers + ["noise"] * bots.noise
    return [(f"bot-{number}", kind) for number, kind in enumerate(kinds, 1)]


def write_bots_file(path: Path, content: BotsFile) -> None:
    """Whole or not at all: the simulated traders may be reading it."""
    draft = path.with_name(path.name + ".new")
    write_private_file(draft, msgspec.json.format(msgspec.json.encode(content)).decode() + "\n")
    draft.replace(path)


def check_demo_host(config: Config) -> None:
    """Raises `UnsafeDemoUsers` where users with well-known passwords would be reachable from elsewhere."""
    if config.demo.users and not is_loopback(config.tes.host):
        names = ", ".join(user.username for user in config.demo.users)
        raise UnsafeDemoUsers(
            f"The configuration has demo users ({names}), whose passwords are public, but tes.host is {config.tes.host!r}, which other "
            "machines can reach. Remove demo.users, or listen on 127.0.0.1."
        )
