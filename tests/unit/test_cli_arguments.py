"""What can be said on the command line, and what it does to the configuration."""

import re
from pathlib import Path

import pytest

from trading_engine.cli import EXIT_CANNOT_START, main
from trading_engine.cli.arguments import parse
from trading_engine.messaging.transports import socket_path
from trading_engine.shared.config import Config, ConfigError, load_config

ROOT = Path(__file__).parents[2]
DEV = ROOT / "config" / "dev.yaml"


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["up"], "up"),
        (["-s", "OBS"], "OBS"),
        (["-s", "TES"], "TES"),
        (["-s", "analytics"], "analytics"),
        (["-s", "history"], "history"),
        (["--frontend", "trader"], "portal"),
        (["-c", "trader"], "trader"),
        (["-c", "bots"], "bots"),
        (["databases", "setup"], "databases"),
        (["replay", "lobster", "messages.csv"], "replay"),
    ],
)
def test_arguments_of_each_command_name_it(argv: list[str], command: str) -> None:
    assert parse(argv).command == command


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["-s", "OBS", "-c", "bots"],
        ["-s", "XYZ"],
        ["-s", "TES", "--standby"],
        ["-c", "bots", "--shard", "1"],
        ["up", "--port", "0"],
        ["up", "--port", "x"],
        ["replay"],
    ],
)
def test_arguments_that_make_no_sense_end_with_status_two_and_say_why(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(argv)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv", [["--port", "9000", "--data-dir", "/tmp/x", "up"], ["up", "--port", "9000", "--data-dir", "/tmp/x"]]
)
def test_arguments_before_and_after_the_command_overrule_the_configuration(argv: list[str]) -> None:
    arguments = parse([*argv, "--config", str(DEV)])
    config = arguments.load_config()
    assert (config.tes.port, config.data_dir) == (9000, "/tmp/x")
    assert arguments.pass_on() == ["--config", str(DEV), "--data-dir", "/tmp/x", "--port", "9000"]


@pytest.mark.parametrize(("options", "standby"), [([], False), (["--standby"], True)])
def test_arguments_of_an_order_book_server_say_whether_it_stands_by(options: list[str], standby: bool) -> None:
    assert parse(["-s", "OBS", *options, "--config", str(DEV)]).load_config().obs.standby is standby


def test_configuration_for_production_is_valid_and_selects_rabbitmq() -> None:
    assert load_config(ROOT / "config" / "prod.yaml").messaging.transport == "rabbitmq"


def test_arguments_of_a_shard_lead_to_its_own_directory_and_socket() -> None:
    arguments = ["-s", "OBS", "--shard", "1", "--shards", "2", "--data-dir", "/tmp/x", "--config", str(DEV)]
    config = parse(arguments).load_config()
    assert (config.obs.shard, config.obs_path) == (1, Path("/tmp/x/shard-1").resolve())
    assert socket_path(config).name == "obs-1.sock"
    assert socket_path(config.of_shard(0)).name == "obs.sock"
    assert config.of_shard(0).obs_path == config.data_path


def test_arguments_of_the_portal_alone_set_its_own_port_and_api() -> None:
    config = parse(
        ["--frontend", "trader", "--port", "9001", "--url", "http://127.0.0.1:9000", "--config", str(DEV)]
    ).load_config()
    assert (config.frontend.trader.port, config.frontend.trader.api_url) == (9001, "http://127.0.0.1:9000")
    assert config.tes.port == 8000


def test_main_with_a_configuration_that_is_not_there_says_so_and_ends_with_status_two(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--config", "/nowhere/at-all.yaml", "-s", "OBS"]) == EXIT_CANNOT_START
    assert "/nowhere/at-all.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("tes: {prot: 1}", "prot"), ("tes: {port: high}", "$.tes.port"), ("tes: [", "not valid YAML"), ("7", "Expected")],
)
def test_configuration_with_a_fault_names_the_file_and_the_key(
    text: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    assert main(["--config", str(path), "-s", "TES"]) == EXIT_CANNOT_START
    error = capsys.readouterr().err
    assert str(path) in error
    assert complaint in error


def keys_of(section: object) -> set[str]:
    """The names of all settings below a section, lists and tables of them included."""
    fields = getattr(section, "__struct_fields__", ())
    names = set(fields)
    for value in (getattr(section, name) for name in fields):
        for item in value if isinstance(value, tuple) else (value.values() if isinstance(value, dict) else (value,)):
            names |= keys_of(item)
    return names


def test_configuration_for_development_documents_every_key() -> None:
    text = DEV.read_text()
    missing = {key for key in keys_of(load_config(DEV)) if not re.search(rf"\b{key}:", text)}
    assert missing == set()


def test_configuration_defaults_are_those_of_the_development_file() -> None:
    """Except for what makes a market: instruments, users and what the simulated traders own."""
    dev, default = load_config(DEV), Config()
    assert (dev.obs, dev.tes, dev.messaging, dev.database, dev.frontend) == (
        default.obs,
        default.tes,
        default.messaging,
        default.database,
        default.frontend,
    )


def test_shards_that_are_asked_for_share_the_instruments_in_turn() -> None:
    config = parse(["up", "--shards", "3", "--config", str(DEV)]).load_config()
    assert [item.shard for item in config.venue.instruments] == [0, 1, 2] * 4
    assert list(config.shards) == [0, 1, 2]


@pytest.mark.parametrize(
    ("options", "text", "said"),
    [
        (["-s", "OBS", "--shard", "1"], "", "obs.shard: there is no shard 1"),
        (
            ["up"],
            'venue: {instruments: [{symbol: A, name: A, reference_price: "1", shard: 1}]}',
            "A: there is no shard 1",
        ),
        (["up", "--shards", "0"], "", "venue.shards: 0 is not from 1 to 1000"),
        (["up", "--data-dir", "DIR"], "", "is of a venue with more shards than one"),
    ],
)
def test_shards_that_there_are_not_are_an_error(options: list[str], text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "shard-1").mkdir()
    file = tmp_path / "config.yaml"
    file.write_text(text or "{}")
    options = [str(tmp_path) if option == "DIR" else option for option in options]
    with pytest.raises(ConfigError, match=said):
        parse([*options, "--config", str(file)]).load_config()
