"""Define mistakes in the files of tasks."""

from mistakes.mistake import finetune

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
}
