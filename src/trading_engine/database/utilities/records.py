"""The entries as programs see them."""

import re
from datetime import date as calendar_date
from typing import Any, cast

import msgspec

from trading_engine.database.utilities.errors import InvalidEntry
from trading_engine.database.utilities.flags import Flag, FlagT, FlagValue
from trading_engine.shared.config import InstrumentConfig
from trading_engine.venue.instrument import ID_MAX
from trading_engine.venue.risk_limits import NO_LIMITS, RiskLimits, RiskScope

OWN = "own"
"""Source of a day that an operator entered. Others are the names of where it was imported from."""
NAME_CHARACTERS_MAX = 64
PARAMETERS_BYTES_MAX = 1 << 20
"""JSON of one set of model parameters."""
TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


class Mark(msgspec.Struct, frozen=True):
    """How far a reader's view goes: up to this change of this database."""

    epoch: str
    version: int


class InstrumentEntry(msgspec.Struct, frozen=True):
    symbol: str
    definition: InstrumentConfig
    version: int


class Holiday(msgspec.Struct, frozen=True):
    """A day on which a calendar departs from its rule: closed all day, or open from `opens_at` to `closes_at`, local time."""

    calendar: str
    date: str
    opens_at: str = ""
    closes_at: str = ""
    name: str = ""
    source: str = OWN
    version: int = 0

    @property
    def is_closed(self) -> bool:
        return not self.opens_at


class RiskLimitsEntry(msgspec.Struct, frozen=True):
    scope: RiskScope
    scope_id: int
    limits: RiskLimits
    version: int


class FlagEntry(msgspec.Struct, frozen=True):
    name: str
    value: FlagValue
    version: int


class ModelParameters(msgspec.Struct, frozen=True):
    """One set of parameters of a model; of all with this name, the one with the highest version whose time has come is active."""

    model: str
    name: str
    version: int
    parameters: dict[str, Any]
    active_from_ns: int


class Applied(msgspec.Struct, frozen=True):
    """What an order book server made of an entry: `in effect`, or why not."""

    shard: int
    kind: str
    key: str
    version: int
    outcome: str


class Change(msgspec.Struct, frozen=True):
    """One line of the audit."""

    version: int
    kind: str
    key: str
    changed_ns: int
    changed_by: str
    before: str
    after: str


class Contents(msgspec.Struct, frozen=True):
    """All entries as of one change."""

    mark: Mark
    instruments: tuple[InstrumentEntry, ...] = ()
    """In the order of listing."""
    holidays: tuple[Holiday, ...] = ()
    risk_limits: tuple[RiskLimitsEntry, ...] = ()
    flags: tuple[FlagEntry, ...] = ()
    model_parameters: tuple[ModelParameters, ...] = ()

    def instrument(self, symbol: str) -> InstrumentEntry | None:
        return next((entry for entry in self.instruments if entry.symbol == symbol), None)

    def own_holidays(self, calendar: str) -> tuple[Holiday, ...]:
        return tuple(day for day in self.holidays if (day.calendar, day.source) == (calendar, OWN))

    def flag(self, flag: Flag[FlagT]) -> FlagT:
        """Its value; the default where none is set, or one that this release does not take."""
        value = next((entry.value for entry in self.flags if entry.name == flag.name), flag.default)
        return cast("FlagT", value) if flag.takes(value) else flag.default

    def active_parameters(self, model: str, name: str, at_ns: int) -> ModelParameters | None:
        due = (
            item
            for item in self.model_parameters
            if (item.model, item.name) == (model, name) and item.active_from_ns <= at_ns
        )
        return max(due, key=lambda item: item.version, default=None)


# Between entries and the text in their rows


def definition_to_text(definition: InstrumentConfig) -> str:
    """JSON of what differs from the defaults: a release without a later field reads it as long as nobody uses that field."""
    fields = {
        field.name: msgspec.to_builtins(getattr(definition, field.name), str_keys=True)
        for field in msgspec.structs.fields(definition)
        if field.required or getattr(definition, field.name) != field.default
    }
    return msgspec.json.encode(fields).decode()


def definition_of(symbol: str, text: str | bytes) -> InstrumentConfig:
    """Raises `InvalidEntry`."""
    try:
        return msgspec.json.decode(text, type=InstrumentConfig, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidEntry(f"instrument {symbol}: {error}") from error


def limits_to_text(limits: RiskLimits) -> str:
    """JSON object of the limits that there are."""
    return msgspec.json.encode(
        {name: value for name, value in msgspec.structs.asdict(limits).items() if value}
    ).decode()


def limits_of(text: str) -> RiskLimits:
    return limits_from(msgspec.json.decode(text, type=dict[str, int]))


def limits_from(values: dict[str, int]) -> RiskLimits:
    """Raises `InvalidEntry`."""
    unknown = [name for name in values if name not in RiskLimits.__struct_fields__]
    if unknown:
        raise InvalidEntry(
            f"there is no risk limit {unknown[0]!r}; there are {', '.join(RiskLimits.__struct_fields__)}"
        )
    limits = msgspec.structs.replace(NO_LIMITS, **values)
    if not limits.is_valid:
        raise InvalidEntry(
            f"risk limits {limits_to_text(limits)}: one is out of range, or a rate and the window for it do not come together"
        )
    return limits


# Rules of entries


def check_scope(scope: RiskScope, scope_id: int) -> None:
    lowest, highest = (0, 0) if scope is RiskScope.VENUE else (1, ID_MAX)
    if not lowest <= scope_id <= highest:
        raise InvalidEntry(
            f"risk limits: {scope.name.lower()} {scope_id} cannot be; its number is {lowest} to {highest}"
        )


def check_holiday(day: Holiday) -> None:
    what = f"holiday {day.calendar} {day.date}"
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", day.date) is None or not is_date(day.date):
        raise InvalidEntry(f"{what}: the date is not one like 2026-12-24")
    if bool(day.opens_at) != bool(day.closes_at):
        raise InvalidEntry(f"{what}: an opening and a closing time belong together")
    if day.opens_at and not (
        TIME_OF_DAY.fullmatch(day.opens_at) and TIME_OF_DAY.fullmatch(day.closes_at) and day.opens_at < day.closes_at
    ):
        raise InvalidEntry(f"{what}: {day.opens_at}-{day.closes_at} are not two times of one day like 09:30-13:00")
    check_names(what, day.calendar, day.source)


def is_date(text: str) -> bool:

    try:
        calendar_date.fromisoformat(text)
    except ValueError:
        return False
    return True


def check_names(what: str, *names: str) -> None:
    for name in names:
        if not (0 < len(name) <= NAME_CHARACTERS_MAX and name.isprintable()):
            raise InvalidEntry(f"{what}: {name!r} is not a name of 1 to {NAME_CHARACTERS_MAX} printable characters")
