"""Define mistakes in the files of tasks."""

import json

from mistakes.mistake import finetune


def snli(**last) -> bytes:
    """Return five good rows of SNLI's .jsonl, and one with other values."""
    good = {"sentence1": "a", "sentence2": "b", "gold_label": "neutral", "pairID": "p"}
    return "".join(json.dumps(row) + "\n" for row in [good] * 5 + [good | last]).encode()


def snli_files(train: bytes, dev: bytes) -> dict[str, bytes]:
    """Return the files of SNLI in the folder of tasks."""
    folder = "glue/snli_1.0/snli_1.0"
    return {f"{folder}_train.jsonl": train, f"{folder}_dev.jsonl": dev}


SST2_TSV = b"sentence\tlabel\na good film\t1\na dull film\t0\n"

MISTAKES = {
    "missing task folder": finetune(
        "config.data.path", "absent", "SST-2/train.tsv", settings={"data.path": "{here}/absent"}
    ),
    "missing split": finetune(
        "SST-2/dev.tsv", edit=lambda here: (here / "glue/SST-2/dev.tsv").unlink()
    ),
    "empty table": finetune(
        "{here}/glue/SST-2/train.tsv", "empty", files={"glue/SST-2/train.tsv": b""}
    ),
    "table without rows": finetune(
        "{here}/glue/SST-2/train.tsv", "no rows", files={"glue/SST-2/train.tsv": SST2_TSV[:15]}
    ),
    "missing column": finetune(
        "{here}/glue/SST-2/train.tsv",
        "'sentence'",
        files={"glue/SST-2/train.tsv": SST2_TSV.replace(b"sent", b"sess")},
    ),
    "row with an extra tab": finetune(
        "{here}/glue/SST-2/train.tsv:4",
        "3 tab-separated",
        "2 expected",
        files={"glue/SST-2/train.tsv": SST2_TSV + b"a\tb\t1\n"},
    ),
    "truncated row": finetune(
        "{here}/glue/SST-2/dev.tsv:4",
        "1 tab-separated",
        files={"glue/SST-2/dev.tsv": SST2_TSV + b"a film"},
    ),
    "unknown label": finetune(
        "{here}/glue/SST-2/train.tsv:4",
        "'2'",
        "0, 1",
        files={"glue/SST-2/train.tsv": SST2_TSV + b"a film\t2\n"},
    ),
    "table is not UTF-8": finetune(
        "{here}/glue/SST-2/train.tsv:4",
        "UTF-8",
        files={"glue/SST-2/train.tsv": SST2_TSV + b"caf\xe9\t1\n"},
    ),
    "score out of range": finetune(
        "{here}/glue/STS-B/dev.tsv:3",
        "'5.5'",
        files={"glue/STS-B/dev.tsv": b"sentence1\tsentence2\tscore\na\tb\t5\na\tb\t5.5\n"},
        config="finetune.py:stsb",
    ),
    "column that is there twice": finetune(
        "{here}/glue/SST-2/train.tsv",
        "'sentence' 2 times",
        files={"glue/SST-2/train.tsv": b"sentence\t" + SST2_TSV},
    ),
    "label that is a list": finetune(
        "{here}/glue/snli_1.0/snli_1.0_train.jsonl:6",
        "['neutral']",
        files=snli_files(snli(gold_label=["neutral"]), snli()),
        config="finetune.py:snli",
    ),
    "label that is a whole number": finetune(
        "{here}/glue/snli_1.0/snli_1.0_dev.jsonl:6",
        "unknown label 1",
        files=snli_files(snli(), snli(gold_label=1)),
        config="finetune.py:snli",
    ),
    "half a surrogate pair in an id": finetune(
        "{here}/glue/snli_1.0/snli_1.0_dev.jsonl:6",
        "'pairID'",
        "surrogate",
        files=snli_files(snli(), snli(pairID="a\ud83d")),
        config="finetune.py:snli",
    ),
    "tab in an id": finetune(
        "{here}/glue/snli_1.0/snli_1.0_dev.jsonl:6",
        "'pairID'",
        "tab",
        files=snli_files(snli(), snli(pairID="a\tb")),
        config="finetune.py:snli",
    ),
    "file of the hub that is no .gz": finetune(
        "{here}/copy/train.jsonl.gz",
        "fetch it again",
        files={"copy/train.jsonl.gz": b"\x1f\x8b\x08", "copy/validation.jsonl": b""},
        settings={"data.source": "hub", "data.path": "{here}/copy"},
    ),
}
