"""Start private servers of all four kinds and say where they are, until interrupted: `python scripts/services.py [rabbitmq redis ...]`.

--install   only install what is missing, where that can be done
--keep      be the keeper of one server of a test run (see private_servers/shared.py)
"""

import argparse
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from private_servers import SERVERS, PrivateServer, ServerFailed
from private_servers.installing import install_missing
from private_servers.server import running, temporary_folder
from private_servers.shared import keep


def main() -> None:
    parser = make_parser()
    arguments = parser.parse_args()
    if arguments.keep:
        with temporary_folder() as folder:
            keep(SERVERS[arguments.keep](folder / arguments.keep), arguments.folder, arguments.keep_as)
        return
    unknown = set(arguments.names) - set(SERVERS)
    if unknown:
        parser.error(f"no such server: {', '.join(sorted(unknown))}; there are {', '.join(SERVERS)}")
    kinds = [SERVERS[name] for name in arguments.names or SERVERS]
    missing = install_missing(kinds)
    for kind in missing:
        print(
            f"==> No {kind.name} was found: what needs it will not run. To run it, {kind.how_to_get_it}",
            file=sys.stderr,
        )
    found = [kind for kind in kinds if kind not in missing]
    if found and not arguments.install:
        serve(found)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(SERVERS)}; all where none is named")
    parser.add_argument("--install", action="store_true", help="only install what is missing")
    parser.add_argument("--keep", choices=SERVERS, help=argparse.SUPPRESS)
    parser.add_argument("--as", dest="keep_as", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser


def serve(kinds: list[type[PrivateServer]]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with ExitStack() as stack:
            for kind in kinds:
                print(f"==> Starting {kind.name}", flush=True)
                server = stack.enter_context(running(kind))
                print(f"{kind.name:12} {server.url} pid {server.pid}", flush=True)
                print(f"    export {kind.url_variable}={server.url}", flush=True)
            print("==> Ctrl-C stops them; what they hold is then deleted", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print()
    except ServerFailed as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
