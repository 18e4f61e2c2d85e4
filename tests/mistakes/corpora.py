"""Define mistakes in corpora and tokenizers."""

from mistakes.mistake import pretrain

MISTAKES = {
    "empty data path": pretrain("config.data.path", settings={"data.path": ""}),
    "missing data folder": pretrain(
        "config.data.path", "{here}/absent", settings={"data.path": "{here}/absent"}
    ),
    "folder without books": pretrain(
        "config.data.path",
        "{here}/run",
        files={"run/book.pdf": b"%"},
        settings={"data.path": "{here}/run"},
    ),
    "empty book": pretrain("{here}/books/void.txt", "empty", files={"books/void.txt": b" \n"}),
    "book is not UTF-8": pretrain(
        "{here}/books/cafe.txt", "byte 3", "UTF-8", files={"books/cafe.txt": b"caf\xe9"}
    ),
    "row is not JSON": pretrain(
        "{here}/books/a.jsonl:2", files={"books/a.jsonl": b'{"text": "a"}\n{"text": \n'}
    ),
    "row without the field": pretrain(
        "{here}/books/a.jsonl:1",
        "'text'",
        "config.data.column",
        files={"books/a.jsonl": b'{"story": "a"}'},
    ),
    "file is not parquet": pretrain("{here}/books/a.parquet", files={"books/a.parquet": b"text"}),
    "lone surrogate": pretrain(
        "{here}/books/a.jsonl:1", "surrogate", files={"books/a.jsonl": b'{"text": "\\ud83d"}'}
    ),
    "row nested too deeply": pretrain(
        "{here}/books/a.jsonl:1",
        "nested too deeply",
        files={"books/a.jsonl": b'{"text": ' + b"[" * 100_000},
    ),
    "only files of other kinds": pretrain(
        "config.data.path: no .txt",
        "only 1 .gz, 1 .md",
        files={"r/a.txt.gz": b"a", "r/b.md": b"b"},
        settings={"data.path": "{here}/r"},
    ),
    "hub unreachable": pretrain(
        "owner/name", "HF_HUB_OFFLINE", settings={"data.corpus": "hub", "data.path": "owner/name"}
    ),
    "bookcorpusopen unreachable": pretrain(
        "lucadiliello", "README.md", settings={"data.corpus": "bookcorpusopen", "data.path": ""}
    ),
    "invalid hub name": pretrain(
        "'name'", "owner/name", settings={"data.corpus": "hub", "data.path": "name"}
    ),
    "local copy without data": pretrain(
        "config.data.path: {here}/run",
        files={"run/x.xyz": b"%"},
        settings={"data.corpus": "hub", "data.path": "{here}/run"},
    ),
    "local copy without the column": pretrain(
        "config.data.column",
        "'text'",
        "story",
        files={"c/a.jsonl": b'{"story": "a"}'},
        settings={"data.corpus": "hub", "data.path": "{here}/c"},
    ),
    "corpus not prepared by TFDS": pretrain(
        "config.data.path",
        "pg19/<version>",
        "array_record",
        settings={"data.corpus": "pg19", "data.path": "{here}/books"},
    ),
    "mixture without weights": pretrain(
        "'text:DIR'", "WEIGHT*CORPUS", settings={"data.corpus": "mixture", "data.path": "text:DIR"}
    ),
    "part with weight zero": pretrain(
        "'0*text:DIR'", "above 0", settings={"data.corpus": "mixture", "data.path": "0*text:DIR"}
    ),
    "part with a tiny weight": pretrain(
        "config.data.path",
        "1e-05",
        settings={
            "data.corpus": "mixture",
            "data.path": "1*text:{here}/books,1e-5*text:{here}/books",
        },
    ),
    "part with an unknown corpus": pretrain(
        "no corpus", "'txt'", settings={"data.corpus": "mixture", "data.path": "1*txt:DIR"}
    ),
    "part shorter than a window": pretrain(
        "training part text2",
        files={"s/a.txt": b"a ship", "s/b.txt": b"a sea"},
        settings={
            "data.corpus": "mixture",
            "data.path": "1*text:{here}/books,1*text:{here}/s",
            "data.validation": 0.5,
        },
    ),
    "single document": pretrain(
        "config.data.validation", "1 documents", settings={"data.path": "{here}/books/book_0.txt"}
    ),
    "corpus shorter than a window": pretrain(
        "config.batch_size",
        files={"s/a.txt": b"a ship", "s/b.txt": b"a sea"},
        settings={"data.path": "{here}/s"},
    ),
    "vocabulary too small": pretrain(
        "config.tokenizer.vocab_size: 20", "more than", settings={"tokenizer.vocab_size": 20}
    ),
    "missing tokenizer": pretrain("{here}/t.json", settings={"tokenizer.path": "{here}/t.json"}),
    "file is not a tokenizer": pretrain(
        "{here}/t.json",
        "tokenizer.json",
        files={"t.json": b"{}"},
        settings={"tokenizer.path": "{here}/t.json"},
    ),
    "cache not writable": pretrain(
        "config.data.cache", settings={"data.cache": "{here}/books/book_0.txt"}
    ),
}
