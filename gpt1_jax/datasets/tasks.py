"""Define every labeled task: its rows, its sources, its metrics, its zero-shot probe.

A task is one entry here. A new task is a new entry, and nothing else. Label names and ids are those
of the Hugging Face hub. Files and columns are those of the authors' distributions. Formats are
those of Figure 1 of the paper, which treats MRPC, STS-B and QQP as similarity. Metrics are those of
section 4.2 of the paper and of the GLUE leaderboard.
"""

from gpt1_jax.datasets.readers.records import PassageTableFormat, TableFormat
from gpt1_jax.datasets.readers.tables import HeldOutTsv, Tsv
from gpt1_jax.datasets.readers.texts import Jsonl, PassageFiles, PronounBlocks, StoryCsv
from gpt1_jax.datasets.task import Probe, Task, WordCount
from gpt1_jax.registry import TASKS
from gpt1_jax.text import probes

_DIGITS = ("0", "1")
_LETTERS = ("A", "B", "C", "D")
_ENTAILED = ("entailment", "not_entailment")
_NLI = ("entailment", "neutral", "contradiction")
_SENTENCES = ("sentence1", "sentence2")
_SECTION_5 = ("cola", "sst2", "race", "dprd")  # the probes that the paper describes, in its order
_STATEMENTS = ("premise", "hypothesis")
_QUESTIONS = ("question1", "question2")


def _glue(
    config: str, segments: tuple[str, ...], hidden: tuple[str, ...] = ("test",), **splits: str
) -> dict:
    """Return the fields hub, tfds and hidden of a GLUE task.

    The hub and TFDS have the same columns, labels and splits. Test labels are not public.
    """
    table = {"configs": (config,), "segments": segments, "splits": splits}
    return {
        "hub": TableFormat(name="nyu-mll/glue", **table),
        "tfds": TableFormat(name="glue", **table),
        "hidden": hidden,
    }


def _sizes(train: int, validation: int, test: int) -> dict[str, int]:
    """Return the sizes of the usual three splits."""
    return {"train": train, "validation": validation, "test": test}


_SINGLES = (
    Task(
        name="cola",
        format="single",
        labels=("unacceptable", "acceptable"),
        metrics=("matthews",),
        typical_words=WordCount(8),
        probe=Probe(
            texts=probes.sentence,
            ceiling=0.350,  # Matthews correlation of single-task BiLSTM+ELMo+Attn, Table 4
            curve="acceptability",
            threshold="train",
        ),
        files=(
            Tsv(
                folder="CoLA",
                segments=("sentence",),
                label_names=_DIGITS,
                headerless=("source", "label", "mark", "sentence"),
            ),
        ),
        **_glue("cola", ("sentence",)),
        sizes=_sizes(8551, 1043, 1063),
        submission={"test": "CoLA"},
    ),
    Task(
        name="sst2",
        format="single",
        labels=("negative", "positive"),
        metrics=("accuracy",),
        typical_words=WordCount(10),
        probe=Probe(
            texts=probes.continuation,
            options={"append": "very", "words": ("negative", "positive")},
            ceiling=0.932,  # sparse byte mLSTM, Table 4
            curve="sentiment",
            total=True,
        ),
        files=(Tsv(folder="SST-2", segments=("sentence",), label_names=_DIGITS),),
        **_glue("sst2", ("sentence",)),
        sizes=_sizes(67349, 872, 1821),
        submission={"test": "SST-2"},
    ),
)

_STRINGS = {"folder": "MRPC", "segments": ("#1 String", "#2 String"), "label_names": _DIGITS}
_MSR = {
    "train": "msr_paraphrase_train.txt",
    "validation": "msr_paraphrase_train.txt",
    "test": "msr_paraphrase_test.txt",
}
_NO_SUFFIX = {"train": "train", "validation": "train", "test": "test"}

_SIMILARITIES = (
    Task(
        name="mrpc",
        format="similarity",
        labels=("not_equivalent", "equivalent"),
        metrics=("f1", "accuracy"),
        typical_words=WordCount(44),
        files=(
            Tsv(**_STRINGS, label="Quality"),
            HeldOutTsv(
                **_STRINGS,
                label="Quality",
                splits=_MSR,
                held_out="dev_ids.tsv",
                key=("#1 ID", "#2 ID"),
            ),
            # Some mirrors drop the suffixes and write the byte order mark as the letters BOM.
            HeldOutTsv(
                **_STRINGS,
                label="BOMQuality",
                splits=_NO_SUFFIX,
                held_out="dev_ids",
                key=("#1 ID", "#2 ID"),
            ),
        ),
        **_glue("mrpc", _SENTENCES),
        sizes=_sizes(3668, 408, 1725),
        submission={"test": "MRPC"},
    ),
    Task(
        name="stsb",
        format="similarity",
        bins=6,
        metrics=("pearson", "spearman"),
        typical_words=WordCount(24),
        files=(Tsv(folder="STS-B", segments=_SENTENCES, label="score"),),
        **_glue("stsb", _SENTENCES),
        sizes=_sizes(5749, 1500, 1379),
        submission={"test": "STS-B"},
    ),
    Task(
        name="qqp",
        format="similarity",
        labels=("not_duplicate", "duplicate"),
        metrics=("f1", "accuracy"),
        typical_words=WordCount(22),
        files=(
            Tsv(
                folder="QQP",
                segments=_QUESTIONS,
                label="is_duplicate",
                label_names=_DIGITS,
                id="id",
            ),
        ),
        **_glue("qqp", _QUESTIONS),
        sizes=_sizes(363846, 40430, 390965),
        submission={"test": "QQP"},
    ),
)

_MNLI = {
    "train": "train.tsv",
    "validation": "dev_matched.tsv",
    "validation_mismatched": "dev_mismatched.tsv",
    "test": "test_matched.tsv",
    "test_mismatched": "test_mismatched.tsv",
}
_SNLI = {
    "folder": "snli_1.0",
    "segments": _SENTENCES,
    "label": "gold_label",
    "no_label": "-",
    "id": "pairID",
}


def _split_files(pattern: str) -> dict[str, str]:
    """Return split -> file name: the pattern with "train", "dev" or "test" in place of {}."""
    return {
        split: pattern.format(name)
        for split, name in (("train", "train"), ("validation", "dev"), ("test", "test"))
    }


_PAIRS = (
    Task(
        name="mnli",
        format="pair",
        labels=_NLI,
        metrics=("accuracy",),
        typical_words=WordCount(30),
        files=(Tsv(folder="MNLI", segments=_SENTENCES, label="gold_label", splits=_MNLI),),
        **_glue(
            "mnli",
            _STATEMENTS,
            ("test", "test_mismatched"),
            validation="validation_matched",
            test="test_matched",
        ),
        validation=("validation", "validation_mismatched"),
        test=("test", "test_mismatched"),
        diagnostics=("ax",),
        sizes=_sizes(392702, 9815, 9796) | {"validation_mismatched": 9832, "test_mismatched": 9847},
        submission={"test": "MNLI-m", "test_mismatched": "MNLI-mm"},
    ),
    Task(
        name="ax",  # GLUE's diagnostic set, which a model of MNLI predicts
        format="pair",
        labels=_NLI,
        metrics=("matthews",),
        files=tuple(
            Tsv(folder=folder, segments=_SENTENCES, splits={"test": name})
            for folder, name in (
                (".", "ax.tsv"),
                ("AX", "AX.tsv"),
                ("AX", "test.tsv"),
                ("diagnostic", "diagnostic.tsv"),
            )
        ),
        **_glue("ax", _STATEMENTS),
        train=False,
        validation=(),
        sizes={"test": 1104},
        submission={"test": "AX"},
    ),
    Task(
        name="qnli",  # version 2; the paper's 88.1 is on version 1, with 108,436 training pairs
        format="pair",
        labels=_ENTAILED,
        metrics=("accuracy",),
        typical_words=WordCount(38),
        files=(Tsv(folder="QNLI", segments=("question", "sentence")),),
        **_glue("qnli", ("question", "sentence")),
        sizes=_sizes(104743, 5463, 5463),
        submission={"test": "QNLI"},
    ),
    Task(
        name="rte",
        format="pair",
        labels=_ENTAILED,
        metrics=("accuracy",),
        typical_words=WordCount(53),
        files=(Tsv(folder="RTE", segments=_SENTENCES),),
        **_glue("rte", _SENTENCES),
        sizes=_sizes(2490, 277, 3000),
        submission={"test": "RTE"},
    ),
    Task(
        name="wnli",
        format="pair",
        labels=_ENTAILED[::-1],  # the reverse of RTE's order
        metrics=("accuracy",),
        typical_words=WordCount(34),
        files=(Tsv(folder="WNLI", segments=_SENTENCES, label_names=_DIGITS),),
        **_glue("wnli", _SENTENCES),
        sizes=_sizes(635, 71, 146),
        submission={"test": "WNLI"},
    ),
    Task(
        name="snli",
        format="pair",
        labels=_NLI,
        metrics=("accuracy",),
        typical_words=WordCount(21),
        files=(
            Tsv(**_SNLI, optional=4, splits=_split_files("snli_1.0_{}.txt")),
            Jsonl(**_SNLI, splits=_split_files("snli_1.0_{}.jsonl")),
        ),
        hub=TableFormat(
            name="stanfordnlp/snli", configs=("plain_text",), segments=_STATEMENTS, no_label=-1
        ),
        tfds=TableFormat(name="snli", segments=_STATEMENTS, no_label=-1),
        sizes=_sizes(549367, 9842, 9824),
    ),
    Task(
        name="scitail",
        format="pair",
        labels=("entails", "neutral"),
        metrics=("accuracy",),
        typical_words=WordCount(30),
        files=(
            Tsv(
                folder="SciTailV1.1/tsv_format",
                segments=_STATEMENTS,
                headerless=(*_STATEMENTS, "label"),
                splits=_split_files("scitail_1.0_{}.tsv"),
            ),
            Jsonl(
                folder="SciTailV1.1/snli_format",
                segments=_SENTENCES,
                label="gold_label",
                label_names=("entailment", "neutral"),
                splits=_split_files("scitail_1.0_{}.txt"),
            ),
        ),
        hub=TableFormat(
            name="allenai/scitail",
            configs=("tsv_format",),
            segments=_STATEMENTS,
            label_ids=False,
        ),
        tfds=TableFormat(name="sci_tail", segments=_STATEMENTS),
        sizes=_sizes(23097, 1304, 2126),
    ),
)

_QUESTION = ("article", "question", "options")


def _race(
    name: str,
    hub: str,
    level: str,
    levels: tuple[str, ...],
    typical_words: WordCount,
    sizes: dict[str, int],
    probe: Probe | None = None,
) -> Task:
    lists = {"question": "questions", "options": "options", "answer": "answers"}
    return Task(
        name=name,
        format="choice",
        labels=_LETTERS,
        contexts=2,
        metrics=("accuracy",),
        files=(
            PassageFiles(
                folder="RACE",
                segments=_QUESTION,
                label="answer",
                id="id",
                list_columns=lists,
                splits=_split_files(f"{{}}/{level}/*.txt"),
            ),
        ),
        hub=TableFormat(
            name="ehovy/race",
            configs=(hub,),
            segments=_QUESTION,
            label="answer",
            label_ids=False,
        ),
        tfds=PassageTableFormat(
            name="race",
            configs=levels,
            segments=_QUESTION,
            label="answer",
            label_ids=False,
            id="example_id",
            list_columns=lists,
            splits={"validation": "dev"},
        ),
        sizes=sizes,
        typical_words=typical_words,
        probe=probe,
    )


def _story_cloze(
    year: int, labeled: str, test: str, hidden: tuple[str, ...], sizes: dict[str, int]
) -> Task:
    return Task(
        name=f"story_cloze_{year}",
        format="choice",
        labels=("1", "2"),
        metrics=("accuracy",),
        hidden=hidden,
        typical_words=WordCount(36, answer=8),
        # Hidden Coherence Model, Table 3. The paper uses the files of 2016.
        probe=Probe(texts=probes.answers, options={"contexts": 1}, ceiling=0.776),
        # The hub has a script instead of data. TFDS loses the order of the rows, which defines the
        # published split.
        files=(
            StoryCsv(
                folder="StoryCloze",
                segments=("context", "RandomFifthSentenceQuiz1", "RandomFifthSentenceQuiz2"),
                label="AnswerRightEnding",
                id="InputStoryid",
                splits={"train": labeled, "validation": labeled, "test": test},
            ),
        ),
        sizes=sizes,
    )


_CHOICES = (
    _race(
        "race",
        "all",
        "*",
        ("high", "middle"),
        WordCount(310, answer=6),
        _sizes(87866, 4887, 4934),
        Probe(
            texts=probes.answers,
            options={"contexts": 2},
            ceiling=0.533,  # BiAttention MRU, Table 3
            ceiling_note="an ensemble of nine models",
            curve="qa",
        ),
    ),
    _race(
        "race_middle",
        "middle",
        "middle",
        ("middle",),
        WordCount(230, answer=5),
        _sizes(25421, 1436, 1436),
    ),
    _race(
        "race_high",
        "high",
        "high",
        ("high",),
        WordCount(340, answer=6),
        _sizes(62445, 3451, 3498),
    ),
    _story_cloze(
        2016,
        "cloze_test_val__spring2016 - cloze_test_ALL_val.csv",
        "cloze_test_test__spring2016 - cloze_test_ALL_test.csv",
        (),
        _sizes(1497, 374, 1871),
    ),
    _story_cloze(
        2018,
        "cloze_test_val__winter2018-cloze_test_ALL_val - 1 - 1.csv",
        "cloze_test_test__winter2018-cloze_test_ALL_test - 1.csv",
        ("test",),
        _sizes(1257, 314, 1571),
    ),
    Task(
        name="dprd",  # only probed, as in the paper: no development split to choose a checkpoint by
        format="substitution",
        labels=("first", "second"),
        metrics=("accuracy",),
        typical_words=WordCount(16),
        probe=Probe(
            texts=probes.substitution,
            # Rahman and Ng (2012) report 0.7305.
            ceiling=0.764,
            ceiling_note="Peng et al. 2015, from memory; the paper prints no number",
            curve="winograd",
        ),
        files=(
            PronounBlocks(
                folder="definite_pronoun_resolution",
                segments=("sentence", "pronoun", "candidates"),
                label_names=_DIGITS,
                splits={"train": "train.c.txt", "test": "test.c.txt"},
            ),
        ),
        hub=TableFormat(
            name="community-datasets/definite_pronoun_resolution",
            configs=("plain_text",),
            segments=("sentence", "pronoun", "candidates"),
            label_names=_DIGITS,
        ),
        tfds=TableFormat(
            name="definite_pronoun_resolution",
            segments=("sentence", "pronoun", "candidates"),
            label_names=_DIGITS,
        ),
        validation=(),
        sizes={"train": 1322, "test": 564},
    ),
)

for entry in (*_SINGLES, *_SIMILARITIES, *_PAIRS, *_CHOICES):
    TASKS.register(entry.name)(entry)


def probed_tasks() -> list[str]:
    """Return the names of the tasks with a probe: first those of section 5, then the others."""
    others = [name for name in TASKS if TASKS[name].probe and name not in _SECTION_5]
    return [*_SECTION_5, *others]
