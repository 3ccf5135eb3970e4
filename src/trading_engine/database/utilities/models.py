"""The tables. Each row of the first four is one entry; its `version` is the number of the change that wrote it last.

Changes are numbered 1, 2, 3, … for the whole database: `utilities_state` holds the last number, and every transaction that writes locks it
first, so writers queue and a reader that knows a number knows everything up to it. `changes` is the audit: what was before, what is
now, who did it and when; it is never changed. Sets of model parameters are never changed either, only followed by newer ones.

Structured values are JSON objects, so that a new field needs no migration. The schema is changed by a migration in `migrations`; a test
compares the two.
"""

from sqlalchemy import BigInteger, MetaData, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.schema import Table


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention={"pk": "pk_%(table_name)s"})
    type_annotation_map = {int: BigInteger, str: Text}  # noqa: RUF012  (SQLAlchemy reads it as a plain attribute)


class StateRow(Base):
    """One row."""

    __tablename__ = "utilities_state"

    epoch: Mapped[str] = mapped_column(primary_key=True)
    """Made at random with the database: a copy in a cache that belongs to another one is told by it."""
    version: Mapped[int]


class InstrumentRow(Base):
    __tablename__ = "instruments"

    symbol: Mapped[str] = mapped_column(primary_key=True)
    place: Mapped[int]
    """Instruments are listed in this order, by which they get their ids."""
    definition: Mapped[str]
    version: Mapped[int]


class HolidayRow(Base):
    __tablename__ = "holidays"

    calendar: Mapped[str] = mapped_column(primary_key=True)
    date: Mapped[str] = mapped_column(primary_key=True)
    opens_at: Mapped[str]
    closes_at: Mapped[str]
    name: Mapped[str]
    source: Mapped[str]
    version: Mapped[int]


class RiskLimitsRow(Base):
    __tablename__ = "risk_limits"

    scope: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    scope_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    limits: Mapped[str]
    version: Mapped[int]


class FeatureFlagRow(Base):
    __tablename__ = "feature_flags"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]
    version: Mapped[int]


class ModelParametersRow(Base):
    __tablename__ = "model_params"

    model: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    parameters: Mapped[str]
    active_from_ns: Mapped[int]


class ChangeRow(Base):
    __tablename__ = "changes"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    changed_ns: Mapped[int]
    changed_by: Mapped[str]
    before: Mapped[str]
    """JSON of the entry; empty where there was none."""
    after: Mapped[str]


class AppliedRow(Base):
    """What became of an entry on the venue, as an order book server says."""

    __tablename__ = "applied"

    shard: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int]
    outcome: Mapped[str]
    reported_ns: Mapped[int]


def table_of(model: type[Base]) -> Table:
    table = model.__table__
    assert isinstance(table, Table)
    return table
