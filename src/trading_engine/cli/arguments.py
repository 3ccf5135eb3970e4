"""The arguments of `main.py`, and the configuration that they lead to."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from trading_engine import __version__
from trading_engine.shared.config import Config, load_config

OF_A_SHARD = ("OBS", "analytics", "history")
"""Servers of one shard; the others are of them all."""
DEFAULT_CONFIG = Path("config/dev.yaml")

EXAMPLES = """
the whole venue in one go:
  python main.py up                         with a live simulated market
  python main.py up --no-bots --no-browser --port 9000 --fix-port 9001 --data-dir /tmp/venue
  python main.py up --shards 2              with two order book servers

service by service, each in a terminal of its own, in any order:
  python main.py -s OBS                     order book server
  python main.py -s OBS --standby           another one, which takes over when the first is dead
  python main.py -s TES                     trading engine server: the API on http://127.0.0.1:8000
  python main.py -s FIX                     FIX gateway, on 127.0.0.1:9878
  python main.py -s analytics               keeps the analytics database up to date
  python main.py -s history                 keeps trades, quotes and books
  python main.py --frontend trader          the Trader Portal alone on http://127.0.0.1:8080
  python main.py -c trader                  trade in this terminal
  python main.py -c bots                    simulated traders

recorded data through the same matching core:
  python main.py replay lobster MESSAGES.csv --book BOOK.csv
"""


@dataclass(frozen=True, slots=True)
class Arguments:
    """What was asked for. `command` is up, OBS, TES, FIX, analytics, history, portal, trader, bots, databases, utilities, users,
    export, import, compile or replay."""

    command: str
    config_path: Path
    config_given: bool
    data_dir: str | None = None
    port: int | None = None
    fix_port: int | None = None
    no_browser: bool = False
    no_bots: bool = False
    with_portal: bool = False
    standby: bool = False
    shard: int | None = None
    shards: int | None = None
    url: str | None = None
    username: str | None = None
    messages: Path | None = None
    book: Path | None = None
    as_json: bool = False
    folder: Path | None = None
    action: str = "setup"
    core: str = "fast"
    words: tuple[str, ...] = ()
    by: str | None = None
    if_version: int | None = None
    active_from: str | None = None

    def load_config(self) -> Config:
        """The configuration file with the options of the command line over it. Raises `ConfigError`."""
        config = load_config(self.config_path) if self.config_given or self.config_path.exists() else Config()
        if self.data_dir is not None:
            config = msgspec.structs.replace(config, data_dir=self.data_dir)
        if self.shards is not None:
            config = config.over_shards(self.shards)
        if self.shard is not None:
            config = config.of_shard(self.shard)
        if self.standby:
            config = msgspec.structs.replace(config, obs=msgspec.structs.replace(config.obs, standby=True))
        if self.port is not None and self.command == "portal":
            trader = msgspec.structs.replace(config.frontend.trader, port=self.port)
            config = msgspec.structs.replace(config, frontend=msgspec.structs.replace(config.frontend, trader=trader))
        elif self.port is not None:
            config = msgspec.structs.replace(config, tes=msgspec.structs.replace(config.tes, port=self.port))
        if self.fix_port is not None:
            config = msgspec.structs.replace(config, fix=msgspec.structs.replace(config.fix, port=self.fix_port))
        if self.url is not None:
            trader = msgspec.structs.replace(config.frontend.trader, api_url=self.url)
            config = msgspec.structs.replace(config, frontend=msgspec.structs.replace(config.frontend, trader=trader))
        return config.checked()

    def pass_on(self) -> list[str]:
        """The options that a service started by `up` has to see as well."""
        options = ["--config", str(self.config_path)] if self.config_given or self.config_path.exists() else []
        if self.data_dir is not None:
            options += ["--data-dir", self.data_dir]
        if self.port is not None:
            options += ["--port", str(self.port)]
        if self.fix_port is not None:
            options += ["--fix-port", str(self.fix_port)]
        if self.shards is not None:
            options += ["--shards", str(self.shards)]
        return options


def port_number(text: str) -> int:
    port = int(text)
    if not 1 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{port} is not a port number (1 to 65535)")
    return port


def add_common(parser: argparse.ArgumentParser) -> None:
    """Options that may stand before or after the command."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        default=argparse.SUPPRESS,
        help=f"configuration (default: {DEFAULT_CONFIG})",
    )
    parser.add_argument(
        "--data-dir", metavar="DIR", default=argparse.SUPPRESS, help="where everything is kept (default: var)"
    )
    parser.add_argument(
        "--shards",
        type=int,
        metavar="N",
        default=argparse.SUPPRESS,
        help="order book servers that share the instruments (default: as configured)",
    )
    parser.add_argument(
        "--port",
        type=port_number,
        default=argparse.SUPPRESS,
        help="port of the API and the page (default: 8000)",
    )
    parser.add_argument(
        "--fix-port", type=port_number, default=argparse.SUPPRESS, help="port of the FIX gateway (default: 9878)"
    )


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="main.py",
        description="A trading venue that you run yourself, and that behaves like an exchange.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("-s", "--server", choices=["OBS", "TES", "FIX", "analytics", "history"], help="run one server")
    parser.add_argument("--frontend", choices=["trader"], help="serve one front end by itself")
    parser.add_argument(
        "-c",
        "--client",
        choices=["trader", "bots"],
        help="run a client: a terminal to trade in, or the simulated traders",
    )
    parser.add_argument(
        "--shard", type=int, metavar="N", help="with -s OBS, analytics or history: which shard (default: as configured)"
    )
    parser.add_argument(
        "--standby", action="store_true", help="with -s OBS: wait, and take over when the one that serves is dead"
    )
    parser.add_argument("--with-portal", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--url", help="address of the TES, for a client or a front end (default: as configured)")
    parser.add_argument("--username", help="who logs in, for -c trader")
    add_common(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    up = commands.add_parser("up", help="run the whole venue", description="Run the whole venue until Ctrl-C.")
    add_common(up)
    up.add_argument("--no-browser", action="store_true", help="do not open the page in a browser")
    up.add_argument("--no-bots", action="store_true", help="no simulated traders")
    commands.add_parser("compile", help="compile the matching core, once for each release; a start does it by itself")
    databases = commands.add_parser(
        "databases", help="create and migrate the databases, or check them by a replay of the journal"
    )
    databases.add_argument("action", choices=["setup", "check"])
    add_common(databases)
    for name, words in (
        ("export", "write the whole venue, running or not, into a new folder"),
        ("import", "put up an exported venue in an empty data directory and empty databases"),
    ):
        transfer = commands.add_parser(name, help=words, description=f"{words.capitalize()}: see MIGRATION.md.")
        transfer.add_argument("folder", type=Path, metavar="FOLDER")
        add_common(transfer)
    utilities = commands.add_parser("utilities", help="instruments, holidays, limits, flags and model parameters")
    utilities.add_argument("words", nargs="+", metavar="WORD", help="list …, set … or unset …: see docs/utilities.md")
    utilities.add_argument(
        "--by", metavar="NAME", help="who does it, for the audit (default: the user of this machine)"
    )
    utilities.add_argument(
        "--if-version", type=int, metavar="N", help="only if the entry has this version (0: is not there)"
    )
    utilities.add_argument("--from", dest="active_from", metavar="TIME", help="when model parameters become active")
    add_common(utilities)
    users = commands.add_parser("users", help="who may log in and what they may do: list, create, role, disable, …")
    users.add_argument("words", nargs="+", metavar="WORD", help="see docs/security.md")
    users.add_argument(
        "--by", metavar="NAME", help="who does it, for the audit log (default: the user of this machine)"
    )
    add_common(users)
    replay = commands.add_parser("replay", help="replay recorded market data through the venue")
    formats = replay.add_subparsers(dest="format", required=True, metavar="FORMAT")
    lobster = formats.add_parser("lobster", help="LOBSTER message files")
    lobster.add_argument("messages", type=Path, metavar="MESSAGES.csv")
    lobster.add_argument("--book", type=Path, metavar="BOOK.csv", help="order book file to compare with, row by row")
    lobster.add_argument(
        "--core",
        choices=["fast", "reference"],
        default="fast",
        help="implementation of the venue; both make the same of it",
    )
    lobster.add_argument("--json", action="store_true", dest="as_json", help="print the report as one JSON object")
    return parser


def parse(argv: Sequence[str]) -> Arguments:
    """Exits with status 2 and a message on arguments that make no sense."""
    parser = build_parser()
    options = parser.parse_args(argv)
    asked = [
        command
        for command in (
            options.command,
            options.server,
            "portal" if options.frontend else None,
            options.client,
        )
        if command
    ]
    if len(asked) != 1:
        parser.error(
            "say one thing to run: up, replay, databases, utilities, users, export, import, compile, -s OBS, -s TES, "
            "-s FIX, -s analytics, -s history, "
            "--frontend trader, -c trader or -c bots"
        )
    if options.standby and options.server != "OBS":
        parser.error("--standby goes with -s OBS")
    if options.shard is not None and options.server not in OF_A_SHARD:
        parser.error(f"--shard goes with -s {', '.join(OF_A_SHARD)}")
    return Arguments(
        command=asked[0],
        config_path=getattr(options, "config", DEFAULT_CONFIG),
        config_given=hasattr(options, "config"),
        data_dir=getattr(options, "data_dir", None),
        port=getattr(options, "port", None),
        fix_port=getattr(options, "fix_port", None),
        no_browser=getattr(options, "no_browser", False),
        no_bots=getattr(options, "no_bots", False),
        with_portal=options.with_portal,
        standby=options.standby,
        shard=options.shard,
        shards=getattr(options, "shards", None),
        url=options.url,
        username=options.username,
        words=tuple(getattr(options, "words", ())),
        by=getattr(options, "by", None),
        if_version=getattr(options, "if_version", None),
        active_from=getattr(options, "active_from", None),
        messages=getattr(options, "messages", None),
        book=getattr(options, "book", None),
        as_json=getattr(options, "as_json", False),
        folder=getattr(options, "folder", None),
        action=getattr(options, "action", "setup"),
        core=getattr(options, "core", "fast"),
    )
