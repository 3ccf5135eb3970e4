"""docs/venue.md says what the code says."""

import re
from enum import IntEnum
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from support.refusal_cases import REFUSED
from support.venue_driver import STRATEGIES
from trading_engine.venue import accounts, checks, circuit_breakers, instrument, risk_limits, transfers, venue
from trading_engine.venue import commands as c
from trading_engine.venue import events as e
from trading_engine.venue.auction import LimitBandRules
from trading_engine.venue.circuit_breakers import CircuitBreakers
from trading_engine.venue.instrument import MatchingRules
from trading_engine.venue.market_data.updates import AnyOrderDelta, MarketUpdate
from trading_engine.venue.reasons import REASON_TEXT, EndReason, Reason
from trading_engine.venue.terms import PHASE_RULES, SpecialTerms

TEXT = (Path(__file__).parents[2] / "docs" / "venue.md").read_text()


def table(heading: str) -> list[list[str]]:
    """The cells of the rows of the table with this first row, without backticks."""
    _, found, rest = TEXT.partition(f"\n| {heading} |")
    assert found, heading
    rows = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip().replace("`", "") for cell in row.strip("|").split("|")] for row in rows]


def default(field: msgspec.structs.FieldInfo) -> str:
    value = field.default
    return repr(int(value) if isinstance(value, IntEnum) else value).replace("'", '"')


def fields(struct: type[msgspec.Struct]) -> str:
    return ", ".join(
        field.name if field.default is msgspec.NODEFAULT else f"{field.name} = {default(field)}"
        for field in msgspec.structs.fields(struct)
    )


@pytest.mark.parametrize(
    ("heading", "union"),
    [("Tag | Command | Fields | What it does", c.AnyCommand), ("Tag | Event | Fields | When", e.AnyEvent)],
)
def test_documented_fields_are_those_of_the_code(heading: str, union: object) -> None:
    assert [row[:3] for row in table(heading)] == [
        [str(struct.__struct_config__.tag), struct.__name__, fields(struct)] for struct in get_args(union)
    ]


def test_documented_special_terms_are_those_of_the_code() -> None:
    assert tuple(row[0] for row in table("Term | Of which orders | What it means")) == SpecialTerms.__struct_fields__


def test_documented_risk_limits_are_those_of_the_code() -> None:
    rows = table("Limit of `RiskLimits` | Reason | What is limited")
    assert tuple(row[0] for row in rows) == risk_limits.RiskLimits.__struct_fields__
    assert {row[1] for row in rows if row[1]} <= {reason.name for reason in Reason}


def test_documented_matching_parameters_are_those_of_the_code() -> None:
    documented = ", ".join(row[0] for row in table("Parameter | What it means"))
    assert documented == fields(MatchingRules)


@pytest.mark.parametrize("struct", [LimitBandRules, CircuitBreakers])
def test_documented_parameters_of_halts_are_those_of_the_code(struct: type[msgspec.Struct]) -> None:
    rows = table(f"Parameter of `{struct.__name__}` | What it means")
    assert ", ".join(row[0] for row in rows) == fields(struct)


def test_documented_algorithms_are_those_of_the_order_book_server() -> None:
    assert sorted(row[0] for row in table("Algorithm | Steps | CME")) == sorted(STRATEGIES)


def test_documented_refusals_stand_in_the_order_of_precedence_with_text_and_commands() -> None:
    refuses = {
        reason: [
            struct.__name__
            for struct in get_args(c.AnyCommand)
            if any(case.reason is reason and type(case.command) is struct for case in REFUSED)
        ]
        for reason in Reason
    }
    assert [row[:4] for row in table("Code | Reason | Text | Refuses | `limit`")] == [
        [str(reason.value), reason.name, REASON_TEXT[reason], ", ".join(refuses[reason]) or "the edge"]
        for reason in Reason
    ]


def test_documented_bounds_are_those_that_refusals_report() -> None:
    documented = {row[1] for row in table("Code | Reason | Text | Refuses | `limit`") if row[4]}
    reports_zero = {Reason.MAX_OPEN_ORDERS.name}  # The stage allows Bob no order at all.
    assert documented == {case.reason.name for case in REFUSED if case.limit} | reports_zero


def test_documented_end_reasons_are_all_there_are() -> None:
    assert [row[:2] for row in table("Code | End reason | Status | When")] == [
        [str(reason.value), reason.name] for reason in EndReason
    ]


def test_documented_phases_are_the_table_of_the_code() -> None:
    def said(allowed: bool) -> str:
        return "yes" if allowed else "no"

    assert table("Phase | New | Replace | Cancel | Match | Call, then | Refusal") == [
        [
            f"{phase.value} {phase.name}",
            *(said(allowed) for allowed in rule[:4]),
            rule.then.name if rule.then else "",
            rule.refusal.name if rule.refusal else "",
        ]
        for phase, rule in PHASE_RULES.items()
    ]


def test_documented_limits_are_those_of_the_code() -> None:
    modules = (instrument, checks, accounts, venue, risk_limits, circuit_breakers, transfers)
    for name, value, *_ in table("Limit | Value | Of what"):
        values = {getattr(module, name) for module in modules if hasattr(module, name)}
        assert values == {int(value)}, name


def test_scenes_named_in_the_documentation_exist() -> None:
    for path in re.findall(r"`(tests/[\w/.*]+)`", TEXT):
        assert list((Path(__file__).parents[2]).glob(path)), path


def test_documented_update_is_that_of_the_code() -> None:
    assert tuple(row[0] for row in table("Update field | What it tells")) == MarketUpdate.__struct_fields__


def test_documented_order_deltas_are_those_of_the_code() -> None:
    assert [row[:3] for row in table("Tag | Order delta | Fields | What it means")] == [
        [str(struct.__struct_config__.tag), struct.__name__, fields(struct)] for struct in get_args(AnyOrderDelta)
    ]
