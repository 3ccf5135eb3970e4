"""`main.py utilities`, as an operator uses it."""

from pathlib import Path

import pytest

from trading_engine.cli import main

CONFIG = str(Path(__file__).parents[2] / "config" / "dev.yaml")
IBM = ("instrument", "IBM", "name=IBM", "reference_price=230.00")


class Operator:
    def __init__(self, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._options = ("--config", CONFIG, "--data-dir", str(data_dir), "--by", "ann")
        self._capsys = capsys

    def __call__(self, *words: str) -> str:
        assert main(("utilities", *words, *self._options)) == 0
        return self._capsys.readouterr().out.strip()

    def refused(self, *words: str) -> str:
        assert main(("utilities", *words, *self._options)) == 2
        return self._capsys.readouterr().err.strip()


@pytest.fixture
def operate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Operator:
    return Operator(tmp_path, capsys)


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_instrument_is_added_and_changed_field_by_field(operate: Operator) -> None:
    assert operate("set", *IBM, "matching={algorithm: pro-rata, top: true}") == "version 1"
    assert operate("set", "instrument", "IBM", "taker_fee_bp=2.5", "suspended=true", "matching=none") == "version 2"
    header, ibm = operate("list", "instruments").splitlines()
    assert header.split() == ["SYMBOL", "VERSION", "VENUE", "DEFINITION"]
    assert (
        ibm
        == "IBM     2        not seen by the venue yet  name=IBM reference_price=230.00 taker_fee_bp=2.5 suspended=true"
    )


def test_holidays_limits_flags_and_models_are_set_listed_and_unset(operate: Operator) -> None:
    assert operate("set", "holiday", "2026-12-24", "09:30-13:00", "Christmas", "Eve") == "version 1"
    assert rows(operate("list", "holidays"))[1] == ["24/7", "2026-12-24", "09:30-13:00", "Christmas", "Eve", "own", "1"]
    assert operate("unset", "holiday", "2026-12-24") == "unset"
    assert operate("unset", "holiday", "2026-12-24") == "was not set"
    assert operate("set", "limits", "account:7", "order_quantity_lots_max=500", "day_loss_max=10") == "version 3"
    assert operate("set", "limits", "venue", "none") == "version 4"
    assert [row[0] for row in rows(operate("list", "limits"))] == ["SCOPE", "account:7", "venue"]
    assert operate("set", "flag", "new_orders", "false") == "version 5"
    assert ["new_orders", "false", "true"] in [row[:3] for row in rows(operate("list", "flags"))]
    assert operate("unset", "flag", "new_orders") == "unset"
    said = operate("set", "model", "maker", "spread", '{"ticks": 3}', "--from", "2026-01-02T03:04")
    assert said == "version 1, active from 2026-01-02T03:04:00Z"
    operate("set", "model", "maker", "spread", '{"ticks": 4}', "--from", "2200-01-01T00:00")
    assert [row[2:] for row in rows(operate("list", "models"))[1:]] == [
        ["1", "2026-01-02T03:04:00Z", "yes", '{"ticks":3}'],
        ["2", "2200-01-01T00:00:00Z", '{"ticks":4}'],
    ]
    assert {row[2] for row in rows(operate("list", "changes"))} == {"ann"}


def test_change_of_an_entry_that_has_another_version_is_refused(operate: Operator) -> None:
    operate("set", *IBM)
    said = operate.refused("set", "instrument", "IBM", "name=Other", "--if-version", "7")
    assert said == "error: instruments IBM is at version 1, not 7: somebody has changed it; read it again"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("list everything", "there is nothing called 'everything' to list"),
        ("set instrument IBM", "that is not how it is set"),
        ("set instrument IBM name=IBM", "missing required field `reference_price`"),
        ("set instrument IBM name", "'name' is not FIELD=VALUE"),
        ("set instrument IBM name=I reference_price=1 colour=red", "`colour`; the fields are symbol, name"),
        ("set instrument IBM name=I reference_price=1 currency=EUR", "EUR is not among venue.currencies"),
        ("set instrument IBM name=I reference_price=1 maintenance_margin_percent=101", "does not take the definition"),
        ("set holiday soon closed", "the date is not one like 2026-12-24"),
        ("set holiday 2026-12-24 morning", "belong together"),
        ("set limits bob day_loss_max=1", "'bob' is none of account:NUMBER, firm:NUMBER and venue"),
        ("set limits venue loss=1", "there is no risk limit 'loss'; there are order_quantity_lots_max"),
        ("set limits venue day_loss_max=much", "limits are whole numbers"),
        ("set flag new_orders maybe", "flag new_orders: 'maybe' is not a bool"),
        (
            "set flag colour red",
            "there is no flag 'colour'; there are alpaca_api, binance_api, chart_feed, logins, new_orders, scenarios",
        ),
        ("set model maker spread 3", "parameters are a JSON object"),
        ('set model simulated_traders default {"volatility":-1}', ">= 0"),
        (
            'set model simulated_traders default {"speed":2}',
            "unknown field `speed`; the parameters are orders_per_second",
        ),
        ("set model maker spread {} --from noon", "--from noon: a time like"),
        ("unset instrument IBM", "an instrument stays listed"),
        ("unset limits venue", "'limits' cannot be unset"),
        ("show", "utilities show: that is not a command"),
    ],
)
def test_command_that_makes_no_sense_is_refused_with_what_would(operate: Operator, words: str, said: str) -> None:
    assert said in operate.refused(*words.split())
