"""The published files, oddities and damage included, read from copies in the real layout and from the real files."""

import dataclasses
import itertools
import shutil

import pytest

from gpt1_jax.datasets.layouts import Tsv
from gpt1_jax.datasets.sources import Example, describe, load
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
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)


def read(path, task, split="train", **options):
    return load(TASKS[task], split, source="files", path=str(path), **options)


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
            [("0", ("A man sings.", "A man is singing."), 4.75), ("1", ("A man sings.", "It rains."), 0.0)],
        ),
        ("stsb", "test", [("0", ("A girl runs.", "A girl is running."), None)]),
        ("qqp", "train", [("133", ("How old?", "What age?"), 1)]),
        ("qqp", "test", [("0", ("Who?", "Where?"), None)]),
        ("mnli", "train", [("0", ("It rained.", "It was wet."), 0)]),
        ("mnli", "validation_mismatched", [("0", ("You came.", "You stayed away."), 2)]),
        ("qnli", "train", [("0", ("Who came?", "Ann came."), 0), ("1", ("Who?", "No."), 1)]),
        ("rte", "train", [("0", ("Ann died.", "Ann lives."), 1), ("1", ("a", "b"), 0)]),
        ("wnli", "train", [("0", ("It had a hole.", "The pin had a hole."), 0), ("1", ("c", "d"), 1)]),
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
            r"RTE/train\.tsv: no column 'sentence1', 'sentence2' in its header, '0', 'a'",
        ),
        (
            "rte",
            b"index\tsentence1\tsentence2\tlabel\n\n0\ta\tentailment\n",
            r"RTE/train\.tsv:3: 3 tab.* found, 4 expected",
        ),
        ("rte", b"index\tsentence1\tsentence2\tlabel\n0\ta\tb\tc\tneutral\n", r":2: 5 tab-separated columns found, 4"),
        (
            "rte",
            b"index\tsentence1\tsentence2\tlabel\n0\ta\tb\t0\n",
            r":2: unknown label '0', one of entailment, not_ent",
        ),
        ("rte", b"index\tsentence1\tsentence2\tlabel\n0\ta\tb\t\n", r":2: unknown label ''"),
        ("rte", b"index\tsentence1\tsentence2\tlabel\n0\ta\tcaf\xe9\t0\n", r":2: byte 0xe9 at position 7 is not UTF-8"),
        ("rte", "index\tsentence1\n".encode("utf-16"), r"RTE/train\.tsv:1: byte 0xff at position 0 is not UTF-8"),
        ("cola", b"gj04\t1\t\ta\ngj04\t2\t\tb\n", r"CoLA/train\.tsv:2: unknown label '2', one of 0, 1 expected"),
        ("cola", b"\xff\xfeg\tj\n", r"CoLA/train\.tsv:1: byte 0xff"),
        ("cola", b"sentence\tlabel\tx\na\tb\n", r"CoLA/train\.tsv:2: 2 tab-separated columns found, 3 expected"),
        (
            "stsb",
            FILES["STS-B/train.tsv"].replace("4.750", "5.1").encode(),
            r":2: score '5\.1' found, a number from 0 to 5",
        ),
        ("stsb", FILES["STS-B/train.tsv"].replace("4.750", "nan").encode(), r":2: score 'nan' found"),
        ("stsb", FILES["STS-B/train.tsv"].replace("4.750", "high").encode(), r":2: score 'high' found"),
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
    assert [line.startswith(f"{file}:{number}: ") for number, line in zip((2, 3), told, strict=True)] == [True, True]
    with pytest.raises(UserError, match=r"train\.tsv:3: unknown label 'yes'.* config.data.max_bad_rows \(now 1\)"):
        read(glue, "wnli", max_bad_rows=1)


def test_running_number_counts_dropped_rows(tmp_path):
    write(tmp_path / "SST-2/train.tsv", b"sentence\tlabel\na\t1\nb\nc\t0\n")
    assert [example.id for example in read(tmp_path, "sst2", max_bad_rows=1)] == ["0", "2"]


def test_a_new_task_is_one_entry(tmp_path):
    toy = dataclasses.replace(TASKS["rte"], name="toy", labels=("no", "yes"), files=(Tsv("Toy", ("left", "right")),))
    write(tmp_path / "Toy/train.tsv", b"left\tlabel\tright\na\tyes\tb\n")
    assert load(toy, "train", source="files", path=str(tmp_path)) == [Example("0", ("a", "b"), 1)]


class TestDescribe:
    ROWS = [Example("0", ("a", "b"), 1), Example("1", ("c", "d"), 0), Example("2", ("e", "f"), 1)]

    def test_counts(self):
        assert describe(self.ROWS, ("no", "yes"))["labels"] == {"no": 1, "yes": 2}
        assert describe(self.ROWS)["labels"] == {"0": 1, "1": 2}
        assert describe([row._replace(label=None) for row in self.ROWS], ("no", "yes"))["labels"] == {"hidden": 3}
        scores = [row._replace(label=score) for row, score in zip(self.ROWS, (0.5, 2.49, 1.0), strict=True)]
        assert describe(scores) | {"sha256": ""} == {"rows": 3, "labels": {"1": 2, "2": 1}, "sha256": ""}

    def test_hash_is_of_the_content_alone(self):
        variants = {
            "same": self.ROWS,
            "text": [self.ROWS[0]._replace(segments=("a", "B")), *self.ROWS[1:]],
            "border": [self.ROWS[0]._replace(segments=("ab", "")), *self.ROWS[1:]],
            "label": [self.ROWS[0]._replace(label=0), *self.ROWS[1:]],
            "order": self.ROWS[::-1],
            "fewer": self.ROWS[:2],
        }
        assert len({describe(rows)["sha256"] for rows in variants.values()}) == len(variants)
        renumbered = [row._replace(id="x" + row.id) for row in self.ROWS]
        assert describe(renumbered)["sha256"] == describe(self.ROWS)["sha256"]


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
    found = describe(dev, task.labels)
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
    write(folder / "dev_ids.tsv", "".join("\t".join(row.split("\t")[1:3]) + "\n" for row in dev if row).encode())

    def content(path, split):
        return [(row.segments, row.label) for row in read(path, "mrpc", split)]

    for split in ("train", "validation"):
        assert sorted(content(tmp_path, split)) == sorted(content(glue, split))
    assert len(read(glue, "mrpc", "test")) == 1725


@pytest.mark.parametrize("name", ["cola", "sst2", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"])
def test_real_rows_of_every_original_file(real_data, name):
    task = TASKS[name]
    for split in task.splits:
        rows = read(real_data / "originals", name, split)
        assert rows
        assert all((row.label is None) == (split in task.test) for row in rows)
        assert all(text.strip() for row in rows for text in row.segments)
