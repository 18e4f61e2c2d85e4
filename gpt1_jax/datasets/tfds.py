"""Data sets that TFDS has prepared as array_record: read without TensorFlow, one record at a time, from any place."""

import os
import pathlib
from typing import Any

from gpt1_jax.errors import UserError, first_line


def builder(name: str, config: str, path: str) -> Any:
    """TFDS's read-only builder of the newest version below the data_dir `path`.

    Args:
        name, config: of the data set; config "" where it has none.
        path: a data_dir, a data set's folder in one, or a version's folder; "" is TFDS's default, TFDS_DATA_DIR or ~/tensorflow_datasets.

    Raises:
        UserError: it is not there, or prepared in another format (TFDS reads tfrecord with TensorFlow only, and slices parquet wrongly).
    """
    import tensorflow_datasets as tfds  # takes a second

    root = pathlib.Path(
        path or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    ).expanduser()
    title = f"{name}/{config}" if config else name
    places = (root / title, root / config, root) if config else (root / name, root)
    versions = next((found for place in places if (found := _versions(place))), None)
    advice = f"prepare it by tensorflow_datasets.builder({title!r}, data_dir=DIR, file_format='array_record').download_and_prepare()"
    if versions is None:
        raise UserError(
            f"config.data.path: TFDS has not prepared {title} at {root}; {advice}, or name the data_dir that holds {title}/<version>/"
        )
    try:
        found = tfds.builder_from_directory(versions[-1])
    except Exception as error:  # the library raises many kinds for a damaged folder
        raise UserError(
            f"{versions[-1]}: cannot be read as a TFDS data set ({first_line(error)}); {advice}"
        ) from None
    is_there = "/".join(filter(None, (found.info.name, found.info.config_name)))
    if is_there != title:
        raise UserError(f"config.data.path: {versions[-1]} is TFDS's {is_there}, {title} expected")
    if found.info.file_format is not tfds.core.FileFormat.ARRAY_RECORD:
        kind = found.info.file_format.value if found.info.file_format else "unknown"
        raise UserError(f"{versions[-1]}: is prepared as {kind}, array_record expected; {advice}")
    return found


def _versions(folder: pathlib.Path) -> list[pathlib.Path]:
    """The folder itself where it is a version's, else its versions' folders in their order."""
    if (folder / "dataset_info.json").is_file():
        return [folder]
    versions = [info.parent for info in folder.glob("*/dataset_info.json")]
    return sorted(
        versions, key=lambda version: [(len(part), part) for part in version.name.split(".")]
    )
