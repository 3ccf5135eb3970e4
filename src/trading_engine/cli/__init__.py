"""The command line: reads arguments and configuration, starts one service, one client, or the whole venue."""

import sys
from collections.abc import Sequence

from trading_engine.cli.arguments import Arguments, parse
from trading_engine.shared.config import ConfigError

EXIT_CANNOT_START = 2
"""Something is wrong that starting again will not mend: the arguments, the configuration, a port or a directory in use."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    arguments = parse(sys.argv[1:] if argv is None else argv)
    try:
        return run(arguments)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CANNOT_START
    except KeyboardInterrupt:
        return 130


def run(arguments: Arguments) -> int:
    """Each command imports what it needs and no more: starting has to be quick."""
    match arguments.command:
        case "replay":
            from trading_engine.simulation.replay.lobster import run_replay

            assert arguments.messages is not None
            return run_replay(arguments.messages, arguments.book, arguments.as_json, arguments.core)
        case "up":
            from trading_engine.cli.up import run_up

            return run_up(arguments)
        case "compile":
            from trading_engine.cli.compile import run_compile

            return run_compile()
        case "export" | "import":
            from trading_engine.cli.archive import run_export, run_import

            assert arguments.folder is not None
            work = run_export if arguments.command == "export" else run_import
            return work(arguments.load_config(), arguments.folder)
        case "databases" if arguments.action == "check":
            from trading_engine.cli.check import run_check

            return run_check(arguments.load_config())
        case "users":
            from trading_engine.cli.users import run_users

            return run_users(arguments)
        case "utilities":
            from trading_engine.cli.utilities import run_utilities

            return run_utilities(arguments)
        case "databases":
            from trading_engine.cli import services

            return services.set_up_databases(arguments)
        case command:
            from trading_engine.cli import services

            return services.run_service(command, arguments)
