#!/usr/bin/env python3
"""Everything starts here: `python main.py up`, `-s OBS`, `-s TES`, `--frontend trader`, `-c trader`. See `python main.py --help`.

Any Python will do to start it: where the packages are not installed for it, the environment that `make` set up takes over.
"""

import importlib.util
import os
import sys
from pathlib import Path

ENVIRONMENT = Path(__file__).resolve().parent / ".venv"


def main() -> int:
    """Run the command line, in the environment of this checkout where this Python lacks the packages."""
    if importlib.util.find_spec("trading_engine") is None:
        python = ENVIRONMENT / "bin" / "python"
        if not python.exists() or Path(sys.prefix) == ENVIRONMENT:
            sys.stderr.write(
                "error: the packages are not installed yet: run `make setup` first, or `make run`, which does all of it\n"
            )
            return 2
        os.execv(python, [str(python), *sys.argv])  # noqa: S606 (no shell is wanted)
    from trading_engine.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
