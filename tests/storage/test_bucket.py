"""Test that the objects of a bucket are read and written as the files of a disk."""

import json
import pathlib
import pickle

import pytest
from etils import epath

from gpt1_jax import storage
from gpt1_jax.errors import UserError
from gpt1_jax.storage import bucket as buckets
from gpt1_jax.storage import objects


def test_address_is_a_path(bucket):
    path = storage.path("gs://runs-bucket/a/b.txt")
    assert (str(path), path.name, str(path.parent)) == (
        "gs://runs-bucket/a/b.txt",
        "b.txt",
        "gs://runs-bucket/a",
    )
    assert (path.bucket, path.key) == ("runs-bucket", "a/b.txt")
    assert path.parent / "b.txt" == path and path.parent in path.parents
    assert path.absolute() is path.resolve() is path and pickle.loads(pickle.dumps(path)) == path
    assert str(path.relative_to(path.parent)) == "b.txt" and str(path / "." / "c") == f"{path}/c"
    with pytest.raises(TypeError, match="in a bucket, and no path of this machine"):
        open(path)
    assert isinstance(storage.path("gs/b/x"), pathlib.Path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("s3://b/x", "s3:// cannot be used"),
        ("https://host/x", "https:// cannot be used"),
        ("gs:/b/x", "expected gs://BUCKET/FOLDER"),
        ("gs://b", "expected gs://BUCKET/FOLDER"),
        ("gs://bucket/", "expected gs://BUCKET/FOLDER"),
        ("gs://bucket/a/../b", "has no folder called .."),
    ],
)
def test_other_addresses_are_refused(text, reason):
    with pytest.raises(UserError) as caught:
        storage.path(text)
    assert str(caught.value).startswith(f"{text}: ") and reason in str(caught.value)


def test_objects_are_written_whole_and_read(bucket):
    path = bucket / "folder/file.json"
    assert not path.exists() and not bucket.is_dir() and storage.names(bucket) == []
    assert storage.read_json(path, missing=3) == 3
    with pytest.raises(UserError, match=r"file\.json: no such file; is gs://.*/folder the folder"):
        storage.read_json(path)
    storage.write_json(path, {"a": 1})
    with pytest.raises(ZeroDivisionError), storage.atomic_writer(path) as file:
        file.write("half")
        raise ZeroDivisionError
    assert storage.read_json(path) == {"a": 1}
    assert path.is_file() and not path.is_dir() and path.parent.is_dir() and bucket.exists()
    assert not (bucket / "fold").exists(), "a prefix of a name is no folder"
    storage.write_text(bucket / "b.txt", "eins\nzwei\r\n")
    assert (bucket / "b.txt").open("rb").readlines() == [b"eins\n", b"zwei\r\n"]
    assert (bucket / "b.txt").open().readlines() == ["eins\n", "zwei\n"]
    assert storage.names(bucket) == ["b.txt", "folder"] and storage.folder_size(bucket) == 24
    path.unlink()
    path.unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        path.unlink()
    assert storage.names(bucket) == ["b.txt"]


def test_folder_appears_in_the_order_of_writing(bucket, monkeypatch):
    storage.write_text(bucket / "data/old.txt", "old")
    order = []
    upload = buckets.BucketPath.upload

    def record(path, *arguments):
        order.append(path.name)
        return upload(path, *arguments)

    monkeypatch.setattr(buckets.BucketPath, "upload", record)
    with storage.atomic_folder(bucket / "data") as folder:
        (folder / "novels").mkdir()
        (folder / "novels/a.txt").write_text("a")
        (folder / "z.txt").write_text("z")
        (folder / "manifest.json").write_text("{}")
    assert order[-1] == "manifest.json"
    assert storage.names(bucket / "data") == ["manifest.json", "novels", "z.txt"]
    with pytest.raises(FileExistsError), storage.atomic_folder(bucket / "data", replace=False):
        pass


def test_moved_folder_has_its_mark_last(bucket):
    for name in ("checkpoints/5/params/d", "checkpoints/5/commit_success.txt"):
        storage.write_text(bucket / name, name)
    assert (bucket / "checkpoints").complete_folders() == ["5"]
    storage.move_folder(bucket / "checkpoints/5", bucket / "bad-5-1")
    assert storage.names(bucket) == ["bad-5-1"]
    assert storage.names(bucket / "bad-5-1") == ["commit_success.txt", "params"]
    assert (bucket / "bad-5-1/params/d").read_text() == "checkpoints/5/params/d"
    storage.write_text(bucket / "checkpoints/6/x", "")
    with pytest.raises(FileExistsError):
        storage.move_folder(bucket / "checkpoints/6", bucket / "bad-5-1")
    storage.remove_folder(bucket / "bad-5-1")
    assert storage.names(bucket) == ["checkpoints"]


def test_appended_lines_are_uploaded_by_flush_and_after_a_while(bucket, monkeypatch):
    path = bucket / "metrics.jsonl"
    with storage.appender(path) as file:
        storage.append_json_line(file, {"step": 1})
        assert not path.exists()
        file.flush()
        assert storage.read_json_lines(path) == [{"step": 1}]
        storage.append_json_line(file, {"step": 2})
    monkeypatch.setattr(objects, "DELAY", 0.05)
    file = storage.appender(path)
    file.write('{"step": 3, "text": "\udcff"}\n')
    while b'"step": 3' not in path.read_bytes():
        pass
    assert path.read_text().splitlines()[:2] == ['{"step": 1}', '{"step": 2}']
    assert path.read_text().splitlines()[2] == r'{"step": 3, "text": "\udcff"}'


def test_two_writers_of_a_log_do_not_lose_each_others_lines(bucket):
    first, second = (storage.appender(bucket / "log.txt") for _ in range(2))
    first.write("first\n")
    first.flush()
    second.write("second\n")
    with pytest.raises(OSError, match="another process writes it"):
        second.flush()
    assert (bucket / "log.txt").read_text() == "first\n"


def test_data_is_copied_once_and_again_where_it_changed(bucket, tmp_path, capfd):
    for name in ("a.txt", "sub/b.txt", "sub/c.jsonl"):
        storage.write_text(bucket / "books" / name, name)
    copy = storage.local_copy(bucket / "books", tmp_path)
    assert (copy / "sub/b.txt").read_text() == "sub/b.txt"
    assert "copying 3 files (0.0 MB) from gs://" in capfd.readouterr().err
    assert storage.local_copy(bucket / "books", tmp_path) == copy
    assert capfd.readouterr().err == ""
    storage.write_text(bucket / "books/a.txt", "A.txt")  # of the same size
    (bucket / "books/sub/b.txt").unlink()
    storage.local_copy(bucket / "books", tmp_path)
    assert (copy / "a.txt").read_text() == "A.txt" and not (copy / "sub/b.txt").exists()
    assert "copying 1 files" in capfd.readouterr().err
    pattern = storage.local_copy(bucket / "books/s*/*.jsonl", tmp_path)
    assert [file.name for file in copy.glob("s*/*.jsonl")] == ["c.jsonl"]
    assert str(pattern).endswith("books/s*/*.jsonl") and pattern.parent.parent == copy
    assert storage.local_copy(bucket / "books/a.txt", tmp_path).read_text() == "A.txt"
    assert not storage.local_copy(bucket / "absent", tmp_path).exists()


def test_orbax_and_jax_see_what_other_machines_write(bucket):
    storage.write_text(bucket / "1/a", "")
    folder = epath.Path(str(bucket))
    assert [path.name for path in folder.iterdir()] == ["1"] and not (folder / "2").exists()
    storage.write_text(bucket / "2/a", "")
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2"]
    assert (folder / "2/a").exists()


def test_bucket_that_is_gone_has_no_files_and_takes_none(bucket_server):
    path = storage.path("gs://no-such-bucket/x/a.json")
    assert json.dumps(path.exists()) == "false"
    with pytest.raises(FileNotFoundError):
        storage.write_json(path, {})
