"""What ccxt knows of Binance's spot API, path by path."""

import json
import sys

import ccxt


def main() -> None:
    sections = ccxt.binance().describe()["api"]
    known = {
        section: sorted([method.upper(), path] for method, paths in sections[section].items() for path in paths)
        for section in ("public", "private")
    }
    sys.stdout.write(json.dumps(known))


if __name__ == "__main__":
    main()
