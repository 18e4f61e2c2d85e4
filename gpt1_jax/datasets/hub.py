"""Find the local folder of a data set of the Hugging Face hub, download it if necessary, open it.

The metadata of a data set, in its README.md, says where its files are. Only files in its folder are
read: the library would also read any other file of this machine, and any address, that the metadata
of a foreign data set names.
"""

import os
import pathlib
import queue
import re
import socket
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

from gpt1_jax.errors import UserError, first_line

# Seconds for a connection to open. Without this check, the library tries for 23 seconds.
TIMEOUT = 0.8
# The library reads these variables when it is imported.
OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")


def folder(name: str, patterns: tuple[str, ...] | None = None) -> pathlib.Path:
    """Return the folder with the files of a data set: downloaded, or from the cache when offline.

    Only files are downloaded. No script of a data set is run. `name` is always a name of the hub,
    so callers that accept local folders must look for them first.

    Args:
        name: owner/name.
        patterns: patterns of the required files, such as "data/train-*"; None: all files.

    Raises:
        UserError: the name is invalid, the hub has no such data set or denies access, or the hub
            cannot be reached and the cache does not hold all the files.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name, flags=re.ASCII):
        raise UserError(
            f"{name!r} is neither a folder nor a data set of the hub; "
            "give a folder, or a name such as owner/name"
        )
    answer = _start_connection()
    from huggingface_hub import constants

    offline = _why_offline(answer)
    missing = UserError(
        f"the hub's {name} is not complete in the cache {constants.HF_HUB_CACHE}, and "
        f"{offline or 'the connection broke off: try again'}, or give the folder of a local copy: "
        "README.md and the data files (.parquet, .jsonl, .csv or .txt) as on the hub"
    )
    cached = pathlib.Path(constants.HF_HUB_CACHE) / f"datasets--{name.replace('/', '--')}"
    if offline and not cached.exists():
        raise missing  # before the library is imported, which takes seconds
    return _download(name, patterns, bool(offline), missing)


def builder(folder: pathlib.Path, config: str) -> Any:
    """Return the builder of the library for a data set whose files are all in its folder.

    In a local copy, links may lead to elsewhere: its owner has made them. In the hub's cache, they
    may lead to the files of the same data set only.

    Args:
        folder: a folder in the hub's layout.
        config: a configuration; "" for the default one.

    Raises:
        UserError: the metadata names data elsewhere, or a file of the cache is a link to elsewhere.
        ValueError, RuntimeError, OSError, datasets.exceptions.DatasetsError: as the library.
    """
    import datasets

    check_metadata(folder)
    result = datasets.load_dataset_builder(str(folder), config or None)
    root = folder.resolve()
    snapshots = [parent for parent in (root, *root.parents) if parent.parent.name == "snapshots"]
    for files in (result.config.data_files or {}).values():
        for file in map(str, files):
            is_inside = "://" not in file and pathlib.Path(file).is_relative_to(root)
            if snapshots and is_inside:  # the files are links to ../../blobs
                repository = snapshots[0].parent.parent
                is_inside = pathlib.Path(file).resolve().is_relative_to(repository)
            if not is_inside:
                raise UserError(
                    f"{file}: is outside {root}, the folder of the data set; copy it there"
                )
    return result


def check_metadata(folder: pathlib.Path) -> None:
    """Raise UserError if the metadata of a data set names data that is not in the folder.

    The library looks the data up as soon as it opens the data set, so check this before.
    """
    import yaml
    from huggingface_hub import DatasetCard

    for name in ("README.md", ".huggingface.yaml"):
        file = folder / name
        if not file.is_file():
            continue
        try:
            if name == "README.md":
                metadata = DatasetCard.load(file).data.to_dict()
            else:
                metadata = yaml.safe_load(file.read_text("utf-8"))
        except (ValueError, OSError, RecursionError, yaml.YAMLError) as error:
            raise UserError(
                f"{file}: its metadata cannot be read ({first_line(error)}); fetch it again"
            ) from None
        configs = metadata.get("configs") if isinstance(metadata, dict) else None
        for pattern in _texts([configs]):
            is_address = urllib.parse.urlsplit(pattern).scheme or "::" in pattern
            path = pathlib.PurePath(pattern)
            if is_address or path.is_absolute() or ".." in path.parts:
                raise UserError(
                    f"{file}: its configs name {pattern[:200]!r}, which is not in the folder; "
                    "remove the entry, and copy the data into the folder"
                )


def _texts(values: Any) -> Iterator[str]:
    """Yield the texts in data_files and data_dir of configurations, however they are nested."""
    for value in values:
        if isinstance(value, dict):
            paths = (value.get(key) for key in ("data_files", "data_dir", "path"))
            yield from _texts(path if isinstance(path, list) else [path] for path in paths)
        elif isinstance(value, list):
            yield from _texts(value)
        elif isinstance(value, str):
            yield value


def _download(
    name: str, patterns: tuple[str, ...] | None, offline: bool, missing: UserError
) -> pathlib.Path:
    """Return the folder; raise `missing` if the files are not in the cache when offline."""
    from huggingface_hub import errors, snapshot_download

    try:
        path = snapshot_download(
            name,
            repo_type="dataset",
            allow_patterns=list(patterns) if patterns else None,
            local_files_only=offline,
        )
    except errors.LocalEntryNotFoundError:
        raise missing from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"the hub has no data set {name} that you may read; "
            "check the name, or log in (hf auth login)"
        ) from None
    except errors.HFValidationError as error:
        raise UserError(
            f"{name!r} cannot be a name of the hub ({first_line(error)}); expected owner/name"
        ) from None
    except (errors.HTTPError, OSError) as error:  # pyright: ignore[reportPrivateImportUsage]
        raise UserError(
            f"the hub's {name}: the download broke off ({first_line(error)}); "
            "run the same command to continue it"
        ) from None
    return pathlib.Path(path)


def _start_connection() -> queue.Queue:
    """Start to connect to the hub; return a queue that receives the error, or "" on success.

    The resolution of a host name can take long and cannot be stopped, so a thread does it.
    """
    answer = queue.Queue()
    host, port = _address(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")

    def connect():
        try:
            socket.create_connection((host, port), timeout=TIMEOUT).close()
            answer.put("")
        except OSError as error:
            answer.put(f"{host}:{port} cannot be reached ({error.strerror or error})")

    if not _offline_variable():
        threading.Thread(target=connect, daemon=True).start()
    return answer


def _address(endpoint: str) -> tuple[str, int]:
    """Return host and port of the endpoint, or of its proxy."""
    url = urllib.parse.urlsplit(endpoint)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if proxy and not urllib.request.proxy_bypass(url.hostname or ""):
        url = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return url.hostname or "", url.port or {"http": 80, "https": 443}.get(url.scheme, 1080)


def _why_offline(answer: queue.Queue) -> str:
    """Return why the hub cannot be reached and what to do about it, or "" if it can be reached."""
    variable = _offline_variable()
    if variable:
        return f"{variable} keeps this offline: unset it"
    try:
        error = answer.get(timeout=TIMEOUT)
    except queue.Empty:
        error = f"the hub does not answer within {TIMEOUT} s"
    return f"{error}: go online" if error else ""


def _offline_variable() -> str:
    """Return the environment variable that forbids connections, or ""."""
    for variable in OFFLINE_VARIABLES:
        if os.environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE"):
            return variable
    return ""
