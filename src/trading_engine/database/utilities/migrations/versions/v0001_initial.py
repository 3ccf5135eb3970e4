"""The first schema.

Revision ID: 0001
Revises:
"""

from secrets import token_hex

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    state = create("utilities_state", ("epoch",), integers=("version",))
    create("instruments", ("symbol",), texts=("definition",), integers=("place", "version"))
    holiday_texts = ("opens_at", "closes_at", "name", "source")
    create("holidays", ("calendar", "date"), texts=holiday_texts, integers=("version",))
    create("risk_limits", (), integer_keys=("scope", "scope_id"), texts=("limits",), integers=("version",))
    create("feature_flags", ("name",), texts=("value",), integers=("version",))
    model_keys, model_integers = ("model", "name"), ("active_from_ns",)
    create("model_params", model_keys, integer_keys=("version",), texts=("parameters",), integers=model_integers)
    change_texts = ("changed_by", "before", "after")
    create("changes", ("kind", "key"), integer_keys=("version",), texts=change_texts, integers=("changed_ns",))
    applied_integers = ("version", "reported_ns")
    create("applied", ("kind", "key"), integer_keys=("shard",), texts=("outcome",), integers=applied_integers)
    op.bulk_insert(state, [{"epoch": token_hex(8), "version": 0}])


def create(
    name: str,
    text_keys: tuple[str, ...],
    integer_keys: tuple[str, ...] = (),
    texts: tuple[str, ...] = (),
    integers: tuple[str, ...] = (),
) -> sa.Table:
    """A table with these columns, none of which may be null, and a primary key of the first ones."""
    kinds = ((integer_keys, sa.BigInteger), (text_keys, sa.Text), (texts, sa.Text), (integers, sa.BigInteger))
    columns = [
        sa.Column(column, kind(), nullable=False, autoincrement=False) for names, kind in kinds for column in names
    ]
    key = sa.PrimaryKeyConstraint(*integer_keys, *text_keys, name=op.f(f"pk_{name}"))
    return op.create_table(name, *columns, key)
