"""`main.py export` and `import`: a whole venue as a folder, taken while it runs, and put up again elsewhere, on whatever the configuration
there names. It is how one moves from the embedded default to servers, and how one backs up and restores.

What is taken one after the other from a running venue has to fit together, so the order is:

1. Derived tables, each database at one moment. They are at some event, and the journal that is copied later goes beyond it.
2. Snapshots, then the event log, then the journal: each goes beyond the one before, as recovery requires. What is copied of a file that
   is being written ends in the middle of a record, or of a group; recovery cuts that, as after a crash.
3. The tables that exist nowhere else: every user whose account is in the journal is in them. One without an account gets one at the start.

After an import the servers do what they do after a crash: the order book server recovers from snapshot and journal, and each projection
goes on from the event that its tables have reached.
"""

import asyncio
import os
import shutil
from collections.abc import Callable, Coroutine, Iterator
from hashlib import file_digest
from pathlib import Path

import msgspec

from trading_engine import __version__
from trading_engine.database.errors import DatabaseError
from trading_engine.database.transfer import STORES, Contents, TransferFailed
from trading_engine.servers.obs.segments import sync_directory
from trading_engine.shared.config import Config, ConfigError

FORMAT = 1
MANIFEST = "manifest.json"
DATA = "data"
COPY_BYTES = 1 << 20
LOGS = (("snapshots", ".snapshot"), ("events", ".events"), ("journal", ".journal"))
"""(folder, suffix), in the order of copying."""
JOURNAL = "journal"
PRIVATE_FILES = ("secret", "bots.json")
"""The signing key, unless it comes from the environment, and the simulated traders' keys."""

Say = Callable[[str], None]


class FileContent(msgspec.Struct, frozen=True):
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    format: int
    release: str
    databases: dict[str, Contents]
    files: dict[str, FileContent]
    """By path, relative to the directory of the Order Book Server, or to the data directory (they are one without shards)."""


def run_export(config: Config, folder: Path) -> int:
    """Raises `ConfigError`."""
    return _run(export_venue(config, folder, print))


def run_import(config: Config, folder: Path) -> int:
    """Raises `ConfigError`."""
    return _run(import_venue(config, folder, print))


def _run(work: Coroutine[None, None, Manifest]) -> int:
    try:
        asyncio.run(work)
    except (DatabaseError, OSError) as error:
        raise ConfigError(str(error)) from error
    return 0


async def export_venue(config: Config, folder: Path, say: Say) -> Manifest:
    """Write the folder, which is there in the end or not at all. Raises `DatabaseError`, `OSError`."""
    draft = new_draft(folder)
    databases, files = {}, {}
    for store in STORES:
        databases[store.name] = await store.export(config, draft / store.name, derived=True)
    for path in log_files(config.obs_path):
        files[path] = copy_file(config.obs_path / path, draft / DATA / path)
    for store in STORES:
        databases[store.name] |= await store.export(config, draft / store.name, derived=False)
    for name in PRIVATE_FILES:
        if (config.data_path / name).exists():
            files[name] = copy_file(config.data_path / name, draft / DATA / name)
    manifest = Manifest(FORMAT, __version__, databases, files)
    (draft / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
    draft.rename(folder)
    report(f"exported to {folder}", manifest, say)
    return manifest


def new_draft(folder: Path) -> Path:
    """Where the folder is made. What an earlier attempt left is removed."""
    if folder.exists():
        raise TransferFailed(f"{folder} exists already: an export makes a folder of its own")
    draft = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700, parents=True)
    return draft


async def import_venue(config: Config, folder: Path, say: Say) -> Manifest:
    """Fill an empty data directory and empty databases. Raises `DatabaseError`, `OSError`.

    Everything is looked at first; then come the databases, each all or nothing, and last the journal. What is interrupted between
    two of them is told by the next attempt, which finds a database that is not empty.
    """
    manifest = read_manifest(folder)
    require_files(manifest, folder, config.obs_path)
    for store in STORES:
        await store.require_empty(config)
    for store in STORES:
        await store.load(config, folder / store.name, manifest.databases.get(store.name, {}))
    import_files(manifest, folder, config)
    report("imported, every row and file compared", manifest, say)
    return manifest


def require_files(manifest: Manifest, folder: Path, data: Path) -> None:
    if (data / JOURNAL).exists():
        raise TransferFailed(f"there is a journal in {data}: import into an empty data directory")
    for path, content in manifest.files.items():
        if file_content(folder / DATA / path) != content:
            raise TransferFailed(f"{folder / DATA / path} is not as it was exported")


def import_files(manifest: Manifest, folder: Path, config: Config) -> None:
    """The journal has its name only when everything is there."""
    draft = config.obs_path / f"{JOURNAL}.partial"
    draft.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, content in manifest.files.items():
        place = config.data_path if path in PRIVATE_FILES else config.obs_path
        target = draft / Path(path).name if path.startswith(f"{JOURNAL}/") else place / path
        if copy_file(folder / DATA / path, target) != content:
            raise TransferFailed(f"{path} did not arrive whole: {target}")
    draft.rename(config.obs_path / JOURNAL)
    sync_directory(config.obs_path)


def read_manifest(folder: Path) -> Manifest:
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        raise TransferFailed(f"{folder} holds no whole export: it has no {MANIFEST}") from error
    except msgspec.DecodeError as error:
        raise TransferFailed(f"{folder / MANIFEST} cannot be read: {error}") from error
    if manifest.format != FORMAT:
        raise TransferFailed(f"{folder} has format {manifest.format}; this release reads {FORMAT}")
    return manifest


def log_files(data: Path) -> Iterator[str]:
    """Relative paths, oldest first. What is begun after they were listed is not copied: it comes after what is."""
    for name, suffix in LOGS:
        for path in sorted((data / name).glob(f"*{suffix}")):
            yield f"{name}/{path.name}"


def copy_file(source: Path, target: Path) -> FileContent:
    """As far as it is written; returns what the copy holds. It is safe on the disk then."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with source.open("rb") as original, open(target, "wb", opener=private) as copy:
        shutil.copyfileobj(original, copy, COPY_BYTES)
        copy.flush()
        os.fsync(copy.fileno())
    return file_content(target)


def private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def file_content(path: Path) -> FileContent:
    with path.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
        return FileContent(file.tell(), digest)


def report(what: str, manifest: Manifest, say: Say) -> None:
    for name, contents in manifest.databases.items():
        for table, content in contents.items():
            say(f"  {name + '.' + table:40} {content.rows:>12,} rows  {content.checksum}")
    size = sum(content.bytes for content in manifest.files.values())
    say(f"  {len(manifest.files)} files of the data directory, {size:,} bytes")
    say(what)
