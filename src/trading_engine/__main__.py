"""`python -m trading_engine` is `python main.py`."""

import sys

from trading_engine.cli import main

sys.exit(main())
