"""A data set of the Hugging Face hub -> the folder on this disk that holds its files."""

import os
import pathlib
import queue
import re
import socket
import threading
import urllib.parse
import urllib.request

from gpt1_jax.errors import UserError, first_line

TIMEOUT = 0.8  # seconds for a connection to open; without this look ahead the library tries for 23 seconds
OFF = (
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "HF_DATASETS_OFFLINE",
)  # the library reads them when it is imported


def folder(name: str, patterns: tuple[str, ...] | None = None) -> pathlib.Path:
    """The files of the hub's data set `name` (owner/name): downloaded where the hub is within reach, else as they lie in its cache.

    Only files are fetched; no script of a data set is run. Who also takes local folders looks for them first: here a name is the hub's.

    Args:
        patterns: of the files that are wanted, such as "data/train-*"; all without.

    Raises:
        UserError: the name cannot be one, the hub has no such data set or does not open it, or it is neither within reach nor in the
            cache, whole.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name, flags=re.ASCII):
        raise UserError(
            f"{name!r} is neither a folder nor a data set of the hub; give a folder, or a name such as owner/name"
        )
    answer = _probe_hub()
    from huggingface_hub import constants

    apart = _why_offline(answer)
    missing = UserError(
        f"the hub's {name} is not whole in the cache {constants.HF_HUB_CACHE}, and {apart or 'the connection broke off: try again'}, or "
        "give a local copy by its folder: README.md and the data files (.parquet, .jsonl, .csv or .txt) as the hub has them"
    )
    if (
        apart
        and not (
            pathlib.Path(constants.HF_HUB_CACHE) / f"datasets--{name.replace('/', '--')}"
        ).exists()
    ):
        raise missing  # before the seconds that the library takes to be imported
    from huggingface_hub import errors, snapshot_download

    wanted = list(patterns) if patterns else None
    try:
        return pathlib.Path(
            snapshot_download(
                name, repo_type="dataset", allow_patterns=wanted, local_files_only=bool(apart)
            )
        )
    except errors.LocalEntryNotFoundError:
        raise missing from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"the hub has no data set {name} that you may read; check the name, or log in (hf auth login)"
        ) from None
    except errors.HFValidationError as error:
        raise UserError(
            f"{name!r} cannot be a name of the hub ({first_line(error)}); expected owner/name"
        ) from None
    except (errors.HTTPError, OSError) as error:
        raise UserError(
            f"the hub's {name}: the download broke off ({first_line(error)}); the same command goes on with it"
        ) from None


def _probe_hub() -> queue.Queue:
    """Begins to connect to the hub; the queue will hold what went wrong, or "".

    To look a name up can take long and cannot be stopped, so it has a thread of its own.
    """
    answer = queue.Queue()
    host, port = _address(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")

    def connect():
        try:
            socket.create_connection((host, port), timeout=TIMEOUT).close()
            answer.put("")
        except OSError as error:
            answer.put(f"{host}:{port} cannot be reached ({error.strerror or error})")

    if not _switched_off():
        threading.Thread(target=connect, daemon=True).start()
    return answer


def _address(endpoint: str) -> tuple[str, int]:
    """Host and port of the endpoint, or of the proxy on the way to it."""
    url = urllib.parse.urlsplit(endpoint)
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if proxy and not urllib.request.proxy_bypass(url.hostname or ""):
        url = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return url.hostname or "", url.port or {"http": 80, "https": 443}.get(url.scheme, 1080)


def _why_offline(answer: queue.Queue) -> str:
    """Why the hub is out of reach and what to do about it; "" where it is within reach."""
    if variable := _switched_off():
        return f"{variable} keeps this offline: unset it"
    try:
        wrong = answer.get(timeout=TIMEOUT)
    except queue.Empty:
        wrong = f"the hub does not answer within {TIMEOUT} s"
    return f"{wrong}: go online" if wrong else ""


def _switched_off() -> str:
    """The variable of the environment that forbids going online, or ""."""
    return next(
        (
            variable
            for variable in OFF
            if os.environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE")
        ),
        "",
    )
