"""Tell the paths of a disk from those of a bucket."""

import pathlib
import re

from gpt1_jax.errors import UserError
from gpt1_jax.storage.bucket import BucketPath

Path = pathlib.Path | BucketPath
ADDRESS = re.compile(r"(gs(?=:/)|[A-Za-z][\w+.-]*(?=://))")


def is_address(text: str) -> bool:
    """Return whether the text begins with a scheme, such as gs:// (or gs:/, a slip)."""
    return ADDRESS.match(text) is not None


def path(text: str) -> Path:
    """Return the path that a text names.

    Raises:
        UserError: the text is an address, and not one of the form gs://BUCKET/FOLDER.
    """
    match = ADDRESS.match(text)
    if match is None:
        return pathlib.Path(text)
    scheme = match[1]
    if scheme != "gs":
        raise UserError(
            f"{text}: {scheme}:// cannot be used, only folders of this machine and gs:// can"
        )
    if not re.fullmatch(r"gs://[a-z0-9][a-z0-9._-]+[a-z0-9]/[^/].*", text):
        raise UserError(f"{text}: expected gs://BUCKET/FOLDER")
    if ".." in text.split("/"):
        raise UserError(f"{text}: a bucket has no folder called ..; write the address without it")
    return BucketPath(text)
