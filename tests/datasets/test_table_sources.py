"""Test that all sources return the same rows: files, the hub's parquet, TFDS's array_record."""

import json
import pathlib
from collections.abc import Callable

import datasets
import numpy as np
import pytest
import tensorflow_datasets as tfds

from gpt1_jax.datasets.readers.records import TableFormat
from gpt1_jax.datasets.readers.tables import Tsv
from gpt1_jax.datasets.sources import describe, has, load
from gpt1_jax.datasets.tasks import Task
from gpt1_jax.errors import UserError
from gpt1_jax.registry import TASKS

THREE = [name for name in TASKS if TASKS[name].hub and TASKS[name].tfds]
# Published texts contain these and readers may fail on them.
TEXTS = [
    '"Yes',
    "it's",
    'said "so"',
    "a, b",
    "déjà vu",
    " padded ",
    "two  spaces",
    "50% {x}",
    "\\n",
    "-",
]
SCORES = (3.8, 0.0, 5.0, 2.25)


def rows(task: Task, split: str) -> list[dict]:
    """Return four rows of a split by the hub's columns: different texts, and each label in turn.

    The label is -1 if the split hides its labels.
    """
    table, result = task.hub, []
    is_hidden = (
        split in task.test
        and task.format not in ("choice", "substitution")
        and table.no_label is None
        and task.name != "scitail"
    )
    for number in range(4):

        def text(column, number=number):
            prefix = TEXTS[(number + len(column)) % len(TEXTS)]
            return f"{prefix} {task.name} {split} {column} {number}"

        row = {column: text(column) for column in table.segments}
        if task.format == "choice":
            row["article"] = f"passage {split} {number // 2}"
            row["options"] = [text(answer) for answer in "ABCD"]
        if task.format == "substitution":
            row |= {"pronoun": "it", "candidates": [f"one {number}", f"two {number}"]}
        row[table.label] = SCORES[number] if task.bins else number % len(task.labels)
        if is_hidden:
            row[table.label] = -1.0 if task.bins else -1
        result.append(row)
    return result


def write_hub(root: pathlib.Path, task: Task, readme: bool = True):
    """Write parquet files in the hub's layout, with the README that describes it or without one."""
    table = task.hub
    text, answer = datasets.Value("string"), datasets.Value("float32")
    has_text_labels = task.name in ("scitail", "race", "race_middle", "race_high")
    if has_text_labels:
        answer = text
    elif not task.bins:
        answer = datasets.ClassLabel(names=list(table.label_names or task.labels))
    kinds = {
        name: datasets.List(text) if name in ("options", "candidates") else text
        for name in table.segments
    }
    files = []
    for split in task.splits:
        columns = {
            name: [row[name] for row in rows(task, split)]
            for name in (*table.segments, table.label)
        }
        if has_text_labels:
            columns[table.label] = [task.labels[label] for label in columns[table.label]]
        name = table.splits.get(split, split)
        file = root / table.configs[0] / f"{name}-00000-of-00001.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        features = datasets.Features(kinds | {table.label: answer})
        datasets.Dataset.from_dict(columns, features).to_parquet(file)
        files.append({"split": name, "path": f"{table.configs[0]}/{name}-*"})
    if readme:
        configs = [{"config_name": table.configs[0], "data_files": files}]
        header = json.dumps({"configs": configs})  # JSON is YAML
        (root / "README.md").write_text(f"---\n{header}\n---\n# A copy\n")


def tfds_features(task: Task) -> tfds.features.FeaturesDict:
    table, text = task.tfds, tfds.features.Text()
    if task.format == "choice":
        texts = tfds.features.Sequence(text)
        return tfds.features.FeaturesDict(
            {
                "article": text,
                "example_id": text,
                "questions": texts,
                "answers": texts,
                "options": tfds.features.Sequence(texts),
            }
        )
    kinds = {
        name: tfds.features.Sequence(text, length=2) if name == "candidates" else text
        for name in table.segments
    }
    answer = (
        np.float32
        if task.bins
        else tfds.features.ClassLabel(names=list(table.label_names or task.labels))
    )
    return tfds.features.FeaturesDict(kinds | {table.label: answer})


def write_tfds(root: pathlib.Path, task: Task):
    """Write array_record files with a TFDS builder that has the data set's features."""
    table = task.tfds

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.2.10")
        name = table.name
        BUILDER_CONFIGS = [
            tfds.core.BuilderConfig(name=config) for config in table.configs if config
        ]
        pkg_dir_path = root
        code_path = pathlib.Path(__file__)

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=tfds_features(task))

        def _split_generators(self, _):
            return {
                table.splits.get(split, split): self._generate_examples(split)
                for split in task.splits
            }

        def _generate_examples(self, split):
            if task.format != "choice":
                yield from enumerate(rows(task, split))
                return
            for passage in range(2):
                both = rows(task, split)[2 * passage : 2 * passage + 2]
                yield (
                    passage,
                    {
                        "questions": [row["question"] for row in both],
                        "options": [row["options"] for row in both],
                        "article": both[0]["article"],
                        "answers": [task.labels[row["answer"]] for row in both],
                        "example_id": f"{split}{passage}",
                    },
                )

    with pytest.MonkeyPatch.context() as patch:
        # Without this patch, TFDS asks TensorFlow for the dtype of a list of lists.
        patch.setattr(
            tfds.core.features.feature.TensorInfo, "dtype", property(lambda info: info.np_dtype)
        )
        for config in table.configs:
            Builder(data_dir=root, config=config or None).download_and_prepare(
                file_format="array_record"
            )


def write_files(root: pathlib.Path, task: Task):
    """Write the published files, in the first format of the task."""
    reader = task.files[0]
    for split in task.splits:
        file = root / reader.expected_path(split)
        if isinstance(reader, Tsv):
            write_tsv(file, task, split)
        elif task.format == "substitution":
            write_pronouns(file, task, split)
        else:
            write_passages(file, task, split)


def write_tsv(file: pathlib.Path, task: Task, split: str):
    reader, header = task.files[0], list(task.files[0].segments)
    is_hidden = rows(task, split)[0][task.hub.label] == -1
    if not is_hidden:
        header.append(reader.label)
    no_header = reader.headerless and not is_hidden
    lines = [] if no_header else [header]
    for number, row in enumerate(rows(task, split)):
        cells = [row[name] for name in task.hub.segments]
        if not is_hidden:
            label = row[task.hub.label]
            cells.append(str(label if task.bins else (reader.label_names or task.labels)[label]))
        if no_header:
            values = dict(zip(header, cells, strict=True))
            cells = [values.get(name, str(number)) for name in reader.headerless]
        lines.append(cells)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")


def write_pronouns(file: pathlib.Path, task: Task, split: str):
    blocks = []
    for row in rows(task, split):
        both, correct = row["candidates"], row["candidates"][row["label"]]
        blocks.append("\n".join([row["sentence"], row["pronoun"], ",".join(both), correct]))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")


def write_passages(pattern: pathlib.Path, task: Task, split: str):
    for passage in range(2):
        both = rows(task, split)[2 * passage : 2 * passage + 2]
        record = {
            "id": f"{split}{passage}.txt",
            "article": both[0]["article"],
            "questions": [row["question"] for row in both],
            "options": [row["options"] for row in both],
            "answers": [task.labels[row["answer"]] for row in both],
        }
        file = pathlib.Path(str(pattern).replace("*/*", "high/*").replace("*", str(passage)))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(record))


WRITERS: dict[str, Callable] = {"files": write_files, "hub": write_hub, "tfds": write_tfds}


@pytest.mark.parametrize("name", [name for name in THREE if name != "race"])
def test_every_source_returns_the_same_rows(tmp_path, name):
    task, contents, digests = TASKS[name], {}, {}
    for source, write in WRITERS.items():
        write(tmp_path / source, task)
        for split in task.splits:
            assert has(task, split, source=source, path=str(tmp_path / source))
            loaded = load(task, split, source=source, path=str(tmp_path / source))
            content = sorted(((row.segments, row.label) for row in loaded.examples), key=repr)
            assert contents.setdefault(split, content) == content, f"{source} differs from files"
            digest = describe(task, split, loaded)["sha256"]
            assert digests.setdefault(split, digest) == digest
    first = task.splits[0]
    expected = [row[task.hub.segments[0]].strip() for row in rows(task, first)]
    assert sorted(segments[0].strip() for segments, _ in contents[first]) == sorted(expected)
    labels = {label for _, label in contents[first]}
    if task.train:
        assert labels == (set(SCORES) if task.bins else set(range(len(task.labels))))
    else:
        assert labels == {None}


def test_race_is_high_and_middle_together(tmp_path):
    for name in ("race_middle", "race_high"):
        write_tfds(tmp_path, TASKS[name])
    examples = load(TASKS["race"], "validation", source="tfds", path=str(tmp_path)).examples
    parts = [
        load(TASKS[name], "validation", source="tfds", path=str(tmp_path))
        for name in ("race_high", "race_middle")
    ]
    assert examples == [example for part in parts for example in part.examples]
    assert len(examples) == 8 and all(len(example.segments) == 6 for example in examples)


@pytest.mark.parametrize("shape", ["readme", "no readme", "folder of a configuration"])
def test_copy_of_the_hub_may_have_several_forms(tmp_path, shape):
    rte, sst2 = TASKS["rte"], TASKS["sst2"]
    for task in (rte, sst2):
        write_hub(tmp_path, task, readme=False)
    if shape == "readme":
        write_hub(tmp_path, rte)
    path = tmp_path / "rte" if shape == "folder of a configuration" else tmp_path
    examples = load(rte, "train", source="hub", path=str(path)).examples
    assert [row.label for row in examples] == [0, 1, 0, 1]


def test_classes_are_read_by_their_names(tmp_path):
    file = tmp_path / "rte/train-00000-of-00001.parquet"
    file.parent.mkdir()

    def write(names, labels):
        kinds = datasets.Features(
            {
                "sentence1": datasets.Value("string"),
                "sentence2": datasets.Value("string"),
                "label": datasets.ClassLabel(names=names),
            }
        )
        datasets.Dataset.from_dict(
            {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": labels}, kinds
        ).to_parquet(file)
        return [
            row.label
            for row in load(TASKS["rte"], "train", source="hub", path=str(tmp_path)).examples
        ]

    assert write(["not_entailment", "entailment"], [0, 1]) == [1, 0]
    with pytest.raises(
        UserError,
        match=r"rte train, row 0: unknown label 'no', one of entailment, not_entailment expected",
    ):
        write(["no", "yes"], [0, 1])


def test_unlabeled_rows_are_omitted_and_counted(tmp_path):
    snli = TASKS["snli"]
    file = tmp_path / "plain_text/train-00000-of-00001.parquet"
    file.parent.mkdir()
    kinds = {
        "premise": datasets.Value("string"),
        "hypothesis": datasets.Value("string"),
        "label": datasets.ClassLabel(names=list(snli.labels)),
    }
    table = {"premise": list("abc"), "hypothesis": list("def"), "label": [2, -1, 0]}
    datasets.Dataset.from_dict(table, datasets.Features(kinds)).to_parquet(file)
    loaded = load(snli, "train", source="hub", path=str(tmp_path))
    assert ([row.label for row in loaded.examples], loaded.unlabeled) == ([2, 0], 1)
    assert [row.id for row in loaded.examples] == ["0", "2"]


def test_folder_has_priority_over_the_hub(tmp_path, monkeypatch):
    (tmp_path / "nyu-mll").mkdir()
    write_hub(tmp_path / "nyu-mll/glue", TASKS["rte"])
    monkeypatch.chdir(tmp_path)
    assert len(load(TASKS["rte"], "train", source="hub", path="nyu-mll/glue").examples) == 4
    (tmp_path / "nyu-mll").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"the hub's nyu-mll/glue is not complete in the cache"):
        load(TASKS["rte"], "train", source="hub", path="nyu-mll/glue")


@pytest.mark.parametrize(
    ("source", "task", "path", "message"),
    [
        (
            "hub",
            "rte",
            "",
            r"the hub's nyu-mll/glue is not complete in the cache .* HF_.*_OFFLINE keeps this"
            r" offline: unset it",
        ),
        (
            "hub",
            "rte",
            "a/b/c",
            r"config.data.path: 'a/b/c' is no folder; name a copy of nyu-mll/glue",
        ),
        (
            "hub",
            "story_cloze_2016",
            "",
            r"config.data.source: hub does not hold task story_cloze_2016; use 'files'",
        ),
        (
            "tfds",
            "story_cloze_2016",
            "",
            r"config.data.source: tfds does not hold task story_cloze_2016; use 'files'",
        ),
        (
            "tfds",
            "rte",
            "nowhere",
            r"TFDS has not prepared glue/rte at nowhere; prepare it by"
            r" tensorflow_datasets\.builder\('glue/rte', ",
        ),
    ],
)
def test_missing_data_set_is_refused(source, task, path, message):
    with pytest.raises(UserError, match=message) as error:
        load(TASKS[task], "train", source=source, path=path)
    assert "\n" not in str(error.value)


def test_incomplete_copy_of_the_hub_is_refused(tmp_path):
    write_hub(tmp_path, TASKS["rte"])
    with pytest.raises(
        UserError,
        match=r"has no configuration 'sst2', only rte; expected sst2/<split>-\*\.parquet,"
        r" or a README\.md",
    ):
        load(TASKS["sst2"], "train", source="hub", path=str(tmp_path))
    (tmp_path / "rte/test-00000-of-00001.parquet").unlink()
    (tmp_path / "README.md").unlink()
    assert not has(TASKS["rte"], "test", source="hub", path=str(tmp_path))
    with pytest.raises(UserError, match=r"rte: no split 'test'; it has 'train', 'validation'"):
        load(TASKS["rte"], "test", source="hub", path=str(tmp_path))
    for split in ("train", "validation"):
        table = datasets.Dataset.from_dict({"sentence1": ["a"], "label": [0]})
        table.to_parquet(tmp_path / f"rte/{split}-00000-of-00001.parquet")
    with pytest.raises(UserError, match=r"rte: no column 'sentence2', only 'sentence1', 'label'"):
        load(TASKS["rte"], "train", source="hub", path=str(tmp_path))


def test_other_formats_of_tfds_are_refused(tmp_path):
    rte = TASKS["rte"]
    write_tfds(tmp_path, rte)
    info = tmp_path / "glue/rte/1.2.10/dataset_info.json"
    info.write_text(info.read_text().replace('"array_record"', '"tfrecord"'))
    with pytest.raises(
        UserError, match=r"1\.2\.10: is prepared as tfrecord, array_record expected; prepare it by"
    ):
        load(rte, "train", source="tfds", path=str(tmp_path))
    with pytest.raises(UserError, match=r"1\.2\.10 is TFDS's glue/rte, snli expected"):
        load(TASKS["snli"], "train", source="tfds", path=str(info.parent))


def test_another_configuration_is_refused(tmp_path):
    write_tfds(tmp_path, TASKS["rte"])
    with pytest.raises(UserError, match=r"1\.2\.10 is TFDS's glue/rte, glue/wnli expected"):
        load(TASKS["wnli"], "train", source="tfds", path=str(tmp_path / "glue/rte"))


@pytest.mark.parametrize("damage", ["page", "file", "script"])
def test_damaged_copy_of_the_hub_is_a_one_line_error(tmp_path, damage):
    write_hub(tmp_path, TASKS["rte"], readme=False)
    file = tmp_path / "rte/train-00000-of-00001.parquet"
    content = bytearray(file.read_bytes())
    if damage == "page":
        content[20:200] = bytes(180)
    elif damage == "file":
        content = content[:100]
    else:
        (tmp_path / "rte/rte.py").write_text("raise SystemExit(1)\n")
    file.write_bytes(content)
    with pytest.raises(UserError) as error:
        load(TASKS["rte"], "train", source="hub", path=str(tmp_path))
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


@pytest.mark.parametrize("damage", ["cut", "zeroed", "missing"])
def test_damaged_files_of_tfds_are_a_one_line_error(tmp_path, damage):
    write_tfds(tmp_path, TASKS["rte"])
    (file,) = tmp_path.glob("glue/rte/1.2.10/*train.array_record*")
    content = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(content[:1000] if damage == "cut" else bytes(len(content)))
    with pytest.raises(UserError, match=f"{tmp_path}/glue/rte/1.2.10: cannot be read") as error:
        load(TASKS["rte"], "train", source="tfds", path=str(tmp_path))
    assert "\n" not in str(error.value)


def test_newest_version_is_read(tmp_path):
    write_tfds(tmp_path, TASKS["rte"])
    (tmp_path / "glue/rte/1.2.9").mkdir()
    (tmp_path / "glue/rte/1.2.9/dataset_info.json").write_text("{}")
    assert len(load(TASKS["rte"], "train", source="tfds", path=str(tmp_path)).examples) == 4


def test_names_of_hub_data_sets_include_the_owner():
    for task in map(TASKS.__getitem__, TASKS):
        for table in filter(None, (task.hub, task.tfds)):
            assert isinstance(table, TableFormat)
            assert (table.name.count("/") == 1) == (table is task.hub)
