"""Address the objects of a bucket of Google Cloud Storage as paths.

Errors are those of a disk: FileNotFoundError, PermissionError, and `BucketError` for others.
"""

import contextlib
import contextvars
import errno
import functools
import io
import os
import pathlib
from collections.abc import Iterator
from typing import IO, Any

from gpt1_jax.errors import UserError, first_line

COMMIT = "commit_success.txt"  # orbax writes it last: a folder of a checkpoint with it is complete
SECONDS = 60.0  # during which a request that fails is repeated
QUICK = 10.0  # the same, for the first request of a command
GRANTED = "gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS"


class BucketError(OSError):
    """Report that a bucket cannot be used: the network, the credentials, or another process."""

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}" if self.filename else self.strerror


class BucketPath(pathlib.PurePosixPath):
    """Name an object or a folder gs://BUCKET/NAME, with the methods of pathlib.Path in use here.

    A folder is a prefix of names: it exists while there are objects below it. It is not a
    pathlib.Path, so that nothing takes it for a path of the disk.
    """

    __slots__ = ()

    def __str__(self) -> str:
        return "gs://" + super().__str__().removeprefix("gs:").lstrip("/")

    def __fspath__(self) -> str:
        raise TypeError(f"{self}: is in a bucket, and no path of this machine")

    def __reduce__(self):
        return BucketPath, (str(self),)

    @property
    def bucket(self) -> str:
        """Return the name of the bucket."""
        return self.parts[1]

    @property
    def key(self) -> str:
        """Return the name of the object."""
        return "/".join(self.parts[2:])

    def absolute(self) -> "BucketPath":
        """Return the path: it is absolute."""
        return self

    def resolve(self) -> "BucketPath":
        """Return the path: there are no links."""
        return self

    def relative_to(self, other: "BucketPath") -> pathlib.PurePosixPath:
        """Return the path from the folder `other`; raise ValueError if it is not below it."""
        count = len(other.parts)
        if self.parts[:count] != other.parts:
            raise ValueError(f"{self} is not below {other}")
        return pathlib.PurePosixPath(*self.parts[count:])

    def blob(self) -> Any:
        """Return google-cloud-storage's object of this name."""
        return client().bucket(self.bucket).blob(self.key)

    def probe(self) -> None:
        """Make a first request, so that what cannot be used is found early, and soon.

        Raises:
            OSError: the bucket cannot be used.
        """
        with quick(), requests(self):
            try:
                next(iter(client().list_blobs(self.bucket, max_results=1, retry=retry())), None)
            except _errors().NotFound:
                reason = f"there is no bucket {self.bucket}, or you may not see it"
                raise FileNotFoundError(errno.ENOENT, reason, str(self)) from None

    def exists(self) -> bool:
        """Return whether there is an object or a folder of this name."""
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        """Return whether there is an object of this name."""
        with requests(self):
            return self.blob().exists(retry=retry())

    def is_dir(self) -> bool:
        """Return whether there are objects below this name."""
        return next(iter(self.objects(most=1)), None) is not None

    def is_symlink(self) -> bool:
        """Return False: a bucket has no links."""
        return False

    def objects(self, most: int | None = None) -> Iterator[Any]:
        """Yield google-cloud-storage's objects below this name, by name; none if there are none."""
        with requests(self), contextlib.suppress(_errors().NotFound):
            listing = client().list_blobs(
                self.bucket,
                prefix=f"{self.key}/",
                max_results=most,
                fields="items(name,size,generation),nextPageToken",
                retry=retry(),
            )
            yield from (item for item in listing if not item.name.endswith("/"))

    def complete_folders(self) -> list[str]:
        """Return the names of the folders directly below this name that orbax has completed."""
        names = [item.name.removeprefix(f"{self.key}/").split("/") for item in self.objects()]
        return [parts[0] for parts in names if parts[1:] == [COMMIT]]

    def iterdir(self) -> Iterator["BucketPath"]:
        """Yield the objects and folders directly below this name."""
        with requests(self):
            prefix = f"{self.key}/"
            listing = client().list_blobs(self.bucket, prefix=prefix, delimiter="/", retry=retry())
            found = [item.name for item in listing] + list(listing.prefixes)
        for name in sorted(found):
            if name != prefix:
                yield self / name.removeprefix(prefix).rstrip("/")

    def read_bytes(self) -> bytes:
        """Return the content of the object."""
        return self.read()[0]

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the content of the object as text."""
        return self.read_bytes().decode(encoding, errors)

    def read(self) -> tuple[bytes, int]:
        """Return the content of the object, and its generation."""
        with requests(self):
            blob = self.blob()
            return blob.download_as_bytes(retry=retry()), int(blob.generation)

    def open(self, mode: str = "r", encoding: str | None = None, newline: str | None = None) -> IO:
        """Return the content of the object as a file to read; a bucket is written by `storage`."""
        content = io.BytesIO(self.read_bytes())
        if mode == "rb":
            return content
        if mode != "r":
            raise ValueError(f"{self}: mode {mode!r} found, r or rb expected")
        return io.TextIOWrapper(content, encoding or "utf-8", newline=newline)

    def upload(self, content: bytes, generation: int | None = None) -> int:
        """Write the whole object; return its new generation.

        Args:
            content: the bytes.
            generation: the generation that the object must have now, 0 for none; None for any.

        Raises:
            FileExistsError: the object has another generation.
            OSError: the object cannot be written.
        """
        _check_not_lost(self)
        with requests(self):
            blob = self.blob()
            blob.upload_from_string(
                content,
                content_type="application/octet-stream",
                if_generation_match=generation,
                retry=retry(),
            )
            return int(blob.generation)

    def unlink(self, missing_ok: bool = False, generation: int | None = None) -> None:
        """Delete the object."""
        _check_not_lost(self)
        try:
            with requests(self):
                self.blob().delete(if_generation_match=generation, retry=retry())
        except FileNotFoundError:
            if not missing_ok:
                raise

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: folders need not be made."""

    def rmdir(self) -> None:
        """Do nothing: a folder without objects does not exist."""

    def copy_to(self, target: "BucketPath") -> None:
        """Copy the object inside Google's network."""
        with requests(self):
            bucket = client().bucket(self.bucket)
            bucket.copy_blob(self.blob(), client().bucket(target.bucket), target.key, retry=retry())


@functools.cache
def client() -> Any:
    """Return the connection to Google Cloud Storage.

    Raises:
        UserError: packages are missing.
        BucketError: there are no credentials.
    """
    _errors()
    import fsspec
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import storage

    # Orbax and jax read folders by fsspec, which would otherwise remember a listing for ever: what
    # other machines write would not be seen.
    fsspec.config.conf.setdefault("gcs", {})["use_listings_cache"] = False
    try:
        return storage.Client(project=os.environ.get("GOOGLE_CLOUD_PROJECT", "none"))
    except GoogleAuthError as error:
        raise BucketError(
            errno.EACCES, f"no credentials for Google Cloud ({first_line(error)}); use {GRANTED}"
        ) from None


@functools.cache
def _errors() -> Any:
    """Return the module with Google's errors.

    Raises:
        UserError: packages are missing.
    """
    try:
        import gcsfs  # noqa: F401 (orbax and jax need it)
        from google.api_core import exceptions
        from google.cloud import storage  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"gs:// needs the package {error.name}; install the extra gcs: "
            "pip install -c requirements-lock.txt -e '.[gcs]'"
        ) from None
    return exceptions


_seconds = contextvars.ContextVar("seconds", default=SECONDS)
lost: set[BucketPath] = set()  # folders that another process has taken over from this one


def _check_not_lost(path: BucketPath) -> None:
    """Raise BucketError if another process has taken over a folder of the path."""
    for folder in lost:
        if folder == path or folder in path.parents:
            raise BucketError(errno.ESTALE, f"another process has taken over {folder}", str(path))


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """Repeat requests that fail in this block for QUICK seconds only."""
    token = _seconds.set(QUICK)
    try:
        yield
    finally:
        _seconds.reset(token)


def retry() -> Any:
    """Return how requests are repeated."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(_seconds.get())


@contextlib.contextmanager
def requests(path: BucketPath) -> Iterator[None]:
    """Raise the errors of requests in the block as those of a disk, with `path` as their file."""
    errors = _errors()
    from google.auth.exceptions import GoogleAuthError
    from requests.exceptions import RequestException

    try:
        yield
    except errors.NotFound as error:
        if "bucket does not exist" in str(error):
            reason = f"there is no bucket {path.bucket}, or you may not see it"
            raise FileNotFoundError(errno.ENOENT, reason, str(path)) from error
        raise FileNotFoundError(errno.ENOENT, "no such object", str(path)) from error
    except errors.PreconditionFailed as error:
        raise FileExistsError(errno.EEXIST, "another process wrote it", str(path)) from error
    except (errors.Forbidden, errors.Unauthorized) as error:
        raise PermissionError(errno.EACCES, first_line(error), str(path)) from error
    except GoogleAuthError as error:
        reason = f"no credentials for Google Cloud ({first_line(error)}); use {GRANTED}"
        raise BucketError(errno.EACCES, reason, str(path)) from error
    except (errors.GoogleAPIError, RequestException) as error:
        reason = f"Google Cloud Storage does not answer ({first_line(error)})"
        raise BucketError(errno.EIO, reason, str(path)) from error
