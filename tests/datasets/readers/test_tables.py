"""Test the readers of tab-separated files on small files in the published formats."""

import pytest

from gpt1_jax.datasets.readers.records import Example
from gpt1_jax.datasets.sources import load
from gpt1_jax.errors import UserError
from gpt1_jax.registry import TASKS

STSB = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2"
PARSES = "sentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_parse"
MNLI = f"index\tpromptID\tpairID\tgenre\t{PARSES}\tsentence1\tsentence2"
# Path -> content as the distribution writes it: a header (none in CoLA's train), then the rows.
FILES = {
    "CoLA/train.tsv": "gj04\t1\t\tThe dog barked.\nbc01\t0\t*\tDog the barked.\n",
    "CoLA/test.tsv": "index\tsentence\n0\tBill left.\n1\tLeft Bill the.\n",
    "SST-2/train.tsv": "sentence\tlabel\na fine film \t1\ndull \t0\n",
    "SST-2/test.tsv": "index\tsentence\n0\tdull and gray\n",
    "MRPC/train.tsv": "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
    '1\t7\t8\t"Yes, he said.\tHe said "yes\n0\t7\t9\ta\tb"\n',
    "MRPC/test.tsv": "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t5\t6\tc\td\n",
    "STS-B/train.tsv": f"{STSB}\tscore\n"
    "0\tnews\tMSRvid\t2012\t0001\tnone\tnone\tA man sings.\tA man is singing.\t4.750\n"
    "1\tnews\tMSRvid\t2012\t0004\tnone\tnone\tA man sings.\tIt rains.\t0\n",
    "STS-B/test.tsv": f"{STSB}\n"
    "0\tnews\tMSRvid\t2012\t24\tnone\tnone\tA girl runs.\tA girl is running.\n",
    "QQP/train.tsv": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    "133\t2\t3\tHow old?\tWhat age?\t1\n",
    "QQP/test.tsv": "id\tquestion1\tquestion2\n0\tWho?\tWhere?\n",
    "MNLI/train.tsv": f"{MNLI}\tlabel1\tgold_label\n0\t31\t31n\tslate\t( a )\t( b )\t(A)\t(B)\t"
    "It rained.\tIt was wet.\tneutral\tentailment\n",
    "MNLI/dev_mismatched.tsv": f"{MNLI}\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label\n"
    "0\t75\t75c\tletters\t( a )\t( b )\t(A)\t(B)\tYou came.\tYou stayed away.\t"
    "neutral\tneutral\tentailment\tcontradiction\tcontradiction\tcontradiction\n",
    "QNLI/train.tsv": "index\tquestion\tsentence\tlabel\n"
    "0\tWho came?\tAnn came.\tentailment\n1\tWho?\tNo.\tnot_entailment\n",
    "RTE/train.tsv": "index\tsentence1\tsentence2\tlabel\n"
    "0\tAnn died.\tAnn lives.\tnot_entailment\n1\ta\tb\tentailment\n",
    "WNLI/train.tsv": "index\tsentence1\tsentence2\tlabel\n"
    "0\tIt had a hole.\tThe pin had a hole.\t0\n1\tc\td\t1\n",
}


@pytest.fixture
def glue(tmp_path):
    """Return a folder with the files of GLUE."""
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
        ("sst2", "test", [("0", ("dull and gray",), None)]),
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
def test_rows_of_every_task(glue, task, split, expected):
    assert read(glue, task, split) == [Example(*row) for row in expected]


def test_path_may_be_the_folder_of_the_task(glue):
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
def test_line_ends_and_byte_order_marks_do_not_matter(glue, task, change):
    expected = read(glue, task)
    file = glue / TASKS[task].files[0].folder / "train.tsv"
    file.write_bytes(change(file.read_bytes()))
    assert read(glue, task) == expected


def test_only_a_newline_ends_a_row(tmp_path):
    text = "a\u2028b\x85c\x0bd\x0ce\rf"
    write(tmp_path / "SST-2/train.tsv", f"sentence\tlabel\n{text}\t1\n".encode())
    assert read(tmp_path, "sst2") == [Example("0", (text,), 1)]


class TestMicrosoftMrpc:
    """Test MRPC's older distribution: one file and a list of the ids of its validation rows."""

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

    def test_files_of_glue_have_priority(self, folder):
        write(folder / "MRPC/train.tsv", FILES["MRPC/train.tsv"].encode())
        assert len(read(folder, "mrpc")) == 2
        assert read(folder, "mrpc")[0].segments[0].startswith('"Yes')

    def test_missing_list_is_refused(self, folder):
        (folder / "MRPC/dev_ids.tsv").unlink()
        with pytest.raises(UserError, match=r"dev_ids\.tsv: not found"):
            read(folder, "mrpc")

    @pytest.mark.parametrize("content", [b"7\t9\n8\n", b"7\t9\n8\t\xff\n"])
    def test_damaged_list_is_refused(self, folder, content):
        write(folder / "MRPC/dev_ids.tsv", content)
        with pytest.raises(UserError, match=r"dev_ids\.tsv:2: "):
            read(folder, "mrpc")

    def test_rows_without_ids_are_refused(self, folder):
        write(folder / "MRPC/msr_paraphrase_train.txt", b"Quality\t#1 String\t#2 String\n1\ta\tb\n")
        with pytest.raises(UserError, match="no column '#1 ID', '#2 ID'"):
            read(folder, "mrpc")

    def test_list_of_other_rows_is_refused(self, folder):
        write(folder / "MRPC/dev_ids.tsv", b"1\t1\n")
        with pytest.raises(UserError, match="contains no rows of split validation"):
            read(folder, "mrpc", "validation")


@pytest.mark.parametrize(
    ("task", "content", "message"),
    [
        ("rte", b"", r"RTE/train\.tsv: the file is empty"),
        ("rte", b"\n\r\n", r"RTE/train\.tsv: the file is empty"),
        (
            "rte",
            b"index\tsentence1\tsentence2\tlabel\n",
            r"RTE/train\.tsv: contains no rows of split train",
        ),
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
def test_damage_is_located(tmp_path, task, content, message):
    write(tmp_path / TASKS[task].files[0].folder / "train.tsv", content)
    with pytest.raises(UserError, match=message) as error:
        read(tmp_path, task)
    assert "\n" not in str(error.value)


def test_allowed_malformed_rows_are_dropped_and_reported(glue):
    file = glue / "WNLI/train.tsv"
    file.write_text("index\tsentence1\tsentence2\tlabel\n0\ta\tb\n1\tc\td\tyes\n2\te\tf\t1\n")
    messages = []
    assert read(glue, "wnli", max_bad_rows=2, log_line=messages.append) == [
        Example("2", ("e", "f"), 1)
    ]
    for number, message in zip((2, 3), messages, strict=True):
        assert message.startswith(f"{file}:{number}: ")
    with pytest.raises(
        UserError, match=r"train\.tsv:3: unknown label 'yes'.* config.data.max_bad_rows \(now 1\)"
    ):
        read(glue, "wnli", max_bad_rows=1)


def test_row_numbers_include_dropped_rows(tmp_path):
    write(tmp_path / "SST-2/train.tsv", b"sentence\tlabel\na\t1\nb\nc\t0\n")
    assert [example.id for example in read(tmp_path, "sst2", max_bad_rows=1)] == ["0", "2"]


@pytest.mark.parametrize("path", ["ax.tsv", "AX/AX.tsv", "diagnostic/diagnostic.tsv"])
def test_diagnostic_file_is_found_in_every_distribution(tmp_path, path):
    write(tmp_path / path, b"index\tsentence1\tsentence2\n0\ta\tb\n")
    assert read(tmp_path, "ax", "test") == [Example("0", ("a", "b"), None)]
