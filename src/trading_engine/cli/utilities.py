"""`utilities`: look at what the utilities database wants of the venue, and change it while the venue runs."""

import asyncio
import getpass
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import yaml

from trading_engine.cli.arguments import Arguments
from trading_engine.database.errors import DatabaseError
from trading_engine.database.utilities.database import UtilitiesDatabase
from trading_engine.database.utilities.errors import InvalidEntry
from trading_engine.database.utilities.flags import FLAGS, FlagValue, flag_named
from trading_engine.database.utilities.records import Holiday, definition_to_text, limits_from, limits_to_text
from trading_engine.servers.obs.listing import check_definition
from trading_engine.shared.config import Config, ConfigError, InstrumentConfig
from trading_engine.venue.risk_limits import NO_LIMITS, RiskLimits, RiskScope

USAGE = """\
list instruments | holidays | limits | flags | models | changes
set instrument SYMBOL FIELD=VALUE …      fields as in the configuration; suspended=true takes no more orders
set holiday DATE closed [NAME]           or DATE 09:30-13:00 [NAME], local time of the venue's calendar
set limits account:7 LIMIT=NUMBER …      or firm:N, or venue; those not named are lifted; `none` lifts all
set flag NAME true|false
set model MODEL NAME '{"json": 1}' [--from 2026-12-01T08:00]
unset holiday DATE | flag NAME           back to the calendar, or to the default"""
FIELDS_OF_DEFINITION = ", ".join(InstrumentConfig.__struct_fields__)
CHANGES_SHOWN = 50

Rows = Iterator[Sequence[object]]


def run_utilities(arguments: Arguments) -> int:
    """Raises `ConfigError`."""
    config = arguments.load_config()
    try:
        asyncio.run(Desk(config, arguments).run())
    except DatabaseError as error:
        raise ConfigError(str(error)) from error
    return 0


def command_error(text: str) -> ConfigError:
    return ConfigError(f"{text}\n\nutilities …\n{USAGE}")


class Desk:
    """One command of an operator."""

    def __init__(self, config: Config, arguments: Arguments) -> None:
        self._config = config
        self._words = arguments.words
        self._expected = arguments.if_version
        self._from = arguments.active_from
        self._by = arguments.by or getpass.getuser()
        self._database = UtilitiesDatabase.of(config)

    async def run(self) -> None:
        try:
            await self._database.migrate()
            await self._database.refresh()
            match self._words:
                case ["list", kind]:
                    await self._list(kind)
                case ["set", kind, *words] if words:
                    print(await self._set(kind, words))
                case ["unset", kind, key]:
                    print(await self._unset(kind, key))
                case _:
                    raise command_error(f"utilities {' '.join(self._words)}: that is not a command")
        finally:
            await self._database.close()

    # Looking

    async def _list(self, kind: str) -> None:
        outcomes = {(item.kind, item.key, item.version): item.outcome for item in await self._database.applied()}
        match kind:
            case "instruments":
                show(self._instruments(outcomes))
            case "holidays":
                show(self._holidays())
            case "limits":
                show(self._limits(outcomes))
            case "flags":
                show(self._flags())
            case "models":
                show(self._models())
            case "changes":
                show(
                    (
                        item.version,
                        time_text(item.changed_ns),
                        item.changed_by,
                        item.kind,
                        item.key,
                        item.before,
                        item.after,
                    )
                    for item in await self._database.changes(CHANGES_SHOWN)
                )
            case _:
                raise command_error(f"there is nothing called {kind!r} to list")

    def _instruments(self, outcomes: dict[tuple[str, str, int], str]) -> Rows:
        yield "SYMBOL", "VERSION", "VENUE", "DEFINITION"
        for entry in self._database.contents.instruments:
            said = msgspec.json.decode(definition_to_text(entry.definition), type=dict[str, Any])
            text = " ".join(f"{name}={value_text(value)}" for name, value in said.items() if name != "symbol")
            outcome = outcomes.get(("instruments", entry.symbol, entry.version), "not seen by the venue yet")
            yield entry.symbol, entry.version, outcome, text

    def _holidays(self) -> Rows:
        yield "CALENDAR", "DATE", "TRADING", "NAME", "SOURCE", "VERSION"
        for day in self._database.contents.holidays:
            hours = "closed" if day.is_closed else f"{day.opens_at}-{day.closes_at}"
            yield day.calendar, day.date, hours, day.name, day.source, day.version

    def _limits(self, outcomes: dict[tuple[str, str, int], str]) -> Rows:
        yield "SCOPE", "VERSION", "VENUE", "LIMITS"
        for entry in self._database.contents.risk_limits:
            key = f"{int(entry.scope)} {entry.scope_id}"
            outcome = outcomes.get(("risk_limits", key, entry.version), "not seen by the venue yet")
            yield scope_text(entry.scope, entry.scope_id), entry.version, outcome, limits_to_text(entry.limits)

    def _flags(self) -> Rows:
        yield "FLAG", "VALUE", "DEFAULT", "MEANING"
        for flag in FLAGS.values():
            yield flag.name, value_text(self._database.flag(flag)), value_text(flag.default), flag.meaning

    def _models(self) -> Rows:
        yield "MODEL", "NAME", "VERSION", "ACTIVE FROM", "ACTIVE", "PARAMETERS"
        for item in self._database.contents.model_parameters:
            is_active = self._database.active_parameters(item.model, item.name) == item
            text = msgspec.json.encode(item.parameters).decode()
            since = time_text(item.active_from_ns)
            yield item.model, item.name, item.version, since, "yes" if is_active else "", text

    # Changing

    async def _set(self, kind: str, words: list[str]) -> str:
        match kind, words:
            case "instrument", [symbol, *settings] if settings:
                return await self._set_instrument(symbol, settings)
            case "holiday", [date, hours, *name]:
                opens_at, _, closes_at = ("", "", "") if hours == "closed" else hours.partition("-")
                day = Holiday(self._config.venue.calendar, date, opens_at, closes_at, " ".join(name))
                return f"version {await self._database.set_holiday(day, self._by, self._expected)}"
            case "limits", [scope, *settings] if settings:
                limits = NO_LIMITS if settings == ["none"] else limits_of_words(settings)
                key = parse_scope(scope)
                return f"version {await self._database.set_risk_limits(*key, limits, self._by, self._expected)}"
            case "flag", [name, text]:
                value = parse_flag(name, text)
                return f"version {await self._database.set_flag(name, value, self._by, self._expected)}"
            case "model", [model, name, text]:
                return await self._add_parameters(model, name, text)
        raise command_error(f"utilities set {kind} {' '.join(words)}: that is not how it is set")

    async def _set_instrument(self, symbol: str, settings: list[str]) -> str:
        """Read, change and write, unless somebody else has changed it in between."""
        known = self._database.contents.instrument(symbol)
        before = msgspec.to_builtins(known.definition, str_keys=True) if known else {}
        definition = parse_definition(before | parse_settings(settings) | {"symbol": symbol})
        check_definition(definition, self._config.venue)
        expected = self._expected if self._expected is not None else known.version if known else 0
        return f"version {await self._database.set_instrument(definition, self._by, expected)}"

    async def _add_parameters(self, model: str, name: str, text: str) -> str:
        try:
            parameters = msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise InvalidEntry(f"{model} {name}: parameters are a JSON object: {error}") from error
        active_from_ns = parse_time(self._from) if self._from else time.time_ns()
        version = await self._database.add_model_parameters(
            model, name, parameters, active_from_ns, self._by, self._expected
        )
        return f"version {version}, active from {time_text(active_from_ns)}"

    async def _unset(self, kind: str, key: str) -> str:
        match kind:
            case "holiday":
                calendar = self._config.venue.calendar
                was_set = await self._database.unset_holiday(calendar, key, self._by, self._expected)
            case "flag":
                flag_named(key)
                was_set = await self._database.unset_flag(key, self._by, self._expected)
            case "instrument":
                raise InvalidEntry(f"{key}: an instrument stays listed; utilities set instrument {key} suspended=true")
            case _:
                raise command_error(f"{kind!r} cannot be unset")
        return "unset" if was_set else "was not set"


# From words to values


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """Raises `InvalidEntry`."""
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise InvalidEntry(f"{setting!r} is not FIELD=VALUE")
        values[name] = parse_value(name, text)
    return values


def parse_value(name: str, text: str) -> Any:
    """Text, but for what is structured; numbers are read where the field is one."""
    if text == "none":
        return None
    if not text.startswith("{"):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidEntry(f"{name}: {text!r} cannot be read: {error}") from error


def parse_definition(values: dict[str, Any]) -> InstrumentConfig:
    """Raises `InvalidEntry`."""
    try:
        return msgspec.convert(values, InstrumentConfig, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidEntry(f"{values['symbol']}: {error}; the fields are {FIELDS_OF_DEFINITION}") from error


def limits_of_words(settings: list[str]) -> RiskLimits:
    """Raises `InvalidEntry`."""
    values = parse_settings(settings)
    try:
        return limits_from({name: int(text) for name, text in values.items()})
    except (TypeError, ValueError) as error:
        raise InvalidEntry(f"limits are whole numbers: {error}") from error


def parse_scope(text: str) -> tuple[RiskScope, int]:
    """Raises `InvalidEntry`."""
    name, _, number = text.partition(":")
    if name == "venue" and not number:
        return RiskScope.VENUE, 0
    if name not in ("account", "firm") or not number.isdigit():
        raise InvalidEntry(f"{text!r} is none of account:NUMBER, firm:NUMBER and venue")
    return RiskScope[name.upper()], int(number)


def parse_flag(name: str, text: str) -> FlagValue:
    """Raises `InvalidEntry`."""
    kind = type(flag_named(name).default)
    try:
        return msgspec.convert(text.lower() if kind is bool else text, kind, strict=False)  # type: ignore[no-any-return]  # a FlagValue's
    except msgspec.ValidationError as error:
        raise InvalidEntry(f"flag {name}: {text!r} is not a {kind.__name__}") from error


def parse_time(text: str) -> int:
    """Nanoseconds since the Unix epoch; without an offset it is UTC. Raises `InvalidEntry`."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidEntry(f"--from {text}: a time like 2026-12-01T08:00 is expected") from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * 10**9


# From values to words


def scope_text(scope: RiskScope, scope_id: int) -> str:
    return "venue" if scope is RiskScope.VENUE else f"{scope.name.lower()}:{scope_id}"


def value_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def time_text(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def show(rows: Rows) -> None:
    """In columns, of which the last is as long as it is."""
    table = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
