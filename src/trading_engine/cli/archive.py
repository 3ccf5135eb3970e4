"""`main.py export` and `import`: a whole venue as a folder, taken while it runs, and put up again elsewhere, on whatever the configuration
there names. It is how one moves from the embedded default to servers, and how one backs up and restores.

What is taken one after the other from a running venue has to fit together, so the order is:

1. Derived tables, each database at one moment, and the numbers and messages of the FIX sessions. They are at some event, and the journal
   that is copied later goes beyond it.
2. Snapshots, then the event log, then the journal: each goes beyond the one before, as recovery requires. What is copied of a file that
   is being written ends in the middle of a record, or of a group; recovery cuts that, as after a crash.
3. The tables that exist nowhere else: every user whose account is in the journal is in them. One without an account gets one at the start.

Of a venue with several shards all this is taken of each. Between them nothing may move meanwhile: money that had left one when it was
copied and arrived at the other later would be in both or in none. So their order book servers have to be stopped.

After an import the servers do what they do after a crash: the order book server recovers from snapshot and journal, and each projection
goes on from the event that its tables have reached.
"""

import asyncio
import os
import shutil
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import file_digest
from pathlib import Path
from typing import NamedTuple

import msgspec

from trading_engine import __version__
from trading_engine.database.errors import DatabaseError
from trading_engine.database.transfer import STORES, STORES_OF_EACH_SHARD, Contents, Store, TransferFailed
from trading_engine.servers.fix.store import STORE as FIX_STORE
from trading_engine.servers.fix.store import StoreUnusable, copy_store
from trading_engine.servers.obs.errors import CannotStart
from trading_engine.servers.obs.lock import DirectoryLock
from trading_engine.servers.obs.recovery import Paths
from trading_engine.servers.obs.segments import sync_directory
from trading_engine.shared.config import Config, ConfigError

FORMAT = 1
MANIFEST = "manifest.json"
DATA = "data"
COPY_BYTES = 1 << 20
LOGS = (("snapshots", ".snapshot"), ("events", ".events"), ("journal", ".journal"))
"""(folder, suffix), in the order of copying."""
JOURNAL = "journal"
DRAFT = f"{JOURNAL}.partial"
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
    """By path, relative to the data directory."""
    shards: int = 1


class Part(NamedTuple):
    """A database of a shard."""

    name: str
    store: Store
    config: Config


def parts_of(config: Config) -> list[Part]:
    return [
        Part(f"{prefix_of(shard)}{store.name}", store, config.of_shard(shard))
        for shard in config.shards
        for store in (STORES if shard == 0 else STORES_OF_EACH_SHARD)
    ]


def prefix_of(shard: int) -> str:
    """Of what is a shard's, also in its data directory."""
    return f"shard-{shard}/" if shard else ""


def run_export(config: Config, folder: Path) -> int:
    """Raises `ConfigError`."""
    return _run(export_venue(config, folder, print))


def run_import(config: Config, folder: Path) -> int:
    """Raises `ConfigError`."""
    return _run(import_venue(config, folder, print))


def _run(work: Coroutine[None, None, Manifest]) -> int:
    try:
        asyncio.run(work)
    except (DatabaseError, StoreUnusable, OSError) as error:
        raise ConfigError(str(error)) from error
    return 0


async def export_venue(config: Config, folder: Path, say: Say) -> Manifest:
    """Write the folder, which is there in the end or not at all. Raises `DatabaseError`, `StoreUnusable`, `OSError`."""
    draft = new_draft(folder)
    databases, files = {}, {}
    with standing_still(config):
        for name, store, its_config in parts_of(config):
            databases[name] = await store.export(its_config, draft / name, derived=True)
        if (config.data_path / FIX_STORE).exists():
            copy_store(config.data_path / FIX_STORE, draft / DATA / FIX_STORE)
            files[FIX_STORE] = file_content(draft / DATA / FIX_STORE)
        for shard in config.shards:
            for path in log_files(config.data_path, prefix_of(shard)):
                files[path] = copy_file(config.data_path / path, draft / DATA / path)
        for name, store, its_config in parts_of(config):
            databases[name] |= await store.export(its_config, draft / name, derived=False)
    for name in PRIVATE_FILES:
        if (config.data_path / name).exists():
            files[name] = copy_file(config.data_path / name, draft / DATA / name)
    manifest = Manifest(FORMAT, __version__, databases, files, len(config.shards))
    (draft / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
    draft.rename(folder)
    report(f"exported to {folder}", manifest, say)
    return manifest


@contextmanager
def standing_still(config: Config) -> Iterator[None]:
    """With the order book servers of several shards kept from running. Raises `TransferFailed` when one runs."""
    with ExitStack() as locks:
        for shard in config.shards if len(config.shards) > 1 else ():
            lock = DirectoryLock(Paths.under(config.of_shard(shard).obs_path).lock)
            locks.callback(lock.release)
            try:
                lock.acquire()
            except CannotStart as error:
                raise TransferFailed(
                    f"a venue with several shards is exported with its servers stopped: {error}"
                ) from error
        yield


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
    if manifest.shards != len(config.shards):
        raise TransferFailed(f"{folder} is of a venue with {manifest.shards} shards: set venue.shards, or --shards")
    require_files(manifest, folder, config)
    for _, store, its_config in parts_of(config):
        await store.require_empty(its_config)
    for name, store, its_config in parts_of(config):
        await store.load(its_config, folder / name, manifest.databases.get(name, {}))
    import_files(manifest, folder, config)
    report("imported, every row and file compared", manifest, say)
    return manifest


def require_files(manifest: Manifest, folder: Path, config: Config) -> None:
    for shard in config.shards:
        data = config.of_shard(shard).obs_path
        if (data / JOURNAL).exists():
            raise TransferFailed(f"there is a journal in {data}: import into an empty data directory")
    if (config.data_path / FIX_STORE).exists():
        raise TransferFailed(f"there are FIX sessions in {config.data_path}: import into an empty data directory")
    for path, content in manifest.files.items():
        if file_content(folder / DATA / path) != content:
            raise TransferFailed(f"{folder / DATA / path} is not as it was exported")


def import_files(manifest: Manifest, folder: Path, config: Config) -> None:
    """The journals have their names only when everything is there."""
    homes = [config.of_shard(shard).obs_path for shard in config.shards]
    for home in homes:
        (home / DRAFT).mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, content in manifest.files.items():
        target = config.data_path / path
        if target.parent.name == JOURNAL:
            target = target.parent.with_name(DRAFT) / target.name
        if copy_file(folder / DATA / path, target) != content:
            raise TransferFailed(f"{path} did not arrive whole: {target}")
    for home in homes:
        (home / DRAFT).rename(home / JOURNAL)
        sync_directory(home)


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


def log_files(data: Path, prefix: str) -> Iterator[str]:
    """Relative paths, oldest first. What is begun after they were listed is not copied: it comes after what is."""
    for name, suffix in LOGS:
        for path in sorted((data / prefix / name).glob(f"*{suffix}")):
            yield f"{prefix}{name}/{path.name}"


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
