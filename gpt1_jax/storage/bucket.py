"""Address the objects of a bucket of Google Cloud Storage as paths.

Errors are FileNotFoundError, FileExistsError for a write whose precondition does not hold, and
`BucketError` for others.
"""

import contextlib
import errno
import io
import pathlib
from collections.abc import Iterator
from typing import IO, Any

from gpt1_jax.storage.connection import (
    BucketError,
    client,
    google_errors,
    quick,
    requests,
    retry,
)

COMMIT = "commit_success.txt"  # orbax writes it last: a folder of a checkpoint with it is complete


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
            except google_errors().NotFound:
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
        with requests(self), contextlib.suppress(google_errors().NotFound):
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


lost: set[BucketPath] = set()  # folders that another process has taken over from this one


def _check_not_lost(path: BucketPath) -> None:
    """Raise BucketError if another process has taken over a folder of the path."""
    for folder in lost:
        if folder == path or folder in path.parents:
            raise BucketError(errno.ESTALE, f"another process has taken over {folder}", str(path))
