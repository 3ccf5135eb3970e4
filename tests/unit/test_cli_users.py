"""`main.py users`, as whoever sets a venue up uses it."""

from pathlib import Path

import pytest

from trading_engine.cli import main


def test_first_administrator_comes_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def users(*words: str) -> tuple[int, str]:
        status = main(("users", *words, "--data-dir", str(tmp_path), "--by", "root"))
        said = capsys.readouterr()
        return status, (said.out + said.err).strip()

    monkeypatch.setenv("TRADING_ENGINE_PASSWORD", "a-good-password")
    assert users("create", "ada", "admin") == (0, "ada is admin")
    assert users("create", "otto", "operator") == (0, "otto is operator")
    assert users("role", "otto", "admin") == (0, "otto is admin")
    assert users("disable", "ada") == (0, "ada is admin, disabled")
    assert users("enable", "ada") == (0, "ada is admin")
    assert users("password", "ada") == (0, "ada is admin")
    listed = [line.split()[:3] for line in users("list")[1].splitlines()]
    assert listed == [["NAME", "ROLE", "ACCESS"], ["ada", "admin", "yes"], ["otto", "admin", "yes"]]
    users("disable", "ada")
    for words, complaint in [
        (("disable", "otto"), "only administrator"),
        (("role", "otto", "king"), "no role"),
        (("create", "tim", "trader"), "POST /v1/users"),
        (("create", "no name", "admin"), "user name"),
        (("create", "otto", "admin"), "is taken"),
        (("role", "nobody", "admin"), "no user 'nobody'"),
        (("fire", "otto"), "not a command"),
    ]:
        status, said = users(*words)
        assert status == 2
        assert complaint in said
    monkeypatch.setenv("TRADING_ENGINE_PASSWORD", "short")
    assert "8 to 256 characters" in users("password", "otto")[1]
