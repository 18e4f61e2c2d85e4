"""Open data sets that TensorFlow Datasets (TFDS) has prepared as array_record, without TensorFlow.

Records can be read one at a time and in any order.
"""

import os
import pathlib
from typing import Any

from gpt1_jax import inputs
from gpt1_jax.datasets import values
from gpt1_jax.errors import UserError


def builder(name: str, config: str, path: str) -> Any:
    """Return TFDS's read-only builder of the newest version below `path`.

    Args:
        name: the data set.
        config: the configuration, or "" if the data set has none.
        path: a data_dir, the folder of a data set in it, or the folder of a version; "" is TFDS's
            default, TFDS_DATA_DIR or ~/tensorflow_datasets.

    Raises:
        UserError: the data set is not there, is damaged, or is prepared in another format. (TFDS
            needs TensorFlow to read tfrecord, and slices parquet wrongly.)
    """
    import tensorflow_datasets as tfds  # takes a second

    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    root = inputs.data_path("config.data.path", path or default)
    title = f"{name}/{config}" if config else name
    advice = (
        f"prepare it by tensorflow_datasets.builder({title!r}, data_dir=DIR, "
        "file_format='array_record').download_and_prepare()"
    )
    version = _newest_version(root, name, config)
    if version is None:
        raise UserError(
            f"config.data.path: TFDS has not prepared {title} at {root}; {advice}, "
            f"or name the data_dir that holds {title}/<version>/"
        )
    try:
        os.fsencode(version).decode()
    except UnicodeDecodeError:
        raise UserError(
            f"config.data.path: {version} is not UTF-8, and TFDS cannot open it; rename the folder"
        ) from None
    with values.library_errors(f"{version}: cannot be read as a TFDS data set", advice):
        result = tfds.builder_from_directory(version)
    info = result.info
    actual_title = "/".join(filter(None, (info.name, info.config_name)))
    if actual_title != title:
        raise UserError(f"config.data.path: {version} is TFDS's {actual_title}, {title} expected")
    if info.file_format is not tfds.core.FileFormat.ARRAY_RECORD:
        file_format = info.file_format.value if info.file_format else "unknown"
        raise UserError(f"{version}: is prepared as {file_format}, array_record expected; {advice}")
    return result


def _newest_version(root: pathlib.Path, name: str, config: str) -> pathlib.Path | None:
    """Return the folder of the newest version, or None if there is no version."""
    title = root / name / config  # an empty `config` adds nothing
    for folder in (title, root / config, root) if config else (title, root):
        if (folder / "dataset_info.json").is_file():
            return folder
        versions = [info.parent for info in folder.glob("*/dataset_info.json")]
        if versions:
            return max(versions, key=_version_key)
    return None


def _version_key(version: pathlib.Path) -> list[tuple[int, str]]:
    return [(len(part), part) for part in version.name.split(".")]
