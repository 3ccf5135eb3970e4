"""The page's modules: their own tests in node, and the linter."""

import subprocess
from pathlib import Path

import pytest

from support.portal import require_portal_files
from trading_engine.frontend.trader_portal.assets import node_path
from trading_engine.frontend.trader_portal.bundle import NODE_MODULES, PORTAL_DIR, STATIC_DIR

CASES = Path(__file__).parent / "portal"


def run_node(*arguments: str | Path, folder: Path = PORTAL_DIR) -> None:
    done = subprocess.run(
        [node_path(), *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout[-6000:]


@pytest.mark.parametrize("case", sorted(CASES.glob("*.test.mjs")), ids=lambda case: case.name)
def test_module_cases_pass(case: Path) -> None:
    run_node("--test", case)


def test_modules_have_no_lint_findings() -> None:
    require_portal_files(dev=True)
    run_node(NODE_MODULES / "eslint" / "bin" / "eslint.js", "--max-warnings=0", "static", "eslint.config.js")


@pytest.mark.parametrize("module", sorted((STATIC_DIR / "js").glob("*.js")), ids=lambda module: module.name)
def test_module_begins_by_saying_what_it_is(module: Path) -> None:
    assert module.read_text(encoding="utf-8").startswith("// ")
