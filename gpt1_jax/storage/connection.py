"""Connect to Google Cloud Storage, and raise its errors as those of a disk.

The packages of the extra `gcs` are imported here only, when the first path of a bucket is used.
"""

import contextlib
import contextvars
import errno
import functools
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from gpt1_jax.errors import UserError, first_line

SECONDS = 60.0  # during which a request that fails is repeated
QUICK = 10.0  # the same, for the first request of a command
GRANTED = "gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS"


class BucketError(OSError):
    """Report that a bucket cannot be used: the network, the credentials, or another process."""

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}" if self.filename else str(self.strerror)


@functools.cache
def client() -> Any:
    """Return the connection to Google Cloud Storage.

    Raises:
        UserError: packages are missing.
        BucketError: there are no credentials.
    """
    google_errors()
    import fsspec.config
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
def google_errors() -> Any:
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
def requests(path: pathlib.PurePosixPath) -> Iterator[None]:
    """Raise the errors of requests in the block as those of a disk, with `path` as their file."""
    errors = google_errors()
    from google.auth.exceptions import GoogleAuthError
    from requests.exceptions import RequestException

    try:
        yield
    except errors.NotFound as error:
        if "bucket does not exist" in str(error):
            reason = f"there is no bucket {path.parts[1]}, or you may not see it"
            raise FileNotFoundError(errno.ENOENT, reason, str(path)) from error
        raise FileNotFoundError(errno.ENOENT, "no such object", str(path)) from error
    except errors.PreconditionFailed as error:
        raise FileExistsError(errno.EEXIST, "another process wrote it", str(path)) from error
    except (errors.Forbidden, errors.Unauthorized) as error:
        raise BucketError(errno.EACCES, first_line(error), str(path)) from error
    except GoogleAuthError as error:
        reason = f"no credentials for Google Cloud ({first_line(error)}); use {GRANTED}"
        raise BucketError(errno.EACCES, reason, str(path)) from error
    except (errors.GoogleAPIError, RequestException) as error:
        reason = f"Google Cloud Storage does not answer ({first_line(error)})"
        raise BucketError(errno.EIO, reason, str(path)) from error
