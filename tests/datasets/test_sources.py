"""Test the loading of rows, on small files and on copies of the published files."""

import dataclasses
import gzip
import itertools
import json
import re
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpt1_jax.datasets.readers.records import Example, Rows
from gpt1_jax.datasets.readers.tables import Tsv
from gpt1_jax.datasets.sources import describe, load, subset
from gpt1_jax.errors import UserError
from gpt1_jax.registry import TASKS


def write(file, content: bytes):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def read(path, task, split="train", **options):
    return load(TASKS[task], split, source="files", path=str(path), **options).examples


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(source="file"), "no source is called 'file'; choose one of: files"),
        (dict(split="dev"), "task rte has no split 'dev'; choose one of: train, validation, test"),
        (dict(path="nowhere"), "'nowhere' is no folder; name the one that holds RTE/train.tsv"),
        (dict(path=""), "'' is no folder"),
        (dict(split="validation"), "no file of task rte, split validation; put RTE/dev.tsv there"),
    ],
)
def test_invalid_arguments_are_refused(tmp_path, arguments, message):
    write(tmp_path / "RTE/train.tsv", b"index\tsentence1\tsentence2\tlabel\n")
    arguments = dict(split="train", source="files", path=str(tmp_path)) | arguments
    with pytest.raises(UserError, match=message):
        load(TASKS["rte"], **arguments)


def test_new_task_is_one_entry(tmp_path):
    toy = dataclasses.replace(
        TASKS["rte"],
        name="toy",
        labels=("no", "yes"),
        files=(Tsv(folder="Toy", segments=("left", "right")),),
    )
    write(tmp_path / "Toy/train.tsv", b"left\tlabel\tright\na\tyes\tb\n")
    assert load(toy, "train", source="files", path=str(tmp_path)) == Rows(
        [Example("0", ("a", "b"), 1)]
    )


def write_row(root, source: str, row: dict, task: str = "snli") -> None:
    """Write one row of a task, in the files of its authors or in two formats of the hub."""
    if source == "jsonl":
        row = {OF_SNLI.get(name, name): value for name, value in row.items()}
        content = json.dumps(row).encode() + b"\n"
        write(root / "snli_1.0/snli_1.0_train.jsonl", content)
    elif source == "race":
        lists = {"questions": [row["premise"]], "answers": [row["label"]]}
        options = [[row["hypothesis"], "b", "c", "d"]]
        passage = {"id": row["id"], "article": "a", "options": options, **lists}
        write(root / "RACE/train/high/1.txt", json.dumps(passage).encode())
    elif source == "hub jsonl":
        write(root / "plain_text/train.jsonl", json.dumps(row).encode() + b"\n")
    else:
        (root / "plain_text").mkdir()
        pq.write_table(pa.Table.from_pylist([row]), root / "plain_text/train.parquet")


STORY = ",".join(
    [
        "InputStoryid,InputSentence1,InputSentence2,InputSentence3,InputSentence4",
        "RandomFifthSentenceQuiz1,RandomFifthSentenceQuiz2,AnswerRightEnding",
    ]
)
OF_SNLI = {
    "premise": "sentence1",
    "hypothesis": "sentence2",
    "label": "gold_label",
    "id": "pairID",
}
JSON, HUB = ("jsonl", "race"), ("hub jsonl", "hub parquet")


@pytest.mark.parametrize(("task", "frequencies"), [("sst2", {0: 0.25, 1: 0.75}), ("stsb", {})])
def test_subset_has_the_label_frequencies_of_the_whole(task, frequencies):
    """The rows are sorted by label, as in some published files."""
    labels = sorted([0, 1, 1, 1] * 100) if task == "sst2" else [row / 80 for row in range(400)]
    examples = [Example(str(row), (str(row),), label) for row, label in enumerate(labels)]
    drawn = subset(TASKS[task], examples, 40, seed=3)
    assert len(drawn) == len(set(drawn)) == 40
    assert drawn == sorted(drawn, key=examples.index)
    for label, frequency in frequencies.items():
        assert sum(example.label == label for example in drawn) == 40 * frequency
    whole, part = (sum(row.label for row in rows) / len(rows) for rows in (examples, drawn))
    assert abs(whole - part) < 0.2
    assert subset(TASKS[task], examples, 40, seed=3) == drawn
    assert subset(TASKS[task], examples, 40, seed=4) != drawn
    assert subset(TASKS[task], examples, 0, seed=3) == examples
    assert subset(TASKS[task], examples, 400, seed=3) == examples


@pytest.mark.parametrize(
    ("source", "column", "value", "reason"),
    [
        *((source, "label", ["neutral"], "unknown label") for source in (*JSON, *HUB)),
        *((source, "label", {"a": "b"}, "unknown label") for source in (*JSON, *HUB)),
        *((source, "label", True, "unknown label True") for source in (*JSON, *HUB)),
        *((source, "label", 1, "unknown label 1") for source in JSON),
        *((source, "label", None, "unknown label None") for source in JSON),
        *((source, "premise", "a\ud83d", "half a surrogate pair") for source in JSON),
        *((source, "hypothesis", "a\ud83d", "half a surrogate pair") for source in JSON),
        *((source, "hypothesis", 3, "expected text in") for source in (*JSON, *HUB)),
        *((source, "premise", [["b"]], "expected text in") for source in (*JSON, *HUB)),
        *((source, "id", "a\ud83d", "half a surrogate pair") for source in JSON),
        *((source, "id", ["a"], "expected text in") for source in JSON),
        *((source, "id", True, "expected text in") for source in JSON),
        *(
            (source, "id", f"a{end}b", "holds a tab or the end of a line")
            for source in JSON
            for end in ("\t", "\n", "\r", "\x85", "\u2028")
        ),
        *((source, "id", "a\n", "holds a tab or the end of a line") for source in JSON),
        ("hub parquet", "premise", b"a\xff", "byte 1 of 'premise' is not UTF-8"),
        ("hub parquet", "label", b"a\xff", "byte 1 of 'label' is not UTF-8"),
    ],
)
def test_value_that_is_no_text_label_or_id_is_refused(tmp_path, source, column, value, reason):
    row = {"premise": "a", "hypothesis": "b", "label": "neutral", "id": "i"}
    row["label"] = "A" if source == "race" else row["label"]
    write_row(tmp_path, source, row | {column: value})
    task = TASKS["race" if source == "race" else "snli"]
    where = {"jsonl": r"train\.jsonl:1: ", "race": r"1\.txt: "}.get(source, "train, row 0: ")
    arguments = {"source": "hub" if source in HUB else "files", "path": str(tmp_path)}
    with pytest.raises(UserError, match=f"{tmp_path}.*{where}.*{re.escape(reason)}") as error:
        load(task, "train", **arguments)
    assert str(error.value).encode().count(b"\n") == 0


@pytest.mark.parametrize("source", [*JSON, *HUB])
def test_missing_id_is_the_number_of_the_row(tmp_path, source):
    label = "A" if source == "race" else "neutral"
    row = {"premise": "a", "hypothesis": "b", "label": label, "id": None}
    write_row(tmp_path, source, row)
    task = TASKS["race" if source == "race" else "snli"]
    arguments = {"source": "hub" if source in HUB else "files", "path": str(tmp_path)}
    (example,) = load(task, "train", **arguments).examples
    assert example.id == ("0/0" if source == "race" else "0")


@pytest.mark.parametrize(
    ("task", "content", "message"),
    [
        ("sst2", "sentence\tsentence\tlabel\na\tb\t1\n", r"\.tsv: its header has .* 'sentence' 2 "),
        (
            "rte",
            "index\tsentence1\tsentence2\tlabel\tlabel\n",
            r"\.tsv: its header has .* 'label' 2",
        ),
        ("sst2", "index\tindex\tsentence\tlabel\n", r"\.tsv: its header has .* 'index' 2 times"),
        ("snli", '{"sentence1": "a", "sentence1": "b"}\n', r"\.jsonl:1: the field 'sentence1' is"),
        ("snli", '{"sentence1": ' + "[" * 100_000, r"\.jsonl:1: not JSON .*nested too deeply"),
        ("race", '{"id": "a", "id": "b"}', r"1\.txt: the field 'id' is there twice"),
        ("story_cloze_2016", f"{STORY},InputSentence1\n", r"\.csv: its header has .*Sentence1' 2"),
        ("story_cloze_2016", f"{STORY},InputStoryid\n", r"\.csv: its header has .*Storyid' 2"),
    ],
)
def test_name_that_is_there_twice_is_refused(tmp_path, task, content, message):
    reader = TASKS[task].files[-1]
    write(tmp_path / reader.expected_path("train").replace("*", "1"), content.encode())
    with pytest.raises(UserError, match=message):
        read(tmp_path, task)


def test_unused_column_may_be_there_twice(tmp_path):
    write(tmp_path / "SST-2/train.tsv", b"x\tsentence\tx\tlabel\n1\ta\t2\t1\n")
    assert read(tmp_path, "sst2") == [Example("0", ("a",), 1)]


@pytest.mark.parametrize("folder", ["[v2] data", "a*", "\udcff"])
def test_task_folder_is_literal_and_may_be_linked(tmp_path, folder):
    passage = {"id": "i", "article": "a", "questions": ["b"], "options": [["c", "d", "e", "f"]]}
    content = json.dumps({**passage, "answers": ["A"]}).encode()
    write(tmp_path / folder / "RACE/train/high/1.txt", content)
    write(tmp_path / folder / "RACE/train/high/2.TXT", content)
    for name in ("._1.txt", "3.txt.gz", "4.text"):
        write(tmp_path / folder / "RACE/train/high" / name, b"not a passage")
    write(tmp_path / folder / "RACE/train/.ipynb_checkpoints/1.txt", b"not a passage")
    write(tmp_path / "elsewhere/5.txt", content)
    (tmp_path / folder / "RACE/train/middle").symlink_to(tmp_path / "elsewhere")
    lines = []
    assert len(read(tmp_path / folder, "race", log_line=lines.append)) == 3
    assert lines == ["race train: left out: 1 .gz, 1 .text, 1 hidden"]


@pytest.mark.parametrize("folder", ["x[1]", "a*", "\udcff", "plain"])
def test_copy_of_the_hub_is_literal_and_may_be_linked(tmp_path, folder):
    row = {"sentence": "a", "label": "positive"}
    for name in ("sst2/train-0.jsonl", "sst2/.ipynb_checkpoints/train-1.jsonl"):
        write(tmp_path / folder / name, json.dumps(row).encode())
    write(tmp_path / "elsewhere/train-2.jsonl", json.dumps(row).encode())
    (tmp_path / folder / "sst2/more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / folder / "sst2/up").symlink_to(tmp_path / folder)
    rows = load(TASKS["sst2"], "train", source="hub", path=str(tmp_path / folder)).examples
    assert rows == [Example("0", ("a",), 1), Example("1", ("a",), 1)]


@pytest.mark.parametrize("name", ["train-0.jsonl.gz", "train-0.parquet"])
@pytest.mark.parametrize("link", [False, True])
def test_damaged_file_of_the_hub_is_named(tmp_path, name, link):
    file = tmp_path / "sst2" / name
    if name.endswith(".gz"):
        write(file, gzip.compress(b'{"sentence": "a", "label": 1}\n' * 500))
    else:
        (tmp_path / "sst2").mkdir()
        pq.write_table(pa.table({"sentence": ["a"] * 500, "label": [1] * 500}), file)
    file.write_bytes(file.read_bytes()[:-20])
    if link:
        (tmp_path / "sst2/more").symlink_to(tmp_path)
    with pytest.raises(UserError, match=f"^{file}: cannot be read ") as error:
        load(TASKS["sst2"], "train", source="hub", path=str(tmp_path))
    assert "\n" not in str(error.value)


class TestDescribe:
    ROWS = [Example("0", ("a", "b"), 1), Example("1", ("c", "d"), 0), Example("2", ("e", "f"), 1)]

    def test_counts(self):
        description = describe(TASKS["rte"], "train", Rows(self.ROWS, 4))
        assert (description["rows"], description["unlabeled"]) == (3, 4)
        assert description["labels"] == {"entailment": 1, "not_entailment": 2}
        hidden = [row._replace(label=None) for row in self.ROWS]
        assert describe(TASKS["rte"], "test", Rows(hidden))["labels"] == {"hidden": 3}
        scores = [
            row._replace(label=score)
            for row, score in zip(self.ROWS, (0.5, 2.49, 1.0), strict=True)
        ]
        assert describe(TASKS["stsb"], "train", Rows(scores))["labels"] == {"1": 2, "2": 1}

    def test_published_size(self):
        published = dataclasses.replace(TASKS["rte"], sizes={"train": 3, "validation": 4})
        assert [
            describe(published, split, Rows(self.ROWS))["published"] for split in published.splits
        ] == [True, False, None]

    def test_hash_ignores_ids_and_order(self):
        def digest(rows):
            return describe(TASKS["rte"], "train", Rows(rows))["sha256"]

        variants = {
            "same": self.ROWS,
            "text": [self.ROWS[0]._replace(segments=("a", "B")), *self.ROWS[1:]],
            "border": [self.ROWS[0]._replace(segments=("ab", "")), *self.ROWS[1:]],
            "label": [self.ROWS[0]._replace(label=0), *self.ROWS[1:]],
            "fewer": self.ROWS[:2],
            "twice": [*self.ROWS, self.ROWS[0]],
        }
        assert len({digest(rows) for rows in variants.values()}) == len(variants)
        renumbered = [row._replace(id="x" + row.id) for row in self.ROWS[::-1]]
        assert digest(renumbered) == digest(self.ROWS)


COUNTS = {  # the rows of train and dev, and the rows of each class in dev
    "cola": (8551, 1043, {"unacceptable": 324, "acceptable": 719}),
    "sst2": (67349, 872, {"negative": 428, "positive": 444}),
    "mrpc": (3668, 408, {"not_equivalent": 129, "equivalent": 279}),
    "stsb": (5749, 1500, {"0": 236, "1": 241, "2": 266, "3": 353, "4": 276, "5": 128}),
    "qqp": (20000, 3496, {"not_duplicate": 2172, "duplicate": 1324}),
    "rte": (2490, 277, {"entailment": 146, "not_entailment": 131}),
    "wnli": (635, 71, {"not_entailment": 40, "entailment": 31}),
}


@pytest.mark.parametrize("name", COUNTS)
def test_published_files_have_the_published_counts(real_data, name):
    task = TASKS[name]
    train, dev = (read(real_data / "glue_data", name, split) for split in ("train", "validation"))
    description = describe(task, "validation", Rows(dev))
    assert (len(train), description["rows"], description["labels"]) == COUNTS[name]
    assert all(text.strip() for row in itertools.chain(train, dev) for text in row.segments)


def test_published_stsb_test_hides_its_scores(real_data):
    rows = read(real_data / "glue_data", "stsb", "test")
    assert (len(rows), {row.label for row in rows}) == (1379, {None})


def test_published_mrpc_is_the_same_in_both_distributions(real_data, tmp_path):
    # The list of Microsoft's validation rows is made from GLUE's dev file.
    glue, folder = real_data / "glue_data", tmp_path / "MRPC"
    folder.mkdir()
    shutil.copy(glue / "MRPC/msr_paraphrase_train.txt", folder)
    dev = (glue / "MRPC/dev.tsv").read_text(encoding="utf-8").split("\n")[1:]
    write(
        folder / "dev_ids.tsv",
        "".join("\t".join(row.split("\t")[1:3]) + "\n" for row in dev if row).encode(),
    )

    def content(path, split):
        return [(row.segments, row.label) for row in read(path, "mrpc", split)]

    for split in ("train", "validation"):
        assert sorted(content(tmp_path, split)) == sorted(content(glue, split))
    assert len(read(glue, "mrpc", "test")) == 1725


ORIGINALS = {  # the rows of every split in the small copies of all published files
    "cola": (3, 2, 1), "sst2": (3, 2, 1), "mrpc": (10, 8, 15), "stsb": (3, 2, 1), "qqp": (3, 2, 1),
    "mnli": (3, 2, 2, 1, 1), "ax": (3,), "qnli": (3, 2, 1), "rte": (3, 2, 1), "wnli": (3, 2, 1),
    "snli": (3, 2, 1), "scitail": (6, 6, 6), "race": (22, 17, 22), "race_middle": (10, 11, 14),
    "race_high": (12, 6, 8), "story_cloze_2016": (4, 1, 5), "dprd": (4, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", ORIGINALS)
def test_rows_of_every_published_file(real_data, name):
    task = TASKS[name]
    assert (
        tuple(len(read(real_data / "originals", name, split)) for split in task.splits)
        == ORIGINALS[name]
    )
    for split in task.splits:
        rows = read(real_data / "originals", name, split)
        labeled = (
            split not in task.test
            or name in ("mrpc", "snli", "scitail", "dprd")
            or task.format == "choice"
        )
        assert all((row.label is None) != labeled for row in rows)
        assert all(text.strip() for row in rows for text in row.segments)
        assert {len(row.segments) for row in rows} == {task.texts}


def test_published_snli_rows_without_a_gold_label_are_omitted(real_data):
    # The copies of the development and test files have 1,289 and 1,277 rows.
    for split, total in (("validation", 1289), ("test", 1277)):
        loaded = load(TASKS["snli"], split, source="files", path=str(real_data / "snli_1.0"))
        dashes = (
            (real_data / f"snli_1.0/snli_1.0_{'dev' if split == 'validation' else split}.jsonl")
            .read_text()
            .count('"gold_label": "-"')
        )
        assert loaded.unlabeled == dashes > 0
        assert len(loaded.examples) + loaded.unlabeled == total


def test_published_scitail_labels_agree_in_both_formats(real_data, tmp_path):
    folder = real_data / "originals/SciTailV1.1"
    shutil.copytree(folder / "snli_format", tmp_path / "SciTailV1.1/snli_format")
    other, one = (read(path, "scitail", "train") for path in (tmp_path, real_data / "originals"))
    assert {row.label for row in other} <= {0, 1} and len(other) == 4
    known = {row.segments: row.label for row in one}
    assert all(known.get(row.segments, row.label) == row.label for row in other)
