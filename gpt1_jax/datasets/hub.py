"""Find the local folder of a data set of the Hugging Face hub; download it if necessary."""

import os
import pathlib
import queue
import re
import socket
import threading
import urllib.parse
import urllib.request

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
    except (errors.HTTPError, OSError) as error:
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
