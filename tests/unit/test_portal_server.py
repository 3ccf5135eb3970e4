"""What the portal's server hands out, and under which rules."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from support.portal import require_portal_files
from trading_engine.frontend.trader_portal import assets, bundle
from trading_engine.frontend.trader_portal.app import create_portal_app, run_portal
from trading_engine.shared.config import Config, ConfigError, FrontendConfig, PortalConfig


def client_of(api_url: str | None) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=create_portal_app(api_url))
    return httpx.AsyncClient(transport=transport, base_url="http://portal.test")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    require_portal_files()
    async with client_of(None) as opened:
        yield opened


def policy_of(response: httpx.Response) -> dict[str, str]:
    directives = (part.strip().partition(" ") for part in response.headers["content-security-policy"].split(";"))
    return {name: sources for name, _, sources in directives}


async def page_and_assets(client: httpx.AsyncClient) -> tuple[httpx.Response, list[str]]:
    page = await client.get("/")
    return page, re.findall(r'(?:src|href)="(assets/[^"]+)"', page.text)


async def test_every_file_that_the_page_names_is_there(client: httpx.AsyncClient) -> None:
    page, names = await page_and_assets(client)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert len(names) >= 8
    for name in names:
        assert (await client.get(f"/{name}")).status_code == 200, name


async def test_every_import_and_font_is_there(client: httpx.AsyncClient) -> None:
    _, names = await page_and_assets(client)
    base = "/" + "/".join(names[0].split("/")[:2])
    sources = {
        path.relative_to(bundle.STATIC_DIR).as_posix(): path.read_text() for path in bundle.STATIC_DIR.rglob("*.[jc]s*")
    }
    wanted = {
        str((Path("/") / name).parent / target)
        for name, text in sources.items()
        for target in re.findall(r'from "(\.[^"]+)"|url\(([^)]+)\)', text)
        for target in target
        if target
    }
    assert len(wanted) > 30
    for target in wanted:
        assert (await client.get(f"{base}{target}")).status_code == 200, target


async def test_policy_allows_the_page_and_its_api_and_nothing_else(client: httpx.AsyncClient) -> None:
    own = policy_of(await client.get("/"))
    assert own["default-src"] == "'none'"
    assert own["script-src"] == own["connect-src"] == own["font-src"] == "'self'"
    assert own["frame-ancestors"] == own["base-uri"] == "'none'"
    assert re.fullmatch(r"'self' 'sha256-[A-Za-z0-9+/=]+'", own["style-src"])
    async with client_of("http://127.0.0.1:8000/") as apart:
        assert policy_of(await apart.get("/"))["connect-src"] == "'self' http://127.0.0.1:8000 ws://127.0.0.1:8000"
    async with client_of("https://venue.test") as apart:
        assert policy_of(await apart.get("/"))["connect-src"] == "'self' https://venue.test wss://venue.test"


async def test_config_names_the_api() -> None:
    async with client_of(None) as own, client_of("http://127.0.0.1:8000/") as apart:
        assert (await own.get("/config.json")).json() == {"api_url": None}
        assert (await apart.get("/config.json")).json() == {"api_url": "http://127.0.0.1:8000"}


@pytest.mark.parametrize(
    "api_url", ["127.0.0.1:8000", "ftp://venue.test", "http://venue.test/v1", "http://venue.test?x=1", "http://"]
)
def test_api_address_that_is_no_origin_is_refused(api_url: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        create_portal_app(api_url)


async def test_page_is_asked_for_each_time_and_files_are_kept(client: httpx.AsyncClient) -> None:
    page, names = await page_and_assets(client)
    assert page.headers["cache-control"] == "no-cache"
    again = await client.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert "immutable" in (await client.get(f"/{names[0]}")).headers["cache-control"]
    old_release = re.sub(r"^assets/[^/]+", "assets/0000000000000000", names[0])
    assert (await client.get(f"/{old_release}")).headers["cache-control"] == "no-cache"


async def test_files_are_compressed_for_those_who_can_read_it(client: httpx.AsyncClient) -> None:
    _, names = await page_and_assets(client)
    script = next(name for name in names if name.endswith("main.js"))
    plain = await client.get(f"/{script}", headers={"Accept-Encoding": "identity"})
    packed = await client.get(f"/{script}", headers={"Accept-Encoding": "br, gzip;q=0.8"})
    refused = await client.get(f"/{script}", headers={"Accept-Encoding": "gzip;q=0"})
    assert "content-encoding" not in plain.headers
    assert "content-encoding" not in refused.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content
    assert packed.headers["etag"] != plain.headers["etag"]
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"])


@pytest.mark.parametrize(
    "path",
    [
        "/assets/x/../app.py",
        "/assets/x/..%2f..%2fapp.py",
        "/assets/x/%2e%2e/bundle.py",
        "/assets/x//etc/passwd",
        "/assets/x/node_modules/eslint/package.json",
        "/assets/x/",
        "/package.json",
        "/static/js/main.js",
    ],
)
async def test_nothing_but_the_listed_files_can_be_had(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_only_reading_is_possible(client: httpx.AsyncClient) -> None:
    assert (await client.post("/")).status_code == 405
    assert (await client.head("/")).status_code == 200


async def test_without_third_party_files_the_page_says_what_to_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bundle, "NODE_MODULES", tmp_path)
    async with client_of(None) as client:
        answer = await client.get("/")
    assert answer.status_code == 503
    assert "python -m trading_engine.frontend.trader_portal.assets" in answer.text


def test_installed_files_are_not_installed_again() -> None:
    require_portal_files()
    said: list[str] = []
    assert assets.ensure_assets(said.append) is False
    assert said == []


def test_another_lock_makes_an_installation_stale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    require_portal_files()
    assert assets.is_installed()
    other = tmp_path / "package-lock.json"
    other.write_bytes(assets.LOCK.read_bytes() + b"\n")
    monkeypatch.setattr(assets, "LOCK", other)
    assert not assets.is_installed()


def test_lock_pins_every_package_by_hash_and_names_no_address() -> None:
    packages = json.loads(assets.LOCK.read_text())["packages"]
    for name, package in packages.items():
        assert "resolved" not in package, name
        assert not name or package["integrity"].startswith("sha512-"), name
    wanted = json.loads((bundle.PORTAL_DIR / "package.json").read_text())
    assert {**wanted["dependencies"], **wanted["devDependencies"]} == {
        name.removeprefix("node_modules/"): package["version"]
        for name, package in packages.items()
        if name.removeprefix("node_modules/") in {**wanted["dependencies"], **wanted["devDependencies"]}
    }


async def test_portal_for_other_machines_without_tls_is_refused() -> None:
    config = Config(frontend=FrontendConfig(trader=PortalConfig(host="0.0.0.0")))
    with pytest.raises(ConfigError, match="no TLS of its own"):
        await run_portal(config)
