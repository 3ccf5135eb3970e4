"""The portal's third-party files, for tests that need them."""

import pytest

from trading_engine.frontend.trader_portal.assets import is_installed


def require_portal_files(*, dev: bool = False) -> None:
    """Skip where they were not installed: tests fetch nothing."""
    if not is_installed(dev=dev):
        option = " --dev" if dev else ""
        pytest.skip(f"needs the portal's files: python -m trading_engine.frontend.trader_portal.assets{option}")
