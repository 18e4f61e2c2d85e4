"""Test data sets of the hub with a small local server: download, cache, errors in one line."""

import contextlib
import hashlib
import http.server
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from gpt1_jax.datasets import corpora, hub, sources
from gpt1_jax.errors import UserError
from gpt1_jax.registry import TASKS

FILES = {
    "README.md": b"# tiny\n",
    "data/train-0.jsonl": b'{"text": "one"}\n',
    "data/test-0.jsonl": b'{"text": "two"}\n',
}
COMMIT = "0123456789" * 4


class Hub(http.server.BaseHTTPRequestHandler):
    """Serve the data set a/tiny by the part of the hub's interface that a download needs."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.partition("?")[0]
        content = None
        if path.startswith("/api/datasets/a/tiny/revision/"):
            content = json.dumps(
                {"id": "a/tiny", "sha": COMMIT, "siblings": [{"rfilename": name} for name in FILES]}
            ).encode()
        elif path.startswith("/api/datasets/a/tiny/tree/"):
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": self.tag(data)}
                for name, data in FILES.items()
            ]
            content = json.dumps(tree).encode()
        elif path.startswith(f"/datasets/a/tiny/resolve/{COMMIT}/"):
            content = FILES.get(path.split("/", 6)[6])
        self.send_response(200 if content is not None else 404)
        if content is None:
            self.send_header("X-Error-Code", "RepoNotFound")
        content = content or b"{}"
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{self.tag(content)}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def tag(self, content: bytes) -> str:
        return hashlib.sha1(content).hexdigest()

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def serve() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("localhost", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://localhost:{server.server_port}"
        finally:
            server.shutdown()


@pytest.fixture(scope="module")
def closed_address() -> str:
    """Return an address at which no server listens."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return f"http://localhost:{free.getsockname()[1]}"


FIND_FOLDER = """
import sys, time
from gpt1_jax.datasets import hub
from gpt1_jax.errors import UserError
begin = time.perf_counter()
try:
    print(hub.folder(sys.argv[1], tuple(sys.argv[2:])))
except UserError as error:
    print("UserError", error)
print(time.perf_counter() - begin)
"""


def find_folder(
    cache: pathlib.Path, name: str, *patterns: str, **variables: str
) -> tuple[str, float]:
    """Return the result of `hub.folder` and its seconds.

    It runs in a new process, because the library reads the variables once.
    """
    environment = {
        key: value
        for key, value in os.environ.items()
        if "OFFLINE" not in key and "proxy" not in key.lower()
    }
    environment |= {"HF_HOME": str(cache), "HF_HUB_DISABLE_PROGRESS_BARS": "1", **variables}
    process = subprocess.run(
        [sys.executable, "-c", FIND_FOLDER, name, *patterns],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    result, seconds = process.stdout.splitlines()
    return result, float(seconds)


def files(folder: str) -> dict[str, bytes]:
    root = pathlib.Path(folder)
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_downloaded_data_set_is_found_offline(tmp_path, closed_address):
    with serve() as endpoint:
        folder, _ = find_folder(tmp_path, "a/tiny", HF_ENDPOINT=endpoint)
        assert files(folder) == FILES
    assert find_folder(tmp_path, "a/tiny", HF_ENDPOINT=closed_address)[0] == folder
    assert find_folder(tmp_path, "a/tiny", HF_HUB_OFFLINE="1")[0] == folder


def test_only_matching_files_are_downloaded(tmp_path, closed_address):
    with serve() as endpoint:
        folder, _ = find_folder(
            tmp_path, "a/tiny", "README.md", "data/train-*", HF_ENDPOINT=endpoint
        )
    assert files(folder).keys() == {"README.md", "data/train-0.jsonl"}
    assert find_folder(tmp_path, "a/tiny", "data/train-*", HF_ENDPOINT=closed_address)[0] == folder
    result, _ = find_folder(tmp_path, "a/tiny", HF_ENDPOINT=closed_address)
    assert result.startswith("UserError the hub's a/tiny is not complete in the cache")


@pytest.mark.parametrize("switched_off", [False, True])
def test_unreachable_hub_is_reported_without_retries(tmp_path, closed_address, switched_off):
    variables = {"HF_HUB_OFFLINE": "1"} if switched_off else {"HF_ENDPOINT": closed_address}
    result, seconds = find_folder(tmp_path, "a/tiny", **variables)
    remedy = (
        "HF_HUB_OFFLINE keeps this offline: unset it"
        if switched_off
        else "cannot be reached (Connection refused): go online"
    )
    assert result.startswith("UserError the hub's a/tiny is not complete")
    assert remedy in result and "README.md and the data files" in result
    assert seconds < 1


def test_silent_hub_and_dead_proxy_are_reported_without_retries(tmp_path, closed_address):
    with socket.socket() as silent:  # with a full queue it neither accepts nor refuses
        silent.bind(("localhost", 0))
        silent.listen(0)
        address = f"localhost:{silent.getsockname()[1]}"
        with contextlib.ExitStack() as clients:
            for _ in range(8):
                client = clients.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(silent.getsockname())
            result, seconds = find_folder(tmp_path, "a/tiny", HF_ENDPOINT=f"http://{address}")
    assert "does not answer" in result or "timed out" in result
    assert "go online" in result and seconds < 1.2
    result, seconds = find_folder(tmp_path, "a/tiny", HTTPS_PROXY=closed_address)
    assert f"{closed_address.removeprefix('http://')} cannot be reached" in result and seconds < 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a/absent", "the hub has no data set a/absent that you may read; check the name"),
        ("a--b/c..d", "cannot be a name of the hub"),
        ("tiny", "'tiny' is neither a folder nor a data set of the hub"),
        ("/a/tiny", "neither a folder"),
        ("a/b/c", "neither a folder"),
    ],
)
def test_invalid_name_is_refused(tmp_path, name, message):
    with serve() as endpoint:
        result, _ = find_folder(tmp_path, name, HF_ENDPOINT=endpoint)
    assert result.startswith("UserError ") and message in result


ROW = '{"text": "one", "sentence": "one", "label": 1}\n'


def write_copy(folder: pathlib.Path, data_files: str) -> pathlib.Path:
    """Write a data set in the hub's layout whose second configuration has these data files."""
    (folder / "data").mkdir(parents=True)
    (folder / "data/train.jsonl").write_text(ROW)
    first = "- config_name: first\n  data_files: data/train.jsonl\n"
    second = f"- config_name: sst2\n{data_files}\n"
    (folder / "README.md").write_text(f"---\nconfigs:\n{first}{second}---\n")
    return folder


def open_corpus(folder: pathlib.Path) -> None:
    corpora.parts("hub", f"{folder}/sst2", "text")


def open_task(folder: pathlib.Path) -> None:
    sources.load(TASKS["sst2"], "train", source="hub", path=str(folder), max_bad_rows=0)


ELSEWHERE = [
    "{secret}",
    "../secret.jsonl",
    "data/../../secret.jsonl",
    "http://localhost:9/secret.jsonl",
    "hf://datasets/a/b/train.jsonl",
    "file:{secret}",
    "zip://*.jsonl::secret.zip",
]


@pytest.mark.parametrize("read", [open_corpus, open_task])
@pytest.mark.parametrize("pattern", ELSEWHERE)
def test_data_outside_the_folder_is_refused(tmp_path, pattern, read):
    (tmp_path / "secret.jsonl").write_text(ROW)
    pattern = pattern.format(secret=tmp_path / "secret.jsonl")
    forms = [
        f"  data_files: {pattern}",
        f"  data_files:\n  - split: train\n    path: [data/train.jsonl, '{pattern}']",
        f"  data_dir: {pattern}",
    ]
    for number, form in enumerate(forms):
        copy = write_copy(tmp_path / f"copy{number}", form)
        with pytest.raises(UserError, match=r"README.md: its configs name .* not in the folder"):
            read(copy)


def test_links_of_the_cache_lead_to_the_same_data_set_only(tmp_path):
    repository = tmp_path / "datasets--a--b"
    copy = write_copy(repository / "snapshots/0123", "  data_files: data/*.jsonl")
    (repository / "blobs").mkdir()
    (copy / "data/train.jsonl").rename(repository / "blobs/4567")
    (copy / "data/train.jsonl").symlink_to("../../../blobs/4567")
    rows = hub.builder(copy, "sst2").as_streaming_dataset("train")
    assert [row["text"] for row in rows] == ["one"]
    (repository / "blobs/4567").rename(tmp_path / "secret.jsonl")
    (copy / "data/train.jsonl").unlink()
    (copy / "data/train.jsonl").symlink_to(tmp_path / "secret.jsonl")
    with pytest.raises(UserError, match=r"train.jsonl: is outside .*0123, the folder of the data"):
        hub.builder(copy, "sst2")
