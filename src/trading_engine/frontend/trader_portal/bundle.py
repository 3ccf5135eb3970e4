"""The portal's files, held in memory: each read, hashed and compressed once.

Everything but the page itself is served under `assets/<digest>/`, where the digest covers every file, so a browser may keep it for ever
and a new release is fetched at once. Modules refer to each other relatively and therefore stay within one digest. Only the files that
are listed here can be asked for: a path is looked up in a table, never on the disk.
"""

import base64
import gzip
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

PORTAL_DIR = Path(__file__).parent
STATIC_DIR = PORTAL_DIR / "static"
NODE_MODULES = PORTAL_DIR / "node_modules"

CHART_LIBRARY = "vendor/lightweight-charts.js"
VENDOR_FILES = {
    CHART_LIBRARY: "lightweight-charts/dist/lightweight-charts.standalone.production.mjs",
    "vendor/inter-400.woff2": "@fontsource/inter/files/inter-latin-400-normal.woff2",
    "vendor/inter-500.woff2": "@fontsource/inter/files/inter-latin-500-normal.woff2",
    "vendor/inter-600.woff2": "@fontsource/inter/files/inter-latin-600-normal.woff2",
    "vendor/jetbrains-mono-400.woff2": "@fontsource/jetbrains-mono/files/jetbrains-mono-latin-400-normal.woff2",
    "vendor/jetbrains-mono-500.woff2": "@fontsource/jetbrains-mono/files/jetbrains-mono-latin-500-normal.woff2",
    "vendor/lightweight-charts-license.txt": "lightweight-charts/LICENSE",
    "vendor/inter-license.txt": "@fontsource/inter/LICENSE",
    "vendor/jetbrains-mono-license.txt": "@fontsource/jetbrains-mono/LICENSE",
}
"""Served name → file under `node_modules`."""

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
COMPRESS_BYTES_MIN = 512
PAGE = "index.html"
PAGE_ASSETS_MARK = "{{assets}}"


class VendorFilesMissingError(RuntimeError):
    """The third-party files were not installed; see `assets.py`."""


@dataclass(frozen=True, slots=True)
class PortalFile:
    body: bytes
    compressed: bytes | None
    """With gzip; None where that would not help."""
    media_type: str
    etag: str


@dataclass(frozen=True, slots=True)
class Bundle:
    digest: str
    page: PortalFile
    files: dict[str, PortalFile]
    """Served name, such as `js/main.js`, → file."""
    style_hashes: tuple[str, ...]
    """Content-Security-Policy sources for the style elements that third-party code makes."""


def missing_vendor_files() -> list[str]:
    """Paths under `node_modules` that are not there."""
    return [path for path in VENDOR_FILES.values() if not (NODE_MODULES / path).is_file()]


def load_bundle() -> Bundle:
    """Read everything. Raises `VendorFilesMissingError`."""
    missing = missing_vendor_files()
    if missing:
        raise VendorFilesMissingError(", ".join(missing))
    contents = {
        path.relative_to(STATIC_DIR).as_posix(): path.read_bytes()
        for path in sorted(STATIC_DIR.rglob("*"))
        if path.is_file()
    }
    contents |= {name: (NODE_MODULES / path).read_bytes() for name, path in VENDOR_FILES.items()}
    digest = _digest_of(contents)
    page = contents.pop(PAGE).decode().replace(PAGE_ASSETS_MARK, f"assets/{digest}").encode()
    return Bundle(
        digest=digest,
        page=_portal_file(PAGE, page),
        files={name: _portal_file(name, body) for name, body in contents.items()},
        style_hashes=_style_hashes(contents[CHART_LIBRARY].decode()),
    )


def _digest_of(contents: dict[str, bytes]) -> str:
    whole = hashlib.sha256()
    for name, body in sorted(contents.items()):
        whole.update(f"{name} {len(body)}\n".encode())
        whole.update(body)
    return whole.hexdigest()[:16]


def _portal_file(name: str, body: bytes) -> PortalFile:
    suffix = Path(name).suffix
    compressed = None
    if suffix != ".woff2" and len(body) >= COMPRESS_BYTES_MIN:
        compressed = gzip.compress(body, compresslevel=9, mtime=0)
    return PortalFile(body, compressed, MEDIA_TYPES[suffix], hashlib.sha256(body).hexdigest()[:32])


def _style_hashes(chart_library: str) -> tuple[str, ...]:
    """The chart library puts the rules of its attribution logo into a style element: that one text is allowed, by its hash."""
    texts: list[str] = re.findall(r'\.innerText="(a#tv-attr-logo[^"]*)"', chart_library)
    return tuple(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts)
