"""The tables. Two owners share one database, and no foreign key crosses from one to the other:

*Owned by the TES*: clients, users, portfolios, api_keys, login_addresses, refresh_tokens, watchlists, audit_log. A client is the person
or firm that owns portfolios; a user is somebody who logs in and acts for a client (or, as an operator, for none). These rows exist
nowhere else, so their commits are synced to disk before anybody is told.

*Owned by the projection*: everything else, derived from the venue's events and rebuilt from them when lost. A portfolio's id is the
venue's account id; still there is no foreign key, because events may be of accounts that other services opened.

Every integer is 64 bits wide; prices are ticks, quantities lots, money minor units, times nanoseconds since the Unix epoch.
Enumerations are stored as the numbers of `venue.terms` and `venue.reasons`. The schema is changed by a migration in `migrations`;
a test compares the two.
"""

from typing import Annotated

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.schema import Table

RowId = Annotated[int, mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)]
"""A 64-bit key on every backend: SQLite makes only a column declared INTEGER the row's own id."""
GivenId = Annotated[
    int, mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False)
]
"""The same, for ids that the venue gave."""
KeyPart = Annotated[int, mapped_column(BigInteger, primary_key=True, autoincrement=False)]


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )
    type_annotation_map = {int: BigInteger, str: Text}  # noqa: RUF012  (SQLAlchemy reads it as a plain attribute)


# Owned by the TES


class ClientRow(Base):
    __tablename__ = "clients"
    __table_args__ = ({"sqlite_autoincrement": True},)

    client_id: Mapped[RowId]
    name: Mapped[str] = mapped_column(unique=True)
    created_ns: Mapped[int]


class UserRow(Base):
    __tablename__ = "users"
    __table_args__ = ({"sqlite_autoincrement": True},)

    user_id: Mapped[RowId]
    username: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    role: Mapped[str]
    client_id: Mapped[int | None] = mapped_column(ForeignKey("clients.client_id"), index=True)
    created_ns: Mapped[int]
    is_disabled: Mapped[bool] = mapped_column(server_default=false())
    access_changed_ns: Mapped[int] = mapped_column(server_default=text("0"))
    """Access tokens from before this are void: the role or the password changed, or the user was disabled."""


class PortfolioRow(Base):
    """`portfolio_id` is the venue's account id: never 0 and, thanks to AUTOINCREMENT, never given twice."""

    __tablename__ = "portfolios"
    __table_args__ = (UniqueConstraint("client_id", "name"), {"sqlite_autoincrement": True})

    portfolio_id: Mapped[RowId]
    client_id: Mapped[int] = mapped_column(ForeignKey("clients.client_id"))
    name: Mapped[str]
    created_ns: Mapped[int]


class ApiKeyRow(Base):
    __tablename__ = "api_keys"

    key_id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.user_id"), index=True)
    label: Mapped[str]
    secret_hash: Mapped[str]
    created_ns: Mapped[int]
    revoked_ns: Mapped[int | None]
    scopes: Mapped[str] = mapped_column(server_default=text("'read trade'"))
    """Separated by spaces."""
    addresses: Mapped[str] = mapped_column(server_default=text("''"))
    """Networks that the key may be used from, separated by spaces; empty: from anywhere."""
    rate_percent: Mapped[int] = mapped_column(server_default=text("100"))
    public_key: Mapped[str] = mapped_column(server_default=text("''"))
    """Of a key whose owner keeps the private half: Ed25519, 32 bytes in Base64. Empty for one with a secret."""


class LoginAddressRow(Base):
    """Where a user has logged in from: there a login is possible also while somebody elsewhere is guessing the password."""

    __tablename__ = "login_addresses"
    __table_args__ = ({"sqlite_with_rowid": False},)

    user_id: Mapped[int] = mapped_column(ForeignKey("users.user_id"), primary_key=True, autoincrement=False)
    address: Mapped[str] = mapped_column(primary_key=True)
    logged_in_ns: Mapped[int]


class RefreshTokenRow(Base):
    """One link of a login's chain of refresh tokens. `family` is the chain: the hash of the token that the login gave out."""

    __tablename__ = "refresh_tokens"
    __table_args__ = (
        Index(
            "ix_refresh_tokens_revoked",
            "revoked_ns",
            sqlite_where=text("revoked_ns IS NOT NULL"),
            postgresql_where=text("revoked_ns IS NOT NULL"),
        ),
    )

    token_hash: Mapped[str] = mapped_column(primary_key=True)
    family: Mapped[str] = mapped_column(index=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.user_id"), index=True)
    issued_ns: Mapped[int]
    expires_ns: Mapped[int]
    used_ns: Mapped[int | None]
    revoked_ns: Mapped[int | None]


class WatchlistRow(Base):
    """Instruments that the owner of a portfolio wants to see together, in an order of their own."""

    __tablename__ = "watchlists"
    __table_args__ = (UniqueConstraint("portfolio_id", "name"), {"sqlite_autoincrement": True})

    watchlist_id: Mapped[RowId]
    portfolio_id: Mapped[int] = mapped_column(ForeignKey("portfolios.portfolio_id"))
    name: Mapped[str]
    instrument_ids: Mapped[str]  # JSON array
    created_ns: Mapped[int]
    updated_ns: Mapped[int]


class AuditLogRow(Base):
    """Only ever appended to: triggers of the database see to that."""

    __tablename__ = "audit_log"
    __table_args__ = (Index(None, "actor", "audit_id"), {"sqlite_autoincrement": True})

    audit_id: Mapped[RowId]
    time_ns: Mapped[int]
    actor: Mapped[str]
    """A user name, also one that there is not: whoever tried."""
    action: Mapped[str]
    subject: Mapped[str]
    outcome: Mapped[str]
    detail: Mapped[str]  # JSON


# Owned by the projection


class ProjectionStateRow(Base):
    __tablename__ = "projection_state"

    stream: Mapped[str] = mapped_column(primary_key=True)
    event_sequence: Mapped[int]
    """The last event whose effects the rows show; written in the same transaction as they are."""
    updated_ns: Mapped[int]
    """Time of the last command, not of the commit."""


class InstrumentRow(Base):
    __tablename__ = "instruments"

    instrument_id: Mapped[GivenId]
    symbol: Mapped[str] = mapped_column(unique=True)
    phase: Mapped[int]
    market_sequence: Mapped[int]
    definition: Mapped[str]
    """The whole `venue.instrument.Instrument` as the JSON array of its fields, so that a new field needs no migration."""


class AccountRow(Base):
    __tablename__ = "accounts"

    account_id: Mapped[GivenId]
    open_orders_max: Mapped[int]
    is_suspended: Mapped[bool]
    opened_ns: Mapped[int]


class OrderRow(Base):
    """The columns are the fields of `venue.order_state.OrderState`, in their order."""

    __tablename__ = "orders"
    __table_args__ = (
        Index(None, "account_id", "order_id"),
        Index(None, "account_id", "client_order_id"),
        Index(
            "ix_orders_live",
            "account_id",
            "order_id",
            sqlite_where=text("status < 2"),
            postgresql_where=text("status < 2"),
        ),
    )

    order_id: Mapped[GivenId]
    account_id: Mapped[int]
    client_order_id: Mapped[str]
    instrument_id: Mapped[int]
    side: Mapped[int]
    order_type: Mapped[int]
    time_in_force: Mapped[int]
    post_only: Mapped[bool]
    price_ticks: Mapped[int]
    quantity_lots: Mapped[int]
    filled_lots: Mapped[int]
    filled_value: Mapped[int]
    status: Mapped[int]
    end_reason: Mapped[int | None]
    created_ns: Mapped[int]
    updated_ns: Mapped[int]
    event_sequence: Mapped[int]
    self_trade_prevention: Mapped[int]
    prevented_lots: Mapped[int]
    special: Mapped[str | None]  # JSON of venue.terms.SpecialTerms
    stop_price_ticks: Mapped[int]
    group_id: Mapped[int] = mapped_column(server_default="0")
    contingency: Mapped[int | None]


class TradeRow(Base):
    __tablename__ = "trades"
    __table_args__ = (
        Index(None, "instrument_id", "trade_id"),
        Index(None, "instrument_id", "time_ns"),
    )

    trade_id: Mapped[GivenId]
    instrument_id: Mapped[int]
    market_sequence: Mapped[int]
    price_ticks: Mapped[int]
    quantity_lots: Mapped[int]
    aggressor_side: Mapped[int]
    maker_order_id: Mapped[int]
    maker_account_id: Mapped[int]
    maker_fee: Mapped[int]
    taker_order_id: Mapped[int]
    taker_account_id: Mapped[int]
    taker_fee: Mapped[int]
    time_ns: Mapped[int]
    event_sequence: Mapped[int]


class OrderEventRow(Base):
    """An execution report: what changed about an order as of the event. What never changes about it is in `orders`."""

    __tablename__ = "order_events"
    __table_args__ = (
        Index(None, "account_id", "event_sequence"),
        Index(
            "ix_order_events_fills",
            "account_id",
            "event_sequence",
            sqlite_where=text("trade_id IS NOT NULL"),
            postgresql_where=text("trade_id IS NOT NULL"),
        ),
        Index(
            "ix_order_events_replaced",
            "order_id",
            "event_sequence",
            sqlite_where=text("kind = 'replaced'"),
            postgresql_where=text("kind = 'replaced'"),
        ),
        Index(
            "ix_order_events_prevented",
            "order_id",
            "event_sequence",
            sqlite_where=text("kind = 'prevented'"),
            postgresql_where=text("kind = 'prevented'"),
        ),
        {"sqlite_with_rowid": False},
    )

    event_sequence: Mapped[KeyPart]
    order_id: Mapped[KeyPart]
    account_id: Mapped[int]
    instrument_id: Mapped[int]
    kind: Mapped[str]
    price_ticks: Mapped[int]
    quantity_lots: Mapped[int]
    filled_lots: Mapped[int]
    filled_value: Mapped[int]
    status: Mapped[int]
    end_reason: Mapped[int | None]
    time_ns: Mapped[int]
    trade_id: Mapped[int | None]
    fill_price_ticks: Mapped[int | None]
    fill_quantity_lots: Mapped[int | None]
    fee: Mapped[int | None]
    is_maker: Mapped[bool | None]
    """Of a fill, or of one that was prevented."""
    prevented_lots: Mapped[int]
    stop_price_ticks: Mapped[int]


class PositionRow(Base):
    __tablename__ = "positions"
    __table_args__ = ({"sqlite_with_rowid": False},)

    account_id: Mapped[KeyPart]
    instrument_id: Mapped[KeyPart]
    quantity_lots: Mapped[int]
    held_lots: Mapped[int]
    cost: Mapped[int]
    realized_pnl: Mapped[int]
    event_sequence: Mapped[int]


class CashBalanceRow(Base):
    __tablename__ = "cash_balances"
    __table_args__ = ({"sqlite_with_rowid": False},)

    account_id: Mapped[KeyPart]
    currency: Mapped[str] = mapped_column(primary_key=True)
    balance: Mapped[int]
    held: Mapped[int]
    event_sequence: Mapped[int]


class LedgerRow(Base):
    """One movement of cash, or of lots where `currency` is empty: see `postings`."""

    __tablename__ = "ledger"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        Index(None, "debit_account_id", "event_sequence"),
        Index(None, "credit_account_id", "event_sequence"),
        {"sqlite_with_rowid": False},
    )

    event_sequence: Mapped[KeyPart]
    entry_number: Mapped[KeyPart]
    kind: Mapped[str]
    debit_account_id: Mapped[int]
    credit_account_id: Mapped[int]
    currency: Mapped[str]
    instrument_id: Mapped[int]
    amount: Mapped[int]
    time_ns: Mapped[int]
    reference: Mapped[str]


class VenueActRow(Base):
    """An administrative command that the venue carried out or refused, and who sent it (a service, and its number)."""

    __tablename__ = "venue_acts"
    __table_args__ = (Index(None, "account_id", "event_sequence"),)

    event_sequence: Mapped[GivenId]
    time_ns: Mapped[int]
    producer: Mapped[str]
    producer_sequence: Mapped[int]
    kind: Mapped[str]
    account_id: Mapped[int | None]
    content: Mapped[str]  # JSON array of the event's fields


def table_of(model: type[Base]) -> Table:
    table = model.__table__
    assert isinstance(table, Table)
    return table
