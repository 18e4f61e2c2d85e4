"""Tell a damaged checkpoint from a disk that fails, and repeat what may succeed a moment later."""

import errno
import logging
import os
import re
import time
from collections.abc import Callable
from typing import TypeVar

from absl import logging as absl_logging

from gpt1_jax import storage
from gpt1_jax.errors import UserError

Result = TypeVar("Result")
RETRY_DELAYS = (0.5, 1.0, 2.0)  # seconds
# A file that is missing, or is a folder, is damage. Any other error is one of the system.
DAMAGE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
# TensorStore gives the number of the system's error in its message only.
OS_ERROR_CODE = re.compile(r"os_error_code='(\d+)'")

# Orbax logs every error with several tracebacks before it raises the error. It raises the error of
# one array; asyncio logs, later, those of the arrays that were read or written at the same time.
absl_logging.get_absl_logger().addFilter(lambda record: "/orbax/" not in record.pathname)
logging.getLogger("asyncio").addFilter(
    lambda record: not any(name in record.getMessage() for name in ("tensorstore", "/orbax/"))
)


class DamagedError(Exception):
    """Report that the bytes of a checkpoint are not those that were written."""


def error_summary(error: BaseException) -> str:
    """Return the class and the first line of an error, at most 200 characters."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def os_error(error: BaseException | None) -> str | None:
    """Return the system's reason for an error, such as "No space left on device", else None.

    Orbax wraps errors in others, so all causes are looked at. Missing files are no such reason.
    """
    passed = set()
    while error is not None and id(error) not in passed:
        passed.add(id(error))
        number = OS_ERROR_CODE.search(str(error))
        if isinstance(error, MemoryError):
            return "not enough memory"
        if isinstance(error, OSError) and error.errno not in DAMAGE:
            return error.strerror or error_summary(error)
        if number and int(number[1]) not in DAMAGE:
            return os.strerror(int(number[1]))
        error = error.__cause__ or error.__context__
    return None


def read_with_retries(
    folder: storage.Path,
    read: Callable[[], Result],
    sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """Return `read()`, which reads the files in `folder`. Repeat it after an error of the system.

    Args:
        folder: the folder of a checkpoint, or of a part of it.
        read: the function to call; its errors of type UserError are not changed.
        sleep: wait for a number of seconds.

    Raises:
        DamagedError: all bytes can be read, and are not those of a checkpoint.
        UserError: the bytes cannot be read, or there is not enough memory.
    """
    in_bucket, is_repeated = isinstance(folder, storage.BucketPath), False
    for delay in (*RETRY_DELAYS, None):
        try:
            return read()
        except (UserError, DamagedError):
            raise
        except Exception as error:  # orbax has no common class for the errors of damaged files
            reason = os_error(error) or _read_error(folder)
            if reason is None and in_bucket and not is_repeated:
                is_repeated, reason = True, "the connection broke"
            elif reason is None:
                raise DamagedError(error_summary(error)) from error
        if delay is not None:
            sleep(delay)
    raise UserError(
        f"{folder}: cannot be read ({reason}), also not after {len(RETRY_DELAYS)} retries; "
        "nothing was changed, so mend the cause and repeat the command"
    )


def _read_error(folder: storage.Path) -> str | None:
    """Read all files below a folder; return the reason why the system cannot, else None."""
    reasons = []
    if isinstance(folder, storage.BucketPath):
        try:
            for item in folder.objects():
                (folder / item.name.removeprefix(folder.key).lstrip("/")).read_bytes()
        except OSError as error:
            reasons.append(os_error(error))
        return next(filter(None, reasons), None)
    for root, _, names in os.walk(folder, onerror=lambda error: reasons.append(os_error(error))):
        for name in names:
            try:
                with open(os.path.join(root, name), "rb") as file:
                    while file.read(1 << 20):
                        pass
            except OSError as error:
                reasons.append(os_error(error))
    return next(filter(None, reasons), None)
