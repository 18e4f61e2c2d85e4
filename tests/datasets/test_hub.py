"""The hub's data sets: downloaded from a small server that speaks the hub's language, found again without it, refused in one line."""

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

FILES = {
    "README.md": b"# tiny\n",
    "data/train-0.jsonl": b'{"text": "one"}\n',
    "data/test-0.jsonl": b'{"text": "two"}\n',
}
COMMIT = "0123456789" * 4


class Hub(http.server.BaseHTTPRequestHandler):
    """The data set a/tiny and, of the hub's interface, what a download needs."""

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
        for name, value in {
            "X-Repo-Commit": COMMIT,
            "ETag": f'"{self.tag(content)}"',
            "Content-Length": str(len(content)),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def tag(self, content: bytes) -> str:
        return hashlib.sha1(content).hexdigest()

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def served() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("localhost", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://localhost:{server.server_port}"
        finally:
            server.shutdown()


@pytest.fixture(scope="module")
def nowhere() -> str:
    """An address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return f"http://localhost:{free.getsockname()[1]}"


ASK = """
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


def ask(cache: pathlib.Path, name: str, *patterns: str, **variables: str) -> tuple[str, float]:
    """What `folder` gives in a process of its own, for the library reads its variables once; and the seconds it took."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if "OFFLINE" not in key and "proxy" not in key.lower()
    }
    ended = subprocess.run(
        [sys.executable, "-c", ASK, name, *patterns],
        env=kept | {"HF_HOME": str(cache), "HF_HUB_DISABLE_PROGRESS_BARS": "1", **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    said, seconds = ended.stdout.splitlines()
    return said, float(seconds)


def files(folder: str) -> dict[str, bytes]:
    root = pathlib.Path(folder)
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_a_data_set_is_downloaded_once_and_then_found_without_the_hub(tmp_path, nowhere):
    with served() as endpoint:
        folder, _ = ask(tmp_path, "a/tiny", HF_ENDPOINT=endpoint)
        assert files(folder) == FILES
    assert ask(tmp_path, "a/tiny", HF_ENDPOINT=nowhere)[0] == folder
    assert ask(tmp_path, "a/tiny", HF_HUB_OFFLINE="1")[0] == folder


def test_only_the_files_asked_for_are_downloaded_and_the_rest_is_missed_offline(tmp_path, nowhere):
    with served() as endpoint:
        folder, _ = ask(tmp_path, "a/tiny", "README.md", "data/train-*", HF_ENDPOINT=endpoint)
    assert files(folder).keys() == {"README.md", "data/train-0.jsonl"}
    assert ask(tmp_path, "a/tiny", "data/train-*", HF_ENDPOINT=nowhere)[0] == folder
    said, _ = ask(tmp_path, "a/tiny", HF_ENDPOINT=nowhere)
    assert said.startswith("UserError the hub's a/tiny is not whole in the cache")


@pytest.mark.parametrize("switched_off", [False, True])
def test_a_hub_out_of_reach_is_told_within_a_second(tmp_path, nowhere, switched_off):
    variables = {"HF_HUB_OFFLINE": "1"} if switched_off else {"HF_ENDPOINT": nowhere}
    said, seconds = ask(tmp_path, "a/tiny", **variables)
    remedy = (
        "HF_HUB_OFFLINE keeps this offline: unset it"
        if switched_off
        else "cannot be reached (Connection refused): go online"
    )
    assert (
        said.startswith("UserError the hub's a/tiny is not whole")
        and remedy in said
        and "README.md and the data files" in said
    )
    assert seconds < 1


def test_a_silent_hub_and_a_dead_proxy_are_told_within_a_second(tmp_path, nowhere):
    with socket.socket() as deaf:  # its queue of callers is full: it neither answers nor refuses
        deaf.bind(("localhost", 0))
        deaf.listen(0)
        address = f"localhost:{deaf.getsockname()[1]}"
        with contextlib.ExitStack() as callers:
            for _ in range(8):
                caller = callers.enter_context(socket.socket())
                caller.setblocking(False)
                caller.connect_ex(deaf.getsockname())
            said, seconds = ask(tmp_path, "a/tiny", HF_ENDPOINT=f"http://{address}")
    assert (
        ("does not answer" in said or "timed out" in said) and "go online" in said and seconds < 1.2
    )
    said, seconds = ask(tmp_path, "a/tiny", HTTPS_PROXY=nowhere)
    assert f"{nowhere.removeprefix('http://')} cannot be reached" in said and seconds < 1


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a/absent", "the hub has no data set a/absent that you may read; check the name"),
        ("a--b/c..d", "cannot be a name of the hub"),
        ("tiny", "'tiny' is neither a folder nor a data set of the hub"),
        ("/a/tiny", "neither a folder"),
        ("a/b/c", "neither a folder"),
    ],
)
def test_what_is_no_data_set_of_the_hub_is_refused(tmp_path, name, says):
    with served() as endpoint:
        said, _ = ask(tmp_path, name, HF_ENDPOINT=endpoint)
    assert said.startswith("UserError ") and says in said
