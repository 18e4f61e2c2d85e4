"""Copy the data of a bucket to this machine, where the readers of data sets open their files."""

import hashlib
import pathlib
import sys

from gpt1_jax.storage import disk
from gpt1_jax.storage.bucket import BucketPath
from gpt1_jax.storage.connection import requests, retry
from gpt1_jax.storage.json_files import read_json, write_json
from gpt1_jax.storage.locks import lock
from gpt1_jax.storage.objects import in_parallel

WILDCARDS = set("*?[")


def local_copy(path: BucketPath, root: pathlib.Path) -> pathlib.Path:
    """Return where the files of a folder, a file or a pattern are on this machine.

    Files that have changed in the bucket since the last call are copied; files that are gone there
    are deleted here. A folder that does not exist has no copy.

    Args:
        path: the folder, the file, or a pattern below a folder.
        root: the folder of all copies.

    Raises:
        OSError: a file cannot be read or written.
    """
    parts = path.parts
    fixed = next((n for n, part in enumerate(parts) if WILDCARDS & set(part)), len(parts))
    source = BucketPath(*parts[:fixed])
    target = root.joinpath(source.bucket, *source.parts[2:])
    key = hashlib.sha256(str(source).encode()).hexdigest()[:20]
    with lock(root / "locks" / key, wait=True):
        _synchronize(source, target, root / "generations" / f"{key}.json")
    return target.joinpath(*parts[fixed:])


def _synchronize(source: BucketPath, target: pathlib.Path, record: pathlib.Path) -> None:
    """Make the files at `target` those of `source`; `record` has the generation of each."""
    listed = {item.name.removeprefix(source.key).lstrip("/"): item for item in source.objects()}
    if not listed and source.is_file():
        blob = source.blob()
        with requests(source):
            blob.reload(retry=retry())
        listed = {"": blob}
    known = read_json(record, missing={})
    generations = {name: int(item.generation) for name, item in listed.items()}
    changed = [
        name
        for name, item in listed.items()
        if known.get(name) != generations[name]
        or not (target / name).is_file()
        or (target / name).stat().st_size != item.size
    ]
    if changed:
        size = sum(listed[name].size for name in changed)
        text = f"copying {len(changed)} files ({size / 1e6:.1f} MB) from {source} to {target}"
        print(text, file=sys.stderr, flush=True)

    def download(name: str) -> None:
        path = source / name if name else source
        with disk.atomic_writer(target / name, binary=True) as file, requests(path):
            path.blob().download_to_file(file, retry=retry())

    in_parallel(download, changed)
    for file in target.rglob("*") if target.is_dir() else ():
        if file.is_file() and file.relative_to(target).as_posix() not in listed:
            file.unlink()
    if listed or known:
        write_json(record, generations)
