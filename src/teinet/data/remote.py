"""Files at addresses (s3://, gs://, hf://, https://), read through fsspec: whole, into a bounded cache, or by ranges.

The cache is `remote` in the cache folder, for all processes of a machine. An object's name there contains its version
(ETag, size, time of change), so a changed object is read again. The least recently used files make room for new ones.
"""

from __future__ import annotations

import atexit
import errno
import hashlib
import os
import re
import shutil
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from teinet.errors import AnnotationError, ConfigError, TeinetError
from teinet.utils.addresses import TALLY, hidden, without_secrets
from teinet.utils.files import cache_folder, replacing
from teinet.utils.text import natural
from teinet.utils.worker_pool import still_working

LIMIT = "TEINET_REMOTE_GB"  # the environment variable of the cache's limit
_FORM = re.compile(r"(?:^|/)(https?|s3|gs|hf):/+(?=[^/])")  # also where pathlib has changed slashes
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "hf": "huggingface_hub", "http": "aiohttp", "https": "aiohttp"}
_LISTS = {".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".xml", ".eaf", ".pbtxt", ".lst"}
_VERSION = ("ETag", "etag", "generation", "blob_id", "LastModified", "Last-Modified", "updated", "last_modified")
_FRESH = 60  # seconds for which what is known of an object counts
_RANGED = 0.25  # of the cache: larger objects are read by ranges
_BLOCK = 1 << 20  # bytes of one range
_STRIPES = 64  # files of locks
_stand_ins: dict[str, str] = {}  # folders that stand for addresses while lists are read, with a slash at their ends


class RemotePath(type(Path())):
    """A path whose text is an address, for functions that take paths; its `/` and `parent` work."""

    def __str__(self) -> str:
        return address_of(super().__str__()) or super().__str__()

    def __fspath__(self) -> str:
        return str(self)

    def exists(self, **_: Any) -> bool:
        try:
            return bool(status(str(self)))
        except OSError:
            return False

    is_file = exists


class StoreError(OSError):
    """A failure of a store while a file is read by ranges."""


class Status(NamedTuple):
    """Size in bytes (None: not stated) and a number that changes with the content of an object."""

    size: int | None
    version: int


def address_of(path: object) -> str | None:
    """Return the address that a path means, also where pathlib has changed its slashes; None for a local file."""
    text = os.fspath(path) if isinstance(path, os.PathLike) else str(path)
    found = _FORM.search(text)
    if found is None or os.path.lexists(text):
        return None
    return f"{found[1]}://{text[found.end() :]}"


def address_behind(path: str) -> str | None:
    """Return the address of a file, also of one that stands for it while a list is read; None for a local file."""
    for folder, scheme in _stand_ins.items():
        if path.startswith(folder):
            return scheme + path[len(folder) :]
    return address_of(path)


def status(address: str) -> Status:
    """Return size and version of an object, known for a minute.

    Raises:
        FileNotFoundError: there is none.
        OSError: no answer, or access denied; says why.
    """
    return _status(address, os.getpid(), int(time.monotonic() // _FRESH))


@lru_cache(maxsize=65536)
def _status(address: str, _process: int, _time: int) -> Status:
    with _said(address):
        files, path = _store(address)
        info = files.info(path)
        if info.get("type") == "directory":
            raise FileNotFoundError(path)
        parts = [str(info[name]) for name in _VERSION if info.get(name)]
        size = info.get("size")
        version = hashlib.blake2b(repr((parts, size)).encode(), digest_size=8).digest()
        return Status(size, int.from_bytes(version, "little") >> 1)


def is_folder(address: str) -> bool:
    """Return true for a prefix with objects below it; raises OSError as `status`."""
    with _said(address):
        files, path = _store(address)
        return address.endswith("/") if address.startswith("http") else files.isdir(path.rstrip("/"))


def sizes_in(folder: str) -> dict[str, int | None] | None:
    """Return the objects and folders directly in a folder, with sizes; None where a server lists nothing (HTTP)."""
    return None if folder.startswith("http") else _sizes(folder, int(time.monotonic() // _FRESH))


@lru_cache(maxsize=4096)
def _sizes(folder: str, _time: int) -> dict[str, int | None]:
    with suppress(OSError), _said(folder):
        files, path = _store(folder)
        return {PurePosixPath(entry["name"]).name: entry.get("size") for entry in files.ls(path, detail=True)}
    return {}


def videos_at(address: str, is_video: Callable[[str], bool]) -> list[Path]:
    """Return the object at an address, or the videos below a prefix or of a pattern, in natural order.

    Raises:
        ConfigError: there are none, or the store does not answer.
    """
    pattern = "*" in address and not address.startswith("http")
    try:
        if not pattern and not is_folder(address):
            status(address)
            return [RemotePath(address)]
        with _said(address):
            files, path = _store(address)
            names = files.glob(path) if pattern else files.find(path)
    except OSError as error:
        raise ConfigError(f"{without_secrets(address)}: {error.strerror}") from None
    found = [RemotePath(files.unstrip_protocol(name)) for name in names if is_video(name)]
    if not found:
        raise ConfigError(f"{without_secrets(address)}: no videos {'match' if pattern else 'below'} this address")
    return sorted(found, key=lambda path: natural(str(path)))


@contextmanager
def opened(address: str, *, part: tuple[int, int] | None = None, once: bool = False) -> Iterator[Any]:
    """Give the path of a local copy, which no other process removes inside the block, or a file object of ranges.

    Args:
        part: offset and length, bytes: only these, in a file of their own.
        once: read by ranges what is not in the cache, for one pass from the beginning that may end early.

    Raises:
        OSError: as `status`.
    """
    known = status(address)
    size = known.size if part is None else part[1]
    target = _target(address, known, part)
    if part is None and (not fits(address) or (once and size and not target.exists())):
        ranged = _by_ranges(address)
        if ranged is not None:
            try:
                yield ranged
            finally:
                ranged.close()
            return
    while (held := _held(target)) is None:  # not there yet, or removed meanwhile
        _download(address, known, target, part)
    with held:
        yield target


def fits(address: str) -> bool:
    """Return true if an object is not large for the cache; raises OSError as `status`."""
    return (status(address).size or 0) <= _RANGED * _limit()


def is_cached(address: str) -> bool:
    """Return true if the cache has an object whole; raises OSError as `status`."""
    return _target(address, status(address)).exists()


def bytes_read() -> tuple[int, int]:
    """Return the bytes read from stores by this command and its workers, and the number of requests."""
    try:
        content = Path(os.environ[TALLY]).read_bytes()
    except (KeyError, OSError):
        return 0, 0
    numbers = [number for (number,) in struct.iter_unpack("<q", content[: len(content) // 8 * 8])]
    return sum(numbers), len(numbers)


@contextmanager
def standing_in(address: str, root: str | None) -> Iterator[tuple[Path, Path | None, Callable[[str], str]]]:
    """Give a local folder or list that stands for one at an address, one that stands for `root`, and the way back.

    Lists have their content there, videos and images none: `VideoReader` opens those at their addresses.

    Raises:
        AnnotationError: there is no such file or folder, or the store does not answer.
    """
    top = os.path.join(os.path.realpath(tempfile.mkdtemp(prefix="teinet-lists-")), "")
    own: list[str] = []

    def back(text: str) -> str:
        for folder in own:
            text = text.replace(folder, _stand_ins.get(folder, ""))
        return text

    def stand_in(wanted: str) -> Path:
        scheme, _, rest = wanted.partition("://")
        folder = os.path.join(top, scheme, "")
        own.append(folder)
        _stand_ins[folder] = f"{scheme}://"
        return Path(folder, rest)

    try:
        local, videos = stand_in(address), None if root is None else Path(root)
        folders = []
        with _said(address):
            if is_folder(address):
                folders.append(address)
            else:
                _write(address, local)
                if local.suffix not in (".csv", ".jsonl", ".ndjson") and not address.startswith("http"):
                    folders.append(address.rpartition("/")[0])  # other formats look for clips and names next to it
        if root is not None and (elsewhere := address_of(root)):
            videos = stand_in(elsewhere)
            folders.append(elsewhere)
        for folder in folders:
            with _said(folder):
                files, path = _store(folder)
                stand_in(folder).mkdir(parents=True, exist_ok=True)
                for name in files.find(path):
                    each = files.unstrip_protocol(name)
                    place = stand_in(each)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    if place.suffix.lower() in _LISTS:
                        _write(each, place)
                    elif not place.exists():
                        place.touch()
        yield local, videos, back
    except OSError as error:
        raise AnnotationError(without_secrets(address), error.strerror or str(error)) from None
    except AnnotationError as error:
        raise AnnotationError(back(error.file), back(error.reason), error.line) from None
    except ConfigError as error:
        raise ConfigError(back(str(error))) from None
    finally:
        for folder in own:
            _stand_ins.pop(folder, None)
        shutil.rmtree(top, ignore_errors=True)


def content(address: str) -> bytes:
    """Return the bytes of an object, such as a list; raises OSError as `status`."""
    with opened(address) as source:
        return source.read_bytes() if isinstance(source, Path) else source.read()


def _write(address: str, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content(address))


def _store(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it; ConfigError if its package is missing."""
    import fsspec  # here, as most work needs no store

    scheme = address.partition("://")[0]
    if TALLY not in os.environ:  # before workers start
        handle, os.environ[TALLY] = tempfile.mkstemp(prefix="teinet-tally-")
        os.close(handle)
        atexit.register(_remove, os.environ[TALLY], os.getpid())
    try:
        files = fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError as error:
        package = _PACKAGES[scheme]
        extra = "'teinet[remote]'" if package in ("s3fs", "aiohttp") else package
        reason = f"{scheme}:// needs the package {error.name or package}; install it with: pip install {extra}"
        raise ConfigError(reason) from None
    return files, files._strip_protocol(address)


def _remove(path: str, process: int) -> None:
    if os.getpid() == process:
        Path(path).unlink(missing_ok=True)


@contextmanager
def _said(address: str) -> Iterator[None]:
    """Raise what a store's package raises as FileNotFoundError or OSError, with the reason in `strerror`."""
    try:
        yield
    except TeinetError:
        raise
    except FileNotFoundError as error:
        cause = error.__cause__  # aiohttp's
        if getattr(cause, "status", 404) not in (404, 410) or re.search("Connect|Timeout", type(cause).__name__):
            raise OSError(5, _reason(address, cause), without_secrets(address)) from None
        raise FileNotFoundError(2, "no such file or folder", without_secrets(address)) from None
    except Exception as error:  # botocore's, aiohttp's and fsspec's share no base
        if isinstance(error, OSError) and (error.filename == without_secrets(address) or error.errno == errno.ENOSPC):
            raise
        if getattr(error, "status", None) in (404, 410):
            raise FileNotFoundError(2, "no such file or folder", without_secrets(address)) from None
        raise OSError(5, _reason(address, error), without_secrets(address)) from None


def _reason(address: str, error: BaseException | None) -> str:
    kind, text = type(error).__name__, hidden(" ".join(str(error).split()))[:200]
    code = str(getattr(error, "status", ""))
    if isinstance(error, PermissionError) or code in ("401", "403") or "Credential" in kind + text:
        names = {
            "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or FSSPEC_S3='{\"anon\": true}'",
            "gs": "GOOGLE_APPLICATION_CREDENTIALS",
            "hf": "HF_TOKEN",
        }.get(address.partition("://")[0], "a login in the address")
        return f"access denied; give credentials by {names} ({text or kind})"
    if isinstance(error, TimeoutError) or "Timeout" in kind:
        return f"no response from the store in time; try again ({text or kind})"
    if "Connect" in kind or "Endpoint" in kind:
        return f"no connection to the store; check the network and the address ({text or kind})"
    return text or kind


def _by_ranges(address: str) -> Any:
    """Return a file object that reads blocks as they are needed; None where a server has no ranges."""
    with _said(address):
        files, path = _store(address)
        try:
            file = files.open(path, "rb", block_size=_BLOCK, cache_type="blockcache", cache_options={"maxblocks": 32})
            file.cache.fetcher = _counted(file.cache.fetcher, address)
            if address.startswith("http"):  # only an attempt shows it
                file.seek(-1, os.SEEK_END)
                file.read(1)
                file.seek(0)
        except ValueError:
            return None
        return file


def _counted(fetch: Callable[[int, int], bytes], address: str) -> Callable[[int, int], bytes]:
    def counted(start: int, end: int) -> bytes:
        try:
            with _said(address):
                content = fetch(start, end)
        except OSError as error:
            raise StoreError(error.errno, error.strerror, error.filename) from None
        _count(len(content))
        still_working()
        return content

    return counted


def _held(target: Path) -> BinaryIO | None:
    """Return an open file of the cache, which no process removes until it is closed; None if there is none."""
    try:
        file = target.open("rb")
    except FileNotFoundError:
        return None
    _lock_shared(file.fileno())
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(file.fileno()), target.stat()):
            os.utime(target)
            return file
    file.close()
    return None


def _folder() -> Path:
    return cache_folder() / "remote"


def _limit() -> float:
    """Return the size of the cache in bytes; ConfigError if the setting is no number."""
    text = os.environ.get(LIMIT, "20")
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not limit > 0:
        raise ConfigError(f"{LIMIT} is {text!r}; it is the size of the cache of remote files in GB, such as 20")
    return limit * 1e9


def _target(address: str, known: Status, part: tuple[int, int] | None = None) -> Path:
    name = hashlib.blake2b(f"{address}\t{known.version}\t{part}".encode(), digest_size=16).hexdigest()
    suffix = "" if part else PurePosixPath(address.partition("?")[0]).suffix
    return _folder() / f"{name}{suffix}"


def _download(address: str, known: Status, target: Path, part: tuple[int, int] | None) -> None:
    """Write an object, or a part of it, into the cache; one process does, others wait."""
    if known.size is None and target.suffix.lower() not in _LISTS:
        raise OSError(5, "its server states no size, as for live video; download it, or look at it with teinet watch")
    folder = target.parent
    folder.mkdir(parents=True, exist_ok=True)
    size = known.size if part is None else part[1]
    with _lock(folder / f"{int(target.name[:8], 16) % _STRIPES}.lock"):
        if target.exists():
            return
        with _lock(folder / "room.lock"):
            _make_room(folder, size or 0)
        with _said(address), replacing(target) as written:
            files, path = _store(address)
            try:
                if part is None:
                    with _working_while_it_grows(written):
                        files.get_file(path, str(written))
                else:
                    with written.open("wb") as file:
                        for start in range(part[0], sum(part), _BLOCK):
                            file.write(files.cat_file(path, start=start, end=min(start + _BLOCK, sum(part))))
                            still_working()
            finally:
                _count(written.stat().st_size if written.exists() else 0)
            if size is not None and written.stat().st_size != size:
                raise OSError(5, f"{written.stat().st_size} of {size} bytes came; it changes, or the connection broke")


def _lock(path: Path) -> Any:
    """Return a lock of processes, held until the end of its block. Waiting for it counts as work."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    while True:
        with suppress(Timeout):
            return lock.acquire(timeout=1)
        still_working()


@contextmanager
def _working_while_it_grows(path: Path) -> Iterator[None]:
    """Count the task of this process as alive while a file grows inside the block."""
    done = threading.Event()

    def watch() -> None:
        before = -1
        while not done.wait(0.25):
            with suppress(OSError):
                if before != (before := path.stat().st_size):
                    still_working()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _make_room(folder: Path, size: int) -> None:
    """Remove the least recently used files that no process reads until `size` bytes more fit."""
    files = []
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # another process has given it its name meanwhile
                if not entry.name.endswith(".lock"):
                    files.append((entry.stat().st_mtime, entry.stat().st_size, entry.path))
    room = _limit() - size - sum(bytes_ for _, bytes_, _ in files)
    for used, bytes_, path in sorted(files):
        is_part = os.path.basename(path).startswith(".")
        if (room >= 0 and not is_part) or (is_part and time.time() - used < 86400):  # another process may write it
            continue
        with suppress(OSError), open(path, "rb") as file:
            if _lock_exclusive(file.fileno()):
                os.unlink(path)
                room += bytes_


def _lock_shared(file: int) -> None:
    with suppress(ImportError, OSError):  # Windows, where open files cannot be removed
        import fcntl

        fcntl.flock(file, fcntl.LOCK_SH)


def _lock_exclusive(file: int) -> bool:
    """Return true if no process reads a file."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        return True
    except OSError:
        return False
    return True


def _count(number: int) -> None:
    """Add bytes that were read to the command's tally; appending eight bytes is one step for all processes."""
    if number and TALLY in os.environ:
        with suppress(OSError), open(os.environ[TALLY], "ab", buffering=0) as file:
            file.write(struct.pack("<q", number))
