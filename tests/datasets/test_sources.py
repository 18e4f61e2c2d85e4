"""The published files, oddities and damage included, read from copies in the real layout and from the real files."""

import dataclasses
import itertools
import json
import shutil

import pytest

from gpt1_jax.datasets.readers.records import Example, Rows
from gpt1_jax.datasets.readers.tables import Tsv
from gpt1_jax.datasets.sources import describe, load
from gpt1_jax.errors import UserError
from gpt1_jax.registry import TASKS

# One row a line, cells by tab, each as the distribution writes it: header line (none in CoLA's train), then rows.
FILES = {
    "CoLA/train.tsv": "gj04\t1\t\tThe dog barked.\nbc01\t0\t*\tDog the barked.\n",
    "CoLA/test.tsv": "index\tsentence\n0\tBill left.\n1\tLeft Bill the.\n",
    "SST-2/train.tsv": "sentence\tlabel\na fine film \t1\ndull \t0\n",
    "SST-2/test.tsv": "index\tsentence\n0\tdull and grey\n",
    "MRPC/train.tsv": 'Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\t"Yes, he said.\tHe said "yes\n0\t7\t9\ta\tb"\n',
    "MRPC/test.tsv": "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t5\t6\tc\td\n",
    "STS-B/train.tsv": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
    "0\tnews\tMSRvid\t2012\t0001\tnone\tnone\tA man sings.\tA man is singing.\t4.750\n"
    "1\tnews\tMSRvid\t2012\t0004\tnone\tnone\tA man sings.\tIt rains.\t0\n",
    "STS-B/test.tsv": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\n"
    "0\tnews\tMSRvid\t2012\t24\tnone\tnone\tA girl runs.\tA girl is running.\n",
    "QQP/train.tsv": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n133\t2\t3\tHow old?\tWhat age?\t1\n",
    "QQP/test.tsv": "id\tquestion1\tquestion2\n0\tWho?\tWhere?\n",
    "MNLI/train.tsv": "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\t"
    "sentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label\n"
    "0\t31\t31n\tslate\t( a )\t( b )\t(A)\t(B)\tIt rained.\tIt was wet.\tneutral\tentailment\n",
    "MNLI/dev_mismatched.tsv": "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\t"
    "sentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label\n"
    "0\t75\t75c\tletters\t( a )\t( b )\t(A)\t(B)\tYou came.\tYou stayed away.\t"
    "neutral\tneutral\tentailment\tcontradiction\tcontradiction\tcontradiction\n",
    "QNLI/train.tsv": "index\tquestion\tsentence\tlabel\n0\tWho came?\tAnn came.\tentailment\n1\tWho?\tNo.\tnot_entailment\n",
    "RTE/train.tsv": "index\tsentence1\tsentence2\tlabel\n0\tAnn died.\tAnn lives.\tnot_entailment\n1\ta\tb\tentailment\n",
    "WNLI/train.tsv": "index\tsentence1\tsentence2\tlabel\n0\tIt had a hole.\tThe pin had a hole.\t0\n1\tc\td\t1\n",
}


@pytest.fixture
def glue(tmp_path):
    """A folder in GLUE's layout."""
    for name, text in FILES.items():
        write(tmp_path / name, text.encode())
    return tmp_path


def write(file, content: bytes):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def read(path, task, split="train", **options):
    return load(TASKS[task], split, source="files", path=str(path), **options).examples


@pytest.mark.parametrize(
    ("task", "split", "expected"),
    [
        ("cola", "train", [("0", ("The dog barked.",), 1), ("1", ("Dog the barked.",), 0)]),
        ("cola", "test", [("0", ("Bill left.",), None), ("1", ("Left Bill the.",), None)]),
        ("sst2", "train", [("0", ("a fine film ",), 1), ("1", ("dull ",), 0)]),
        ("sst2", "test", [("0", ("dull and grey",), None)]),
        ("mrpc", "train", [("0", ('"Yes, he said.', 'He said "yes'), 1), ("1", ("a", 'b"'), 0)]),
        ("mrpc", "test", [("0", ("c", "d"), None)]),
        (
            "stsb",
            "train",
            [
                ("0", ("A man sings.", "A man is singing."), 4.75),
                ("1", ("A man sings.", "It rains."), 0.0),
            ],
        ),
        ("stsb", "test", [("0", ("A girl runs.", "A girl is running."), None)]),
        ("qqp", "train", [("133", ("How old?", "What age?"), 1)]),
        ("qqp", "test", [("0", ("Who?", "Where?"), None)]),
        ("mnli", "train", [("0", ("It rained.", "It was wet."), 0)]),
        ("mnli", "validation_mismatched", [("0", ("You came.", "You stayed away."), 2)]),
        ("qnli", "train", [("0", ("Who came?", "Ann came."), 0), ("1", ("Who?", "No."), 1)]),
        ("rte", "train", [("0", ("Ann died.", "Ann lives."), 1), ("1", ("a", "b"), 0)]),
        (
            "wnli",
            "train",
            [("0", ("It had a hole.", "The pin had a hole."), 0), ("1", ("c", "d"), 1)],
        ),
    ],
)
def test_every_layout(glue, task, split, expected):
    assert read(glue, task, split) == [Example(*row) for row in expected]


def test_the_tasks_own_folder_will_do(glue):
    assert read(glue / "RTE", "rte") == read(glue, "rte")


@pytest.mark.parametrize("task", ["cola", "mrpc", "stsb", "mnli", "rte"])
@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.removesuffix(b"\n"),
        lambda text: text + b"\n",
        lambda text: b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n") + b"\r\n\r\n",
    ],
    ids=["crlf", "bom", "no last newline", "blank last line", "all"],
)
def test_same_rows_whatever_editor_saved_the_file(glue, task, change):
    expected = read(glue, task)
    file = glue / TASKS[task].files[0].folder / "train.tsv"
    file.write_bytes(change(file.read_bytes()))
    assert read(glue, task) == expected


def test_only_a_newline_ends_a_row(tmp_path):
    text = "a\u2028b\x85c\x0bd\x0ce\rf"
    write(tmp_path / "SST-2/train.tsv", f"sentence\tlabel\n{text}\t1\n".encode())
    assert read(tmp_path, "sst2") == [Example("0", (text,), 1)]


class TestMicrosoftMrpc:
    """MRPC's older distribution: one file for train and validation, the validation rows listed by their ids."""

    @pytest.fixture
    def folder(self, tmp_path):
        header = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n"
        rows = "1\t7\t8\ta\tb\r\n0\t7\t9\tc\td\r\n1\t9\t8\te\tf\r\n"
        write(tmp_path / "MRPC/msr_paraphrase_train.txt", (header + rows).encode())
        write(tmp_path / "MRPC/msr_paraphrase_test.txt", (header + "0\t1\t2\tg\th\r\n").encode())
        write(tmp_path / "MRPC/dev_ids.tsv", b"7\t9\n")
        return tmp_path

    def test_splits(self, folder):
        assert read(folder, "mrpc") == [Example("0", ("a", "b"), 1), Example("2", ("e", "f"), 1)]
        assert read(folder, "mrpc", "validation") == [Example("1", ("c", "d"), 0)]
        assert read(folder, "mrpc", "test") == [Example("0", ("g", "h"), 0)]

    def test_gives_way_to_glues_layout(self, folder):
        write(folder / "MRPC/train.tsv", FILES["MRPC/train.tsv"].encode())
        assert len(read(folder, "mrpc")) == 2
        assert read(folder, "mrpc")[0].segments[0].startswith('"Yes')

    def test_without_the_list(self, folder):
        (folder / "MRPC/dev_ids.tsv").unlink()
        with pytest.raises(UserError, match=r"dev_ids\.tsv: not found"):
            read(folder, "mrpc")

    @pytest.mark.parametrize("content", [b"7\t9\n8\n", b"7\t9\n8\t\xff\n"])
    def test_damaged_list(self, folder, content):
        write(folder / "MRPC/dev_ids.tsv", content)
        with pytest.raises(UserError, match=r"dev_ids\.tsv:2: "):
            read(folder, "mrpc")

    def test_rows_without_the_ids(self, folder):
        write(folder / "MRPC/msr_paraphrase_train.txt", b"Quality\t#1 String\t#2 String\n1\ta\tb\n")
        with pytest.raises(UserError, match="no column '#1 ID', '#2 ID'"):
            read(folder, "mrpc")

    def test_list_of_other_rows(self, folder):
        write(folder / "MRPC/dev_ids.tsv", b"1\t1\n")
        with pytest.raises(UserError, match="no rows of split validation"):
            read(folder, "mrpc", "validation")


@pytest.mark.parametrize(
    ("task", "content", "message"),
    [
        ("rte", b"", r"RTE/train\.tsv: the file is empty"),
        ("rte", b"\n\r\n", r"RTE/train\.tsv: the file is empty"),
        ("rte", b"index\tsentence1\tsentence2\tlabel\n", r"RTE/train\.tsv: no rows of split train"),
        (
            "rte",
            b"index\tsentence1\tsentence2\n0\ta\tb\n",
            r"RTE/train\.tsv: no column 'label' in its header, 'index', 'sent",
        ),
        (
            "rte",
            b"0\ta\tb\tentailment\n",
            r"RTE/train\.tsv: no column 'sentence1', 'sentence2', 'label' in its header, '0', 'a'",
        ),
        (
            "rte",
            b"index\tsentence1\tsentence2\tlabel\n\n0\ta\tentailment\n",
            r"RTE/train\.tsv:3: 3 tab.* found, 4 expected",
        ),
        (
            "rte",
            b"index\tsentence1\tsentence2\tlabel\n0\ta\tb\tc\tneutral\n",
            r":2: 5 tab-separated columns found, 4",
        ),
        (
            "rte",
            b"index\tsentence1\tsentence2\tlabel\n0\ta\tb\t0\n",
            r":2: unknown label '0', one of entailment, not_ent",
        ),
        ("rte", b"index\tsentence1\tsentence2\tlabel\n0\ta\tb\t\n", r":2: unknown label ''"),
        (
            "rte",
            b"index\tsentence1\tsentence2\tlabel\n0\ta\tcaf\xe9\t0\n",
            r":2: byte 0xe9 at position 7 is not UTF-8",
        ),
        (
            "rte",
            "index\tsentence1\n".encode("utf-16"),
            r"RTE/train\.tsv:1: byte 0xff at position 0 is not UTF-8",
        ),
        (
            "cola",
            b"gj04\t1\t\ta\ngj04\t2\t\tb\n",
            r"CoLA/train\.tsv:2: unknown label '2', one of 0, 1 expected",
        ),
        ("cola", b"\xff\xfeg\tj\n", r"CoLA/train\.tsv:1: byte 0xff"),
        (
            "cola",
            b"sentence\tlabel\tx\na\tb\n",
            r"CoLA/train\.tsv:2: 2 tab-separated columns found, 3 expected",
        ),
        (
            "stsb",
            FILES["STS-B/train.tsv"].replace("4.750", "5.1").encode(),
            r":2: score '5\.1' found, a number from 0 to 5",
        ),
        (
            "stsb",
            FILES["STS-B/train.tsv"].replace("4.750", "nan").encode(),
            r":2: score 'nan' found",
        ),
        (
            "stsb",
            FILES["STS-B/train.tsv"].replace("4.750", "high").encode(),
            r":2: score 'high' found",
        ),
    ],
)
def test_damage_is_named(tmp_path, task, content, message):
    write(tmp_path / TASKS[task].files[0].folder / "train.tsv", content)
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path, task)
    assert "\n" not in str(caught.value)


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
def test_wrong_arguments(glue, arguments, message):
    arguments = dict(split="train", source="files", path=str(glue)) | arguments
    with pytest.raises(UserError, match=message):
        load(TASKS["rte"], **arguments)


def test_bad_rows_within_the_allowance_are_dropped_and_told(glue):
    file = glue / "WNLI/train.tsv"
    file.write_text("index\tsentence1\tsentence2\tlabel\n0\ta\tb\n1\tc\td\tyes\n2\te\tf\t1\n")
    told = []
    assert read(glue, "wnli", max_bad_rows=2, say=told.append) == [Example("2", ("e", "f"), 1)]
    assert [
        line.startswith(f"{file}:{number}: ") for number, line in zip((2, 3), told, strict=True)
    ] == [True, True]
    with pytest.raises(
        UserError, match=r"train\.tsv:3: unknown label 'yes'.* config.data.max_bad_rows \(now 1\)"
    ):
        read(glue, "wnli", max_bad_rows=1)


def test_running_number_counts_dropped_rows(tmp_path):
    write(tmp_path / "SST-2/train.tsv", b"sentence\tlabel\na\t1\nb\nc\t0\n")
    assert [example.id for example in read(tmp_path, "sst2", max_bad_rows=1)] == ["0", "2"]


def test_a_new_task_is_one_entry(tmp_path):
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


class TestDescribe:
    ROWS = [Example("0", ("a", "b"), 1), Example("1", ("c", "d"), 0), Example("2", ("e", "f"), 1)]

    def test_counts(self):
        found = describe(TASKS["rte"], "train", Rows(self.ROWS, 4))
        assert (found["rows"], found["unlabelled"], found["labels"]) == (
            3,
            4,
            {"entailment": 1, "not_entailment": 2},
        )
        hidden = [row._replace(label=None) for row in self.ROWS]
        assert describe(TASKS["rte"], "test", Rows(hidden))["labels"] == {"hidden": 3}
        scores = [
            row._replace(label=score)
            for row, score in zip(self.ROWS, (0.5, 2.49, 1.0), strict=True)
        ]
        assert describe(TASKS["stsb"], "train", Rows(scores))["labels"] == {"1": 2, "2": 1}

    def test_tells_whether_the_size_is_the_published_one(self):
        published = dataclasses.replace(TASKS["rte"], sizes={"train": 3, "validation": 4})
        assert [
            describe(published, split, Rows(self.ROWS))["published"] for split in published.splits
        ] == [True, False, None]

    def test_hash_is_of_the_content_alone(self):
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


COUNTS = {  # Rows of train and dev, and rows of each class in dev.
    "cola": (8551, 1043, {"unacceptable": 324, "acceptable": 719}),
    "sst2": (67349, 872, {"negative": 428, "positive": 444}),
    "mrpc": (3668, 408, {"not_equivalent": 129, "equivalent": 279}),
    "stsb": (5749, 1500, {"0": 236, "1": 241, "2": 266, "3": 353, "4": 276, "5": 128}),
    "qqp": (20000, 3496, {"not_duplicate": 2172, "duplicate": 1324}),
    "rte": (2490, 277, {"entailment": 146, "not_entailment": 131}),
    "wnli": (635, 71, {"not_entailment": 40, "entailment": 31}),
}


@pytest.mark.parametrize("name", COUNTS)
def test_real_counts(real_data, name):
    task = TASKS[name]
    train, dev = (read(real_data / "glue_data", name, split) for split in ("train", "validation"))
    found = describe(task, "validation", Rows(dev))
    assert (len(train), found["rows"], found["labels"]) == COUNTS[name]
    assert all(text.strip() for row in itertools.chain(train, dev) for text in row.segments)


def test_real_stsb_test_hides_its_scores(real_data):
    rows = read(real_data / "glue_data", "stsb", "test")
    assert (len(rows), {row.label for row in rows}) == (1379, {None})


def test_real_mrpc_is_the_same_in_both_layouts(real_data, tmp_path):
    """Microsoft's files, parted by the list that GLUE's own dev file implies, hold the same splits."""
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


ORIGINALS = {  # Rows of every split in the small copies of all the originals.
    "cola": (3, 2, 1), "sst2": (3, 2, 1), "mrpc": (10, 8, 15), "stsb": (3, 2, 1), "qqp": (3, 2, 1), "mnli": (3, 2, 2, 1, 1), "ax": (3,),
    "qnli": (3, 2, 1), "rte": (3, 2, 1), "wnli": (3, 2, 1), "snli": (3, 2, 1), "scitail": (6, 6, 6), "race": (22, 17, 22),
    "race_middle": (10, 11, 14), "race_high": (12, 6, 8), "story_cloze_2016": (4, 1, 5), "dprd": (4, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", ORIGINALS)
def test_real_rows_of_every_original_file(real_data, name):
    task = TASKS[name]
    assert (
        tuple(len(read(real_data / "originals", name, split)) for split in task.splits)
        == ORIGINALS[name]
    )
    for split in task.splits:
        rows = read(real_data / "originals", name, split)
        labelled = (
            split not in task.test
            or name in ("mrpc", "snli", "scitail", "dprd")
            or task.format == "choice"
        )
        assert all((row.label is None) != labelled for row in rows)
        assert all(text.strip() for row in rows for text in row.segments)
        assert {len(row.segments) for row in rows} == {task.texts}


def test_real_snli_leaves_out_what_nobody_agreed_on(real_data):
    """1,289 and 1,277 rows of the development and test files; a "-" stands for no gold label."""
    for split, total in (("validation", 1289), ("test", 1277)):
        found = load(TASKS["snli"], split, source="files", path=str(real_data / "snli_1.0"))
        dashes = (
            (real_data / f"snli_1.0/snli_1.0_{'dev' if split == 'validation' else split}.jsonl")
            .read_text()
            .count('"gold_label": "-"')
        )
        assert found.unlabelled == dashes > 0
        assert len(found.examples) + found.unlabelled == total


def test_real_scitail_says_the_same_in_both_formats(real_data, tmp_path):
    folder = real_data / "originals/SciTailV1.1"
    shutil.copytree(folder / "snli_format", tmp_path / "SciTailV1.1/snli_format")
    other, one = (read(path, "scitail", "train") for path in (tmp_path, real_data / "originals"))
    assert {row.label for row in other} <= {0, 1} and len(other) == 4
    known = {row.segments: row.label for row in one}
    assert all(known.get(row.segments, row.label) == row.label for row in other)


SNLI = "gold_label\tsentence1_parse\tsentence1\tsentence2\tpairID\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\n"
STORY = "InputStoryid,InputSentence1,InputSentence2,InputSentence3,InputSentence4,RandomFifthSentenceQuiz1,RandomFifthSentenceQuiz2"
PASSAGE = {
    "id": "middle7.txt",
    "article": "A cat sat.\nIt slept.",
    "questions": ["Who sat?", "It _ ."],
    "options": [["a cat", "a dog", "I", "you"], ["ate", "ran", "slept", "sang"]],
    "answers": ["A", "C"],
}


CUT = ["id187", "id1591", "id1646", "id1058", "id198", "id1174"]


class TestOtherLayouts:
    """SNLI's, SciTail's, RACE's, Story Cloze's and the pronouns' files."""

    def test_snli(self, tmp_path):
        rows = 'neutral\t(x)\tA "b" c\td\t1.jpg#0\tneutral\t\t\t\t\n-\t(x)\te\tf\t1.jpg#1\tneutral\nentailment\t(x)\tg\th\t2.jpg#0\tx\n'
        write(tmp_path / "snli_1.0/snli_1.0_train.txt", (SNLI + rows).encode())
        expected = Rows(
            [Example("1.jpg#0", ('A "b" c', "d"), 1), Example("2.jpg#0", ("g", "h"), 0)],
            unlabelled=1,
        )
        assert load(TASKS["snli"], "train", source="files", path=str(tmp_path)) == expected
        cut = "neutral\t(x)\ta\tb\n"
        write(tmp_path / "snli_1.0/snli_1.0_train.txt", (SNLI + cut).encode())
        with pytest.raises(
            UserError, match=r"snli_1\.0_train\.txt:2: 4 tab-separated columns found, 10 expected"
        ):
            read(tmp_path, "snli")

    def test_scitail(self, tmp_path):
        write(
            tmp_path / "SciTailV1.1/tsv_format/scitail_1.0_train.tsv",
            b'"a" b\tc\tentails\nd\te\tneutral\n',
        )
        assert read(tmp_path, "scitail") == [
            Example("0", ('"a" b', "c"), 0),
            Example("1", ("d", "e"), 1),
        ]
        line = json.dumps({"sentence1": "a", "sentence2": "c", "gold_label": "entailment"})
        write(tmp_path / "SciTailV1.1/snli_format/scitail_1.0_dev.txt", f"{line}\n".encode())
        assert read(tmp_path, "scitail", "validation") == [Example("0", ("a", "c"), 0)]
        write(
            tmp_path / "SciTailV1.1/snli_format/scitail_1.0_dev.txt", f"{line}\n{{\n[1]\n".encode()
        )
        for allowed, message in (
            (0, r"dev\.txt:2: not JSON"),
            (1, r"dev\.txt:3: a JSON object expected, '\[1\]' found"),
        ):
            with pytest.raises(UserError, match=message):
                read(tmp_path, "scitail", "validation", max_bad_rows=allowed)

    def test_race(self, tmp_path):
        for number in (10, 9):
            write(
                tmp_path / f"RACE/train/middle/{number}.txt",
                json.dumps({**PASSAGE, "id": f"middle{number}.txt"}).encode(),
            )
        found = read(tmp_path, "race_middle")
        assert [row.id for row in found] == [
            "middle9.txt/0",
            "middle9.txt/1",
            "middle10.txt/0",
            "middle10.txt/1",
        ]
        assert found[1] == Example(
            "middle9.txt/1", (PASSAGE["article"], "It _ .", "ate", "ran", "slept", "sang"), 2
        )
        assert read(tmp_path, "race") == found
        with pytest.raises(
            UserError,
            match=r"no file of task race_high, split train; put RACE/train/high/\*\.txt there",
        ):
            read(tmp_path, "race_high")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"answers": ["A"]}, "questions, options, answers are not lists of the same length"),
            ({"options": [["a", "b", "c"], ["d", "e", "f", "g"]]}, "5 texts found, 6 expected"),
            ({"answers": ["A", "E"]}, "unknown label 'E', one of A, B, C, D expected"),
            ({"article": None}, "text expected in 'article', 'None' found"),
        ],
    )
    def test_damaged_passages(self, tmp_path, change, message):
        write(tmp_path / "RACE/train/middle/1.txt", json.dumps(PASSAGE | change).encode())
        with pytest.raises(UserError, match=rf"RACE/train/middle/1\.txt: {message}; repair"):
            read(tmp_path, "race")

    def stories(self, count: int) -> bytes:
        rows = (
            f'id{number},"One, ""two""",three,four,five,end {number},other,{1 + number % 2}'
            for number in range(count)
        )
        return "\ufeff{},AnswerRightEnding\r\n{}\r\n".format(STORY, "\r\n".join(rows)).encode()

    def test_story_cloze_is_cut_as_the_original_code_cuts_it(self, tmp_path):
        """The figures are of scikit-learn's train_test_split(range(1871), test_size=374, random_state=3535999445)."""
        task = TASKS["story_cloze_2016"]
        write(tmp_path / "StoryCloze" / task.files[0].splits["train"], self.stories(1871))
        train, validation = (read(tmp_path, task.name, split) for split in ("train", "validation"))
        assert (
            (len(train), len(validation))
            == (task.sizes["train"], task.sizes["validation"])
            == (1497, 374)
        )
        assert [row.id for row in train[:3]] + [row.id for row in validation[:3]] == CUT
        assert {row.id for row in train} | {row.id for row in validation} == {
            f"id{number}" for number in range(1871)
        }
        one = next(row for row in train if row.id == "id5")
        assert one == Example("id5", ('One, "two" three four five', "end 5", "other"), 1)

    def test_story_cloze_test_file(self, tmp_path):
        for name, labels in (("story_cloze_2016", [0, 1, 0]), ("story_cloze_2018", [None])):
            task = TASKS[name]
            hidden = f"{STORY}\nx,a,b,c,d,e,f\n".encode()
            write(
                tmp_path / "StoryCloze" / task.files[0].splits["test"],
                hidden if labels == [None] else self.stories(3),
            )
            assert [row.label for row in read(tmp_path, name, "test")] == labels

    def test_a_dropped_story_leaves_the_cut_of_the_others(self, tmp_path):
        file = tmp_path / "StoryCloze" / TASKS["story_cloze_2016"].files[0].splits["train"]
        write(file, self.stories(1871))
        whole = [row.id for row in read(tmp_path, "story_cloze_2016", "validation")]
        lines = self.stories(1871).splitlines(keepends=True)
        write(file, b"".join([*lines[:6], b"x,a,b\r\n", *lines[7:]]))
        kept = [row.id for row in read(tmp_path, "story_cloze_2016", "validation", max_bad_rows=1)]
        assert kept == [name for name in whole if name != "id5"]

    def test_damaged_stories(self, tmp_path):
        file = tmp_path / "StoryCloze" / TASKS["story_cloze_2016"].files[0].splits["train"]
        write(file, self.stories(3) + b"x,a,b\r\n")
        with pytest.raises(
            UserError,
            match=r"ALL_val\.csv:5: 8 comma-separated columns expected, more or fewer found",
        ):
            read(tmp_path, "story_cloze_2016")
        write(file, b"a,b\n1,2\n")
        with pytest.raises(
            UserError, match=r"ALL_val\.csv: no column 'InputSentence1', .* in its header, 'a', 'b'"
        ):
            read(tmp_path, "story_cloze_2016")
        write(file, self.stories(1))
        with pytest.raises(
            UserError, match=r"ALL_val\.csv: 1 stories cannot be split into training and validation"
        ):
            read(tmp_path, "story_cloze_2016")

    def test_pronouns(self, tmp_path):
        rows = b"Bees land on flowers because they have pollen.\nthey\nBees,flowers\nflowers\n\na b\nit \nc , d\nc\t\n"
        write(tmp_path / "definite_pronoun_resolution/test.c.txt", rows)
        first = Example(
            "0", ("Bees land on flowers because they have pollen.", "they", "Bees", "flowers"), 1
        )
        assert read(tmp_path, "dprd", "test") == [first, Example("1", ("a b", "it", "c", "d"), 0)]
        write(tmp_path / "definite_pronoun_resolution/test.c.txt", rows + b"\na\nit\nc,d\n")
        with pytest.raises(
            UserError,
            match=r"test\.c\.txt:11: 3 lines found, a sentence, a pronoun, two candidates and the right one expected",
        ):
            read(tmp_path, "dprd", "test")

    @pytest.mark.parametrize("place", ["ax.tsv", "AX/AX.tsv", "diagnostic/diagnostic.tsv"])
    def test_the_diagnostic_lies_where_distributions_put_it(self, tmp_path, place):
        write(tmp_path / place, b"index\tsentence1\tsentence2\n0\ta\tb\n")
        assert read(tmp_path, "ax", "test") == [Example("0", ("a", "b"), None)]
