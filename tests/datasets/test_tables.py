"""The same rows come out of all three sources: published files, the hub's parquet folders, TFDS's array_record."""

import json
import pathlib
from collections.abc import Callable

import datasets
import numpy as np
import pytest
import tensorflow_datasets as tfds

from gpt1_jax.datasets.readers.records import Table
from gpt1_jax.datasets.readers.tables import Tsv
from gpt1_jax.datasets.sources import describe, has, load
from gpt1_jax.datasets.tasks import Task
from gpt1_jax.errors import UserError
from gpt1_jax.registry import TASKS

THREE = [name for name in TASKS if TASKS[name].hub and TASKS[name].tfds]
# What published texts have and readers stumble over.
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
    """Four rows of a split by the column names of the hub: texts of their own, each label in turn; -1 where the split hides it."""
    table, made = task.hub, []
    for number in range(4):
        text = lambda column, number=number: (
            f"{TEXTS[(number + len(column)) % len(TEXTS)]} {task.name} {split} {column} {number}"
        )
        row = {column: text(column) for column in table.segments}
        if task.format == "choice":
            row |= {
                "article": f"passage {split} {number // 2}",
                "options": [text(answer) for answer in "ABCD"],
            }
        if task.format == "substitution":
            row |= {"pronoun": "it", "candidates": [f"one {number}", f"two {number}"]}
        hidden = (
            split in task.test
            and task.format not in ("choice", "substitution")
            and task.hub.unlabelled is None
        )
        label = SCORES[number] if task.bins else number % len(task.labels)
        made.append(
            row
            | {
                table.label: (-1.0 if task.bins else -1)
                if hidden and task.name != "scitail"
                else label
            }
        )
    return made


def write_hub(root: pathlib.Path, task: Task, readme: bool = True):
    """Parquet files in the hub's layout, with the README that says so, or without one."""
    table = task.hub
    files = []
    for split in task.splits:
        columns = {
            name: [row[name] for row in rows(task, split)]
            for name in (*table.segments, table.label)
        }
        text, answer = datasets.Value("string"), datasets.Value("float32")
        if not task.bins:
            answer = (
                text
                if task.name in ("scitail", "race", "race_middle", "race_high")
                else datasets.ClassLabel(names=list(table.written or task.labels))
            )
            if answer == text:
                columns[table.label] = [task.labels[label] for label in columns[table.label]]
        kinds = {
            name: datasets.List(text) if name in ("options", "candidates") else text
            for name in table.segments
        }
        name = table.splits.get(split, split)
        file = root / table.configs[0] / f"{name}-00000-of-00001.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        datasets.Dataset.from_dict(
            columns, datasets.Features(kinds | {table.label: answer})
        ).to_parquet(file)
        files.append({"split": name, "path": f"{table.configs[0]}/{name}-*"})
    if readme:
        header = json.dumps(
            {"configs": [{"config_name": table.configs[0], "data_files": files}]}
        )  # JSON is YAML
        (root / "README.md").write_text(f"---\n{header}\n---\n# A copy\n")


def write_tfds(root: pathlib.Path, task: Task):
    """Array_record files as TFDS prepares them, by a builder with the data set's features; no TensorFlow."""
    table, text = task.tfds, tfds.features.Text()
    if task.format == "choice":
        each = {
            "article": text,
            "example_id": text,
            "questions": tfds.features.Sequence(text),
            "answers": tfds.features.Sequence(text),
        }
        features = tfds.features.FeaturesDict(
            each | {"options": tfds.features.Sequence(tfds.features.Sequence(text))}
        )
    else:
        kinds = {
            name: tfds.features.Sequence(text, length=2) if name == "candidates" else text
            for name in table.segments
        }
        answer = (
            np.float32
            if task.bins
            else tfds.features.ClassLabel(names=list(table.written or task.labels))
        )
        features = tfds.features.FeaturesDict(kinds | {table.label: answer})

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.2.10")
        name = table.name
        BUILDER_CONFIGS = [
            tfds.core.BuilderConfig(name=config) for config in table.configs if config
        ]
        pkg_dir_path = root
        code_path = pathlib.Path(__file__)

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=features)

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
                listed = {"questions": "question", "options": "options"}
                made = {plural: [row[name] for row in both] for plural, name in listed.items()}
                answers = [task.labels[row["answer"]] for row in both]
                yield (
                    passage,
                    made
                    | {
                        "article": both[0]["article"],
                        "answers": answers,
                        "example_id": f"{split}{passage}",
                    },
                )

    with pytest.MonkeyPatch.context() as patch:
        # Lists of lists are written in plain numpy, but for this look at TensorFlow's name of their type.
        patch.setattr(
            tfds.core.features.feature.TensorInfo, "dtype", property(lambda info: info.np_dtype)
        )
        for config in table.configs:
            Builder(data_dir=root, config=config or None).download_and_prepare(
                file_format="array_record"
            )


def write_files(root: pathlib.Path, task: Task):
    """The published files, in the first of the task's layouts."""
    layout = task.files[0]
    for split in task.splits:
        made = rows(task, split)
        file = root / layout.place(split)
        if isinstance(layout, Tsv):
            file.parent.mkdir(parents=True, exist_ok=True)
            answers = [row[task.hub.label] for row in made]
            spelt = [
                str(answer) if task.bins else (layout.written or task.labels)[answer]
                for answer in answers
            ]
            texts = [[row[name] for name in task.hub.segments] for row in made]
            hidden = answers[0] == -1
            header = [*layout.segments, *[layout.label] * (not hidden)]
            lines = [] if layout.headerless and not hidden else [header]
            for number, (cells, answer) in enumerate(zip(texts, spelt, strict=True)):
                row = dict(zip(header, [*cells, answer], strict=False))
                lines.append(
                    [row.get(name, str(number)) for name in layout.headerless]
                    if layout.headerless and not hidden
                    else list(row.values())
                )
            file.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")
        elif task.format == "substitution":
            file.parent.mkdir(parents=True, exist_ok=True)
            blocks = [
                (
                    row["sentence"],
                    row["pronoun"],
                    ",".join(row["candidates"]),
                    row["candidates"][row["label"]],
                )
                for row in made
            ]
            file.write_text("\n\n".join(map("\n".join, blocks)) + "\n", encoding="utf-8")
        else:
            for passage in range(2):
                both = made[2 * passage : 2 * passage + 2]
                record = {
                    "id": f"{split}{passage}.txt",
                    "article": both[0]["article"],
                    "questions": [row["question"] for row in both],
                    "options": [row["options"] for row in both],
                    "answers": [task.labels[row["answer"]] for row in both],
                }
                one = pathlib.Path(str(file).replace("*/*", "high/*").replace("*", str(passage)))
                one.parent.mkdir(parents=True, exist_ok=True)
                one.write_text(json.dumps(record))


WRITERS: dict[str, Callable] = {"files": write_files, "hub": write_hub, "tfds": write_tfds}


@pytest.mark.parametrize("name", [name for name in THREE if name != "race"])
def test_the_same_rows_from_every_source(tmp_path, name):
    task, seen = TASKS[name], {}
    for source, write in WRITERS.items():
        write(tmp_path / source, task)
        for split in task.splits:
            assert has(task, split, source=source, path=str(tmp_path / source))
            found = load(task, split, source=source, path=str(tmp_path / source))
            content = sorted(((row.segments, row.label) for row in found.examples), key=repr)
            assert seen.setdefault(split, content) == content, (
                f"{source} differs from files in split {split}"
            )
            digest = describe(task, split, found)["sha256"]
            assert seen.setdefault(f"{split} sha256", digest) == digest
    first = task.splits[0]
    expected = [row[task.hub.segments[0]].strip() for row in rows(task, first)]
    assert sorted(segments[0].strip() for segments, _ in seen[first]) == sorted(expected)
    labels = {label for _, label in seen[first]}
    assert labels == (
        {None} if not task.train else set(SCORES) if task.bins else set(range(len(task.labels)))
    )


def test_race_is_middle_and_high_together(tmp_path):
    for name in ("race_middle", "race_high"):
        write_tfds(tmp_path, TASKS[name])
    found = load(TASKS["race"], "validation", source="tfds", path=str(tmp_path))
    parts = [
        load(TASKS[name], "validation", source="tfds", path=str(tmp_path))
        for name in ("race_high", "race_middle")
    ]
    assert found.examples == [example for part in parts for example in part.examples]
    assert len(found.examples) == 8 and all(
        len(example.segments) == 6 for example in found.examples
    )


@pytest.mark.parametrize("shape", ["readme", "bare", "own folder"])
def test_shapes_of_a_hub_copy(tmp_path, shape):
    """With a README that names the configurations, without one, and a configuration's folder by itself."""
    rte, sst2 = TASKS["rte"], TASKS["sst2"]
    for task in (rte, sst2):
        write_hub(tmp_path, task, readme=False)
    if shape == "readme":
        write_hub(tmp_path, rte)
    path = tmp_path / "rte" if shape == "own folder" else tmp_path
    assert [row.label for row in load(rte, "train", source="hub", path=str(path)).examples] == [
        0,
        1,
        0,
        1,
    ]


def test_a_copy_with_its_classes_in_another_order(tmp_path):
    """Class ids are read by their names, so a mirror that numbers them otherwise gives the same labels; strange names are refused."""
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


def test_unlabelled_rows_are_left_out_and_counted(tmp_path):
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
    found = load(snli, "train", source="hub", path=str(tmp_path))
    assert ([row.label for row in found.examples], found.unlabelled) == ([2, 0], 1)
    assert [row.id for row in found.examples] == ["0", "2"]


def test_a_folder_wins_over_the_hub(tmp_path, monkeypatch):
    """A folder that is called like a data set of the hub is that folder, and never what some cache has under its name."""
    (tmp_path / "nyu-mll").mkdir()
    write_hub(tmp_path / "nyu-mll/glue", TASKS["rte"])
    monkeypatch.chdir(tmp_path)
    assert len(load(TASKS["rte"], "train", source="hub", path="nyu-mll/glue").examples) == 4
    (tmp_path / "nyu-mll").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"the hub's nyu-mll/glue is not whole in the cache"):
        load(TASKS["rte"], "train", source="hub", path="nyu-mll/glue")


@pytest.mark.parametrize(
    ("source", "task", "path", "message"),
    [
        (
            "hub",
            "rte",
            "",
            r"the hub's nyu-mll/glue is not whole in the cache .* HF_.*_OFFLINE keeps this offline: unset it",
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
            r"TFDS has not prepared glue/rte at nowhere; prepare it by tensorflow_datasets\.builder\('glue/rte', ",
        ),
    ],
)
def test_out_of_reach(source, task, path, message):
    with pytest.raises(UserError, match=message) as caught:
        load(TASKS[task], "train", source=source, path=path)
    assert "\n" not in str(caught.value)


def test_a_hub_copy_that_lacks_something(tmp_path):
    write_hub(tmp_path, TASKS["rte"])
    with pytest.raises(
        UserError,
        match=r"has no configuration 'sst2', only rte; expected sst2/<split>-\*\.parquet, or a README\.md",
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


def test_tfds_other_formats_are_refused(tmp_path):
    """TFDS slices parquet wrongly and needs TensorFlow for tfrecord."""
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


def test_another_configuration_is_not_taken_for_the_one_asked_for(tmp_path):
    write_tfds(tmp_path, TASKS["rte"])
    with pytest.raises(UserError, match=r"1\.2\.10 is TFDS's glue/rte, glue/wnli expected"):
        load(TASKS["wnli"], "train", source="tfds", path=str(tmp_path / "glue/rte"))


@pytest.mark.parametrize("damage", ["page", "file", "script"])
def test_a_damaged_copy_of_the_hub_is_told_in_one_line(tmp_path, damage):
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
    with pytest.raises(UserError) as caught:
        load(TASKS["rte"], "train", source="hub", path=str(tmp_path))
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_the_newest_version_is_read(tmp_path):
    write_tfds(tmp_path, TASKS["rte"])
    (tmp_path / "glue/rte/1.2.9").mkdir()
    (tmp_path / "glue/rte/1.2.9/dataset_info.json").write_text("{}")
    assert len(load(TASKS["rte"], "train", source="tfds", path=str(tmp_path)).examples) == 4


def test_places_are_named_in_full():
    """Every table says a data set of the hub as owner/name, or a data set of TFDS."""
    for task in map(TASKS.__getitem__, TASKS):
        for table in filter(None, (task.hub, task.tfds)):
            assert isinstance(table, Table) and (table.name.count("/") == 1) == (table is task.hub)
