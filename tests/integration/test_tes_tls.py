"""The TES under TLS, and without where others could listen."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import trustme
import websockets
from msgspec.structs import replace

from support.tes_venue import DEADLINE_S, PASSWORD, ObsHandle, TesHandle, eventually, running_venue, venue_config
from trading_engine.cli import main
from trading_engine.clients import AsyncClient
from trading_engine.clients.sdk import views
from trading_engine.clients.sdk.async_stream import AsyncStream
from trading_engine.clients.sdk.errors import Disconnected
from trading_engine.servers.tes import server
from trading_engine.servers.tes.server import run_until
from trading_engine.servers.tes.tls import UnsafePlainHttp
from trading_engine.shared.config import Config, ConfigError, DemoConfig, load_config

AUTHORITY = trustme.CA()


def tls_config(folder: Path) -> Config:
    certificate = AUTHORITY.issue_cert("127.0.0.1", "localhost")
    certificate.cert_chain_pems[0].write_to_path(folder / "tls.crt")
    certificate.private_key_pem.write_to_path(folder / "tls.key")
    return venue_config(folder, tls_certificate=str(folder / "tls.crt"), tls_key=str(folder / "tls.key"))


def client_context(highest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED) -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = highest
    return context


async def ends(port: int, first: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(first)
    try:
        async with asyncio.timeout(DEADLINE_S):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1")
async def test_everything_is_served_over_tls_and_nothing_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "TLS_HANDSHAKE_SECONDS", 1.0)
    config = tls_config(tmp_path)
    obs, tes = ObsHandle(config), TesHandle(config)
    await obs.start()
    await tes.start()
    try:
        await tes.ready()
        url = f"https://127.0.0.1:{tes.port}"
        async with httpx.AsyncClient(base_url=url, verify=client_context(), trust_env=False) as http:
            login = await http.post("/v1/auth/login", json={"username": "ann", "password": PASSWORD})
            assert login.status_code == 200
            assert login.headers["strict-transport-security"] == "max-age=31536000"
            socket_url = url.replace("https", "wss") + "/v1/ws"
            async with websockets.connect(socket_url, ssl=client_context(), proxy=None) as socket:
                await socket.send('{"op":"ping"}')
                assert '"ack"' in str(await socket.recv())
        with pytest.raises(httpx.ConnectError):
            async with httpx.AsyncClient(trust_env=False) as stranger:
                await stranger.get(url)  # it does not know the authority
        with pytest.raises(ssl.SSLError):
            await asyncio.open_connection("127.0.0.1", tes.port, ssl=client_context(ssl.TLSVersion.TLSv1_1))
        assert b"HTTP/1.1 200" not in await ends(tes.port, b"GET /v1/time HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await ends(tes.port, b"") == b""  # a handshake that does not begin is given up

        async def is_forgotten() -> bool:
            return tes.connection_count == 0

        await eventually(is_forgotten)
    finally:
        await tes.stop()
        await obs.stop()


async def until_first_order(stream: AsyncStream) -> AsyncIterator[views.OrderUpdate]:
    async for event in stream:
        if isinstance(event, views.OrderUpdate):
            yield event
            return


async def test_python_client_trades_over_tls_with_an_authority_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    AUTHORITY.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    config = tls_config(tmp_path)
    obs, tes = ObsHandle(config), TesHandle(config)
    await obs.start()
    await tes.start()
    try:
        await tes.ready()
        url = f"https://localhost:{tes.port}"
        async with AsyncClient(url, username="ann", password=PASSWORD) as ann, ann.stream() as stream:
            await stream.subscribe_orders()
            order = await ann.place("AAPL", "buy", 1, price="150.00")
            async with asyncio.timeout(DEADLINE_S):
                told = [event.order.order_id async for event in until_first_order(stream)]
            assert told == [order.order_id]
        monkeypatch.delenv("SSL_CERT_FILE")
        async with AsyncClient(url, username="ann", password=PASSWORD, repeat_for_s=0) as stranger:
            with pytest.raises(Disconnected, match="CERTIFICATE_VERIFY_FAILED"):
                await stranger.me()
    finally:
        await tes.stop()
        await obs.stop()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "venue.example"])
async def test_listening_for_others_without_tls_is_refused_unless_told(tmp_path: Path, host: str) -> None:
    config = replace(venue_config(tmp_path, host=host), demo=DemoConfig())
    with pytest.raises(UnsafePlainHttp, match="no TLS"):
        await run_until(asyncio.Event(), config)
    told = replace(config, tes=replace(config.tes, host="127.0.0.1", plain_http_beyond_loopback=True))
    stop = asyncio.Event()
    stop.set()
    await run_until(stop, told)


async def test_certificate_that_was_made_to_try_is_served_and_trusted(tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    made = [run_script("127.0.0.1", folder) for _ in range(2)]
    assert [process.returncode for process in made] == [0, 1], made
    assert "is there already" in made[1].stderr
    assert (folder / "tls.key").stat().st_mode & 0o077 == 0
    config = venue_config(tmp_path, tls_certificate=str(folder / "tls.crt"), tls_key=str(folder / "tls.key"))
    async with running_venue(config, verify=ssl.create_default_context(cafile=folder / "tls.crt")) as venue:
        await venue.log_in("ann")


def run_script(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).parents[2] / "scripts" / "make_certificate.sh"
    return subprocess.run([script, name, folder], capture_output=True, text=True, check=False, timeout=60)


async def test_production_without_its_certificate_is_told_what_to_do() -> None:
    config = load_config(Path(__file__).parents[2] / "config" / "prod.yaml")
    missing = replace(config, tes=replace(config.tes, tls_certificate="/nowhere/tls.crt"))
    with pytest.raises(ConfigError, match=r"tes\.tls_certificate: there is no /nowhere/tls\.crt.*make_certificate\.sh"):
        await run_until(asyncio.Event(), missing)


async def test_certificate_that_cannot_be_used_is_said_at_the_start(tmp_path: Path) -> None:
    for name, content in [("missing.crt", None), ("wrong.crt", "this is no certificate")]:
        if content is not None:
            (tmp_path / name).write_text(content)
        config = venue_config(tmp_path, tls_certificate=str(tmp_path / name))
        with pytest.raises(ConfigError, match=name):
            await run_until(asyncio.Event(), config)


def test_up_says_that_it_does_not_serve_tls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tls.yaml"
    file.write_text("tes: {tls_certificate: tls.crt}\n")
    assert main(["up", "--config", str(file), "--data-dir", str(tmp_path)]) == 2
    assert "tes.tls_certificate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("trusted", "expected"), [(("127.0.0.1",), "203.0.113.9"), ((), "127.0.0.1"), (("192.0.2.1",), "127.0.0.1")]
)
async def test_address_that_a_trusted_proxy_names_is_believed_and_no_other(
    tmp_path: Path, trusted: tuple[str, ...], expected: str
) -> None:
    config = venue_config(tmp_path, trusted_proxies=trusted)
    async with running_venue(config) as venue:
        await venue.http.post(
            "/v1/auth/login",
            json={"username": "nobody", "password": "wrong-password"},
            headers={"X-Forwarded-For": "198.51.100.7, 203.0.113.9"},
        )
        acts = (await venue.server.audit.acts(limit=1)).items
        assert acts[0].detail == {"address": expected}
