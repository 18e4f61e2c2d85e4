"""Test the readers of SNLI's, SciTail's, RACE's, Story Cloze's and the pronouns' files."""

import json

import pytest

from gpt1_jax.datasets.readers.records import Example, Rows
from gpt1_jax.datasets.sources import load
from gpt1_jax.errors import UserError
from gpt1_jax.registry import TASKS

SNLI = "gold_label\tsentence1_parse\tsentence1\tsentence2\tpairID\t"
SNLI += "label1\tlabel2\tlabel3\tlabel4\tlabel5\n"
STORY = "InputStoryid,InputSentence1,InputSentence2,InputSentence3,InputSentence4,"
STORY += "RandomFifthSentenceQuiz1,RandomFifthSentenceQuiz2"
PASSAGE = {
    "id": "middle7.txt",
    "article": "A cat sat.\nIt slept.",
    "questions": ["Who sat?", "It _ ."],
    "options": [["a cat", "a dog", "I", "you"], ["ate", "ran", "slept", "sang"]],
    "answers": ["A", "C"],
}
# The first rows of train and of validation.
STORY_IDS = ["id187", "id1591", "id1646", "id1058", "id198", "id1174"]


def write(file, content: bytes):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def read(path, task, split="train", **options):
    return load(TASKS[task], split, source="files", path=str(path), **options).examples


class TestTexts:
    def test_snli_rows_without_a_gold_label_are_omitted(self, tmp_path):
        rows = 'neutral\t(x)\tA "b" c\td\t1.jpg#0\tneutral\t\t\t\t\n'
        rows += "-\t(x)\te\tf\t1.jpg#1\tneutral\nentailment\t(x)\tg\th\t2.jpg#0\tx\n"
        write(tmp_path / "snli_1.0/snli_1.0_train.txt", (SNLI + rows).encode())
        expected = Rows(
            [Example("1.jpg#0", ('A "b" c', "d"), 1), Example("2.jpg#0", ("g", "h"), 0)],
            unlabeled=1,
        )
        assert load(TASKS["snli"], "train", source="files", path=str(tmp_path)) == expected
        short = "neutral\t(x)\ta\tb\n"
        write(tmp_path / "snli_1.0/snli_1.0_train.txt", (SNLI + short).encode())
        with pytest.raises(
            UserError, match=r"snli_1\.0_train\.txt:2: 4 tab-separated columns found, 10 expected"
        ):
            read(tmp_path, "snli")

    def test_scitail_rows_are_read_from_both_formats(self, tmp_path):
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
            (1, r"dev\.txt:3: expected a JSON object, found '\[1\]'"),
        ):
            with pytest.raises(UserError, match=message):
                read(tmp_path, "scitail", "validation", max_bad_rows=allowed)

    def test_race_questions_are_examples(self, tmp_path):
        for number in (10, 9):
            write(
                tmp_path / f"RACE/train/middle/{number}.txt",
                json.dumps({**PASSAGE, "id": f"middle{number}.txt"}).encode(),
            )
        examples = read(tmp_path, "race_middle")
        assert [row.id for row in examples] == [
            "middle9.txt/0",
            "middle9.txt/1",
            "middle10.txt/0",
            "middle10.txt/1",
        ]
        assert examples[1] == Example(
            "middle9.txt/1", (PASSAGE["article"], "It _ .", "ate", "ran", "slept", "sang"), 2
        )
        assert read(tmp_path, "race") == examples
        with pytest.raises(
            UserError,
            match=r"no file of task race_high, split train; put RACE/train/high/\*\.txt there",
        ):
            read(tmp_path, "race_high")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"answers": ["A"]}, "questions, options, answers are not lists of the same length"),
            (
                {"options": [["a", "b", "c", "d"], ["e", "f", "g"]]},
                r"question middle7\.txt/1 has 3 options, 4 expected",
            ),
            ({"answers": ["A", "E"]}, "unknown label 'E', one of A, B, C, D expected"),
            ({"article": None}, "expected text in 'article', found 'None'"),
        ],
    )
    def test_damaged_passages_are_located(self, tmp_path, change, message):
        write(tmp_path / "RACE/train/middle/1.txt", json.dumps(PASSAGE | change).encode())
        with pytest.raises(UserError, match=rf"RACE/train/middle/1\.txt: {message}; repair"):
            read(tmp_path, "race")

    def stories(self, count: int) -> bytes:
        rows = (
            f'id{number},"One, ""two""",three,four,five,end {number},other,{1 + number % 2}'
            for number in range(count)
        )
        return "\ufeff{},AnswerRightEnding\r\n{}\r\n".format(STORY, "\r\n".join(rows)).encode()

    def test_story_cloze_is_split_as_in_the_original_code(self, tmp_path):
        # STORY_IDS come from scikit-learn's train_test_split(range(1871), test_size=374,
        # random_state=3535999445).
        task = TASKS["story_cloze_2016"]
        write(tmp_path / "StoryCloze" / task.files[0].splits["train"], self.stories(1871))
        train, validation = (read(tmp_path, task.name, split) for split in ("train", "validation"))
        assert (
            (len(train), len(validation))
            == (task.sizes["train"], task.sizes["validation"])
            == (1497, 374)
        )
        assert [row.id for row in train[:3]] + [row.id for row in validation[:3]] == STORY_IDS
        assert {row.id for row in train} | {row.id for row in validation} == {
            f"id{number}" for number in range(1871)
        }
        one = next(row for row in train if row.id == "id5")
        assert one == Example("id5", ('One, "two" three four five', "end 5", "other"), 1)

    def test_story_cloze_test_labels(self, tmp_path):
        for name, labels in (("story_cloze_2016", [0, 1, 0]), ("story_cloze_2018", [None])):
            task = TASKS[name]
            hidden = f"{STORY}\nx,a,b,c,d,e,f\n".encode()
            write(
                tmp_path / "StoryCloze" / task.files[0].splits["test"],
                hidden if labels == [None] else self.stories(3),
            )
            assert [row.label for row in read(tmp_path, name, "test")] == labels

    def test_dropped_story_does_not_change_the_split(self, tmp_path):
        file = tmp_path / "StoryCloze" / TASKS["story_cloze_2016"].files[0].splits["train"]
        write(file, self.stories(1871))
        whole = [row.id for row in read(tmp_path, "story_cloze_2016", "validation")]
        lines = self.stories(1871).splitlines(keepends=True)
        write(file, b"".join([*lines[:6], b"x,a,b\r\n", *lines[7:]]))
        ids = [row.id for row in read(tmp_path, "story_cloze_2016", "validation", max_bad_rows=1)]
        assert ids == [name for name in whole if name != "id5"]

    def test_damaged_stories_are_refused(self, tmp_path):
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

    @pytest.mark.parametrize("cell", ['"three', "three", "'three\"", 'th"r"ee', '"th""ree"'])
    def test_stray_quote_costs_at_most_its_own_story(self, tmp_path, cell):
        name = "story_cloze_2016"
        file = tmp_path / "StoryCloze" / TASKS[name].files[0].splits["train"]
        lines = self.stories(40).splitlines(keepends=True)
        lines[31] = f"id30,one,two,{cell},four,five,end 30,1\r\n".encode()
        write(file, b"".join(lines))
        reports = []

        def ids(**options):
            splits = ("train", "validation")
            rows = [row for split in splits for row in read(tmp_path, name, split, **options)]
            return sorted(row.id for row in rows)

        expected = sorted(f"id{number}" for number in range(40))
        if cell != '"three':
            assert ids() == expected
            return
        with pytest.raises(UserError, match=r"\.csv:32: a quotation mark is not closed in this"):
            ids()
        expected.remove("id30")
        assert ids(max_bad_rows=1, log_line=reports.append) == expected and len(reports) == 2

    def test_cell_over_the_limit_of_csv_is_located(self, tmp_path):
        name = "story_cloze_2016"
        file = tmp_path / "StoryCloze" / TASKS[name].files[0].splits["train"]
        row = f"id,{'x' * 140_000},two,three,four,five,end,1\r\n".encode()
        write(file, self.stories(3) + row)
        with pytest.raises(UserError, match=r"\.csv:5: not a row of csv \(field larger than"):
            read(tmp_path, name)

    def test_pronoun_blocks_are_read(self, tmp_path):
        rows = b"Bees land on flowers because they have pollen.\nthey\nBees,flowers\nflowers\n"
        rows += b"\na b\nit \nc , d\nc\t\n"
        write(tmp_path / "definite_pronoun_resolution/test.c.txt", rows)
        first = Example(
            "0", ("Bees land on flowers because they have pollen.", "they", "Bees", "flowers"), 1
        )
        assert read(tmp_path, "dprd", "test") == [first, Example("1", ("a b", "it", "c", "d"), 0)]
        write(tmp_path / "definite_pronoun_resolution/test.c.txt", rows + b"\na\nit\nc,d\n")
        with pytest.raises(
            UserError,
            match=r"test\.c\.txt:11: 3 lines found, four expected: the sentence, the pronoun, both",
        ):
            read(tmp_path, "dprd", "test")
