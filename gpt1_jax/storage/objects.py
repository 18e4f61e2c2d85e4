"""Write objects and folders of a bucket: the counterpart of `disk.py`."""

import concurrent.futures
import contextlib
import errno
import io
import os
import pathlib
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import IO

from gpt1_jax.storage.bucket import COMMIT, BucketPath
from gpt1_jax.storage.connection import BucketError

THREADS = 8  # requests at the same time
DELAY = 30.0  # seconds after which appended lines are uploaded


@contextlib.contextmanager
def atomic_writer(path: BucketPath, binary: bool = False) -> Iterator[IO]:
    """Yield a file to write, which is uploaded at the end of the block if it does not raise.

    Raises:
        OSError: the object cannot be written.
    """
    content = io.BytesIO()
    file = content if binary else io.TextIOWrapper(content, "utf-8", newline="")
    yield file
    file.flush()
    path.upload(content.getvalue())


@contextlib.contextmanager
def atomic_folder(path: BucketPath, replace: bool = True) -> Iterator[pathlib.Path]:
    """Yield a folder of this machine, whose files replace those in `path` at the end of the block.

    Raises:
        OSError: a file cannot be written, or there is a folder and `replace` is False.
    """
    if not replace and path.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    with tempfile.TemporaryDirectory(prefix="gpt1_jax_upload_") as name:
        folder = pathlib.Path(name)
        yield folder
        files = [file for file in folder.rglob("*") if file.is_file()]
        files.sort(key=lambda file: file.stat().st_mtime_ns)

        def upload(file: pathlib.Path) -> None:
            (path / file.relative_to(folder).as_posix()).upload(file.read_bytes())

        remove_folder(path)
        in_parallel(upload, files[:-1])
        in_parallel(upload, files[-1:])


def in_parallel(call: Callable, arguments: Iterable) -> None:
    """Call a function that waits for the network with each argument; raise its first error."""
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(call, arguments):
            pass


def appender(path: BucketPath, binary: bool = False) -> "_Appender":
    """Open an object to append to it."""
    return _Appender(path)


class _Appender:
    """Keep the content of an object, and upload the whole when it has grown.

    The upload fails if another process has written the object: it runs in the same folder, and the
    lines of both would be lost in turn.
    """

    def __init__(self, path: BucketPath):
        self.name, self._path = str(path), path
        try:
            content, self._generation = path.read()
        except FileNotFoundError:
            content, self._generation = b"", 0
        self._content, self._uploaded = bytearray(content), len(content)
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._error: OSError | None = None  # of an upload by the timer

    def write(self, data: str | bytes) -> None:
        """Append, and upload within DELAY seconds; raise the error of an earlier upload."""
        with self._lock:
            text = isinstance(data, str)
            self._content += data.encode("utf-8", "backslashreplace") if text else data
            if self._timer is None:
                self._timer = threading.Timer(DELAY, self._upload_later)
                self._timer.daemon = True
                self._timer.start()
            error, self._error = self._error, None
        if error is not None:
            raise error

    def _upload_later(self) -> None:
        try:
            self.flush()
        except OSError as error:
            self._error = error

    def flush(self) -> None:
        """Upload what has been appended."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._uploaded == len(self._content):
                return
            content = bytes(self._content)
            try:
                self._generation = self._path.upload(content, self._generation)
            except FileExistsError as error:
                found, self._generation = self._path.read()
                if found != content:  # otherwise the answer to an earlier attempt was lost
                    reason = "another process writes it"
                    raise BucketError(errno.ESTALE, reason, self.name) from error
            self._uploaded = len(content)

    def close(self) -> None:
        """Upload what has been appended."""
        self.flush()

    def __enter__(self) -> "_Appender":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def names(folder: BucketPath) -> list[str]:
    """Return the sorted names in a folder; [] if there is no folder."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(entry.name for entry in folder.iterdir())
    return []


def move_folder(folder: BucketPath, target: BucketPath) -> None:
    """Copy a folder and delete it. At no time do both look complete.

    Raises:
        OSError: that fails, or `target` is a folder with files.
    """
    if target.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    found = [_path(folder, item) for item in folder.objects()]

    def copy(path: BucketPath) -> None:
        path.copy_to(target / path.relative_to(folder).as_posix())

    in_parallel(copy, [path for path in found if path.name != COMMIT])
    marks = [path for path in found if path.name == COMMIT]
    in_parallel(copy, marks)
    remove_folder(folder)


def remove_folder(folder: BucketPath) -> None:
    """Delete a folder and all in it, the mark of a complete checkpoint first.

    Raises:
        OSError: an object cannot be deleted.
    """
    found = [_path(folder, item) for item in folder.objects()]
    for mark in (path for path in found if path.name == COMMIT):
        mark.unlink(missing_ok=True)
    rest = [path for path in found if path.name != COMMIT]
    in_parallel(lambda path: path.unlink(missing_ok=True), rest)


def folder_size(folder: BucketPath) -> int:
    """Return the bytes of all objects in a folder; 0 if there is no folder."""
    return sum(item.size or 0 for item in folder.objects())


def _path(folder: BucketPath, item) -> BucketPath:
    """Return the path of an object that `folder.objects` has listed."""
    return folder / item.name.removeprefix(f"{folder.key}/")
