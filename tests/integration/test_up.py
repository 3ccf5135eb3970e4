"""`main.py up` and the services one by one, as a user starts them."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from support.processes import VenueProcesses, free_port
from trading_engine.clients import Client

ROOT = Path(__file__).parents[2]
DEADLINE_S = 90.0


class Up:
    """One run of `main.py up`."""

    def __init__(self, folder: Path, port: int, *arguments: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.output = folder / "up.txt"
        command = [sys.executable, str(ROOT / "main.py"), "up", "--no-browser", "--port", str(port)]
        self.fix_port = free_port()
        command += ["--fix-port", str(self.fix_port)]
        command += ["--data-dir", str(folder / "data"), "--config", str(ROOT / "config" / "dev.yaml"), *arguments]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)

    def text(self) -> str:
        return self.output.read_text()

    def wait_for(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.text()
            with contextlib.suppress(httpx.HTTPError):
                if reached():
                    return
            time.sleep(0.1)
        raise AssertionError(self.text())

    def is_healthy(self) -> bool:
        return httpx.get(f"{self.url}/v1/health", trust_env=False).status_code == 200

    def is_trading(self) -> bool:
        tickers = httpx.get(f"{self.url}/v1/tickers", trust_env=False).json()["tickers"]
        return any(ticker["last"] for ticker in tickers)

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=DEADLINE_S)


@contextlib.contextmanager
def up(folder: Path, port: int, *arguments: str) -> Iterator[Up]:
    run = Up(folder, port, *arguments)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.process.terminate()
            run.process.wait(timeout=DEADLINE_S)


def test_up_stopped_and_started_again_goes_on_with_orders_and_balances(tmp_path: Path) -> None:
    port = free_port()
    with up(tmp_path, port) as first:
        first.wait_for(lambda: first.is_healthy() and first.is_trading())
        first.wait_for(lambda: "simulated traders trading" in first.text())
        assert f"Trader Portal   {first.url}/" in first.text()
        assert "demo / demo-trader" in first.text()
        assert f"127.0.0.1:{first.fix_port}, TargetCompID VENUE" in first.text()
        assert "<title>" in httpx.get(first.url, trust_env=False).text
        with Client(first.url, username="demo", password="demo-trader") as client:
            resting = client.place("AAPL", "buy", 7, price="150.00", time_in_force="gtc")
            bought = client.place("MSFT", "buy", 5)
            assert bought.status == "filled"
            portfolio, positions = client.portfolio(), client.positions()
        assert first.interrupt() == 0
        assert "Stopped." in first.text()
    with up(tmp_path, port, "--no-bots") as second:
        second.wait_for(second.is_healthy)
        with Client(second.url, username="demo", password="demo-trader") as client:
            assert client.order(resting.order_id) == resting
            assert client.portfolio().cash == portfolio.cash
            held = {position.symbol: position.quantity for position in client.positions()}
            assert held == {position.symbol: position.quantity for position in positions}
        assert second.interrupt() == 0


def test_up_whose_order_book_server_dies_starts_it_again(tmp_path: Path) -> None:
    with up(tmp_path, free_port(), "--no-bots") as run:
        run.wait_for(run.is_healthy)
        children = subprocess.run(
            ["pgrep", "-P", str(run.process.pid), "-f", "--", "-s OBS"], capture_output=True, text=True, check=True
        )
        os.kill(int(children.stdout), signal.SIGKILL)
        run.wait_for(lambda: "starting it again" in run.text())
        run.wait_for(run.is_healthy)
        assert run.interrupt() == 0


def test_up_on_a_port_in_use_says_so_and_starts_nothing(tmp_path: Path) -> None:
    with up(tmp_path, free_port(), "--no-bots") as run:
        run.wait_for(run.is_healthy)
        port = run.url.rsplit(":", 1)[1]
        other = subprocess.run(
            [sys.executable, str(ROOT / "main.py"), "up", "--port", port, "--data-dir", str(tmp_path / "other")],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert other.returncode == 2
        assert f"127.0.0.1:{port} cannot be used" in other.stderr
        assert not (tmp_path / "other").exists()


def test_up_on_a_data_directory_in_use_ends_and_says_why(tmp_path: Path) -> None:
    with up(tmp_path, free_port(), "--no-bots") as run:
        run.wait_for(run.is_healthy)
        other = subprocess.run(
            [
                sys.executable,
                str(ROOT / "main.py"),
                "up",
                "--no-bots",
                "--port",
                str(free_port()),
                "--fix-port",
                str(free_port()),
                "--data-dir",
                str(tmp_path / "data"),
            ],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert other.returncode == 1
        assert "in use" in other.stderr + other.stdout
        assert run.is_healthy()


@pytest.mark.parametrize("order", [("portal", "tes", "obs"), ("obs", "portal", "tes")])
def test_services_started_one_by_one_in_any_order_find_each_other(order: tuple[str, ...], tmp_path: Path) -> None:
    venue = VenueProcesses(tmp_path, {"demo": {"users": [{"username": "demo", "password": "demo-trader"}]}})
    page = free_port()
    arguments = {"portal": ("--frontend", "trader", "--url", venue.url), "tes": ("-s", "TES"), "obs": ("-s", "OBS")}
    try:
        for name in order:
            venue.start(name, *arguments[name], *(("--port", str(page)) if name == "portal" else ()))
        venue.wait_ready()
        assert httpx.get(f"http://127.0.0.1:{page}/config.json", trust_env=False).json()["api_url"] == venue.url
    finally:
        venue.close()
