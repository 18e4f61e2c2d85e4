"""Read and write the files of runs and caches, on a disk or in a bucket of Google Cloud Storage.

This package alone knows where files live: renaming, file descriptors, `flock` and requests to a
bucket are used here only. Readers of published data sets open their files themselves, on a disk;
`copies.py` brings the data of a bucket there.

A path is a `pathlib.Path`, or a `BucketPath` for gs://. How the functions work on each:

    function                on a disk                       in a bucket
    atomic_writer, write_*  temporary file, fsync, rename   one upload of the whole object
    atomic_folder           temporary folder, rename        temporary folder here, then uploads
    appender                append, flush each line         keep the content; upload all of it after
                                                            30 s, by flush and by close
    lock                    flock, until the process ends   lease: an object that is renewed; free
                                                            after a minute without renewal
    confirm                 nothing                         renew the lease, or end the process
    move_folder             rename                          copy the objects, then delete them
    remove_folder           rename, then delete             delete, the mark of completeness first
    names, read_*           list, read                      list, read

Every write to a bucket that could meet another process's has a precondition on the generation of
the object. Errors of a bucket are OSErrors, as those of a disk (`connection.py`).

The standard library is enough for a disk. For a bucket, packages of the extra `gcs` are imported
when the first path of a bucket is used.
"""

from gpt1_jax.storage.bucket import BucketPath
from gpt1_jax.storage.connection import BucketError
from gpt1_jax.storage.copies import local_copy
from gpt1_jax.storage.files import (
    appender,
    atomic_folder,
    atomic_writer,
    folder_size,
    move_folder,
    names,
    remove_folder,
    write_bytes,
    write_text,
)
from gpt1_jax.storage.json_files import (
    REQUIRED,
    append_json_line,
    read_json,
    read_json_lines,
    write_json,
    write_json_lines,
)
from gpt1_jax.storage.locks import confirm, is_locked_by, lock
from gpt1_jax.storage.paths import Path, is_address, path

__all__ = [
    "REQUIRED",
    "BucketError",
    "BucketPath",
    "Path",
    "append_json_line",
    "appender",
    "atomic_folder",
    "atomic_writer",
    "confirm",
    "folder_size",
    "is_address",
    "is_locked_by",
    "local_copy",
    "lock",
    "move_folder",
    "names",
    "path",
    "read_json",
    "read_json_lines",
    "remove_folder",
    "write_bytes",
    "write_json",
    "write_json_lines",
    "write_text",
]
