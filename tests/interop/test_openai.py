"""The published files, of a small model in the published layout, become the folder of a pretraining run."""

import functools
import json
import pathlib
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cli_fixtures import REPOSITORY
from flax.traverse_util import flatten_dict

from gpt1_jax.datasets import tokens
from gpt1_jax.datasets.documents import Documents
from gpt1_jax.errors import UserError
from gpt1_jax.interop import openai
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.models.transformer import Transformer
from gpt1_jax.runs import reader
from gpt1_jax.text import bpe

CONTEXT, LAYERS, WIDTH, FFN = 16, 2, 128, 192
# The order of the published tensors, written once more: of a block, and our names for them.
BLOCK = (
    "attn.c_attn.kernel attn.c_attn.bias attn.c_proj.kernel attn.c_proj.bias ln_1.scale ln_1.bias "
)
BLOCK += "mlp.c_fc.kernel mlp.c_fc.bias mlp.c_proj.kernel mlp.c_proj.bias ln_2.scale ln_2.bias"


def shapes(rows: int, layers: int = LAYERS) -> list[list[int]]:
    block = [[1, WIDTH, 3 * WIDTH], [3 * WIDTH], [1, WIDTH, WIDTH], [WIDTH], [WIDTH], [WIDTH]]
    block += [[1, WIDTH, FFN], [FFN], [1, FFN, WIDTH], [WIDTH], [WIDTH], [WIDTH]]
    return [[CONTEXT, WIDTH], [rows, WIDTH], *layers * block]


@pytest.fixture
def source(tmp_path) -> pathlib.Path:
    folder = tmp_path / "published"
    publish(folder, LAYERS)
    return folder


def publish(folder: pathlib.Path, layers: int) -> None:
    """Makes a folder of published files: numbers that count up from 0 to 1 over all the tensors, in ten pieces of equal length."""
    folder.mkdir()
    learnt = bpe.train(lambda: ["the old king saw a ship, and the new queen sang.\n"] * 3, 90)
    learnt.save(folder / "tokenizer.json")
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "tokenizer.json").unlink()
    (folder / "encoder_bpe_40000.json").write_text(json.dumps(model["vocab"]))
    lines = ["#version: 0.2", *map(" ".join, model["merges"])]
    (folder / "vocab_40000.bpe").write_text("\n".join(lines) + "\n")
    wanted = shapes(learnt.vocab_size, layers)
    (folder / "params_shapes.json").write_text(json.dumps(wanted))
    numbers = np.linspace(0, 1, sum(map(int, map(np.prod, wanted))), dtype=np.float32)
    for number, piece in enumerate(np.array_split(numbers, 10)):
        np.save(folder / f"params_{number}.npy", piece)


def test_every_number_lands_where_it_belongs(source, tmp_path):
    said = openai.import_run(source, str(tmp_path / "run"), "approximate")
    run = reader.open_saved(str(tmp_path / "run"), "--checkpoint")
    assert (run.body, run.steps) == ("transformer", [0])
    sizes = dict(context=CONTEXT, layers=LAYERS, width=WIDTH, heads=2, ffn=FFN)
    assert run.sizes == sizes | dict(
        embd_dropout=0.1, attn_dropout=0.1, resid_dropout=0.1, dtype="float32"
    )
    params = flatten_dict(run.params(0), sep=".")
    numbers, place = (
        np.concatenate([np.load(source / f"params_{number}.npy") for number in range(10)]),
        0,
    )
    names = [
        "positions",
        "tokens",
        *(f"h{layer}.{name}" for layer in range(LAYERS) for name in BLOCK.split()),
    ]
    for name, shape in zip(names, shapes(run.tokenizer.vocab_size), strict=True):
        size = int(np.prod(shape))
        found = params.pop(name)
        np.testing.assert_array_equal(
            found, numbers[place : place + size].reshape(found.shape), strict=True
        )
        assert list(found.shape) == (shape[1:] if "kernel" in name else shape)
        place += size
    assert not params and place == len(numbers)
    assert (
        f"{place} params, sha256 {run.config['origin']['params_sha256']}; words by gpt1_jax.text.standardize"
        in said
    )
    assert openai.import_run(source, str(tmp_path / "run"), "approximate") == said  # found finished
    model = LanguageModel(Transformer(run.tokenizer.vocab_size, **sizes))
    assert jax.tree.map(jnp.shape, run.params(0)) == initialised(model)


def initialised(model: LanguageModel) -> dict:
    """The shapes of its params; none is made."""
    init = functools.partial(model.init, train=False)
    return jax.tree.map(
        jnp.shape, jax.eval_shape(init, jax.random.key(0), jnp.zeros((1, 4), jnp.int32))["params"]
    )


def test_the_published_shapes_are_those_of_the_model(real_data):
    sizes, rows = openai.read_sizes(real_data / "openai_gpt1")
    assert (sizes, rows) == (dict(context=512, layers=12, width=768, heads=12, ffn=3072), 40478)
    layout = openai.layout(sizes, rows)
    wanted = flatten_dict(initialised(LanguageModel(Transformer(rows))), sep="/")
    assert {
        name: shape[1:] if "kernel" in name else shape for name, shape in layout.items()
    } == wanted
    assert openai.read_tokenizer(real_data / "openai_gpt1", "approximate", rows).vocab_size == 40478


def test_an_imported_run_is_finetuned_with_the_published_words(gpt1, finetuning, books, tmp_path):
    pytest.importorskip("ftfy")
    pytest.importorskip("spacy")
    import original_tokens

    source = tmp_path / "published"
    publish(source, layers=1)
    said = openai.import_run(source, str(tmp_path / "run"), "published")
    assert said.endswith(reader.PretrainedRun(str(tmp_path / "run")).tokenizer.word_pipeline)
    result = gpt1.result(
        "finetune.py:rte", tmp_path / "rte", finetuning() | {"init.path": tmp_path / "run"}
    )
    assert result["init"]["step"] == 0
    # A corpus is prepared with its tokenizer as with any other; spaCy keeps "Mr." whole, which our approximation does not.
    merges = (source / "vocab_40000.bpe").read_text().split("\n")[1:-1]
    original = original_tokens.Original(
        json.loads((source / "encoder_bpe_40000.json").read_text()),
        (tuple(line.split()) for line in merges),
    )
    texts = [
        "Mr. King saw\na ship.",
        *(book.read_text().strip() for book in sorted(books.iterdir())),
    ]
    documents = Documents(lambda: ([text] for text in texts), "f", 100)
    tokenizer = bpe.load(tmp_path / "rte/tokenizer.json")
    prepared = tokens.prepare(
        documents, tokenizer, rewrap_lines=False, validation=0.0, cache=str(tmp_path / "cache")
    )
    newline = original.encoder["\n</w>"]
    assert prepared.splits["train"].tolist() == [
        number for text in texts for number in [*original.encode(text), newline]
    ]


def piece(change):
    def spoil(folder):
        np.save(folder / "params_3.npy", change(np.load(folder / "params_3.npy")))

    return spoil


def edited(name, change):
    """Spoils a JSON file."""

    def spoil(folder):
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return spoil


def merges(change):
    def spoil(folder):
        (folder / "vocab_40000.bpe").write_text(change((folder / "vocab_40000.bpe").read_text()))

    return spoil


SHAPES, ENCODER = "params_shapes.json", "encoder_bpe_40000.json"
BAD = {
    "no folder": (
        lambda folder: folder.rename(folder.with_name("moved")),
        r"params_shapes\.json: cannot be read \(No such file",
    ),
    "no shapes": (
        lambda folder: (folder / SHAPES).unlink(),
        r"params_shapes\.json: cannot be read",
    ),
    "shapes no JSON": (
        lambda folder: (folder / SHAPES).write_text("[[1"),
        r"params_shapes\.json: not valid JSON",
    ),
    "shapes no shapes": (
        lambda folder: (folder / SHAPES).write_text('{"a": 1}'),
        r"params_shapes\.json: not the shapes of",
    ),
    "a shape too few": (
        edited(SHAPES, lambda shapes: shapes.pop()),
        r"shape 26 is missing, \(128,\) expected \(h1/ln_2/bias\)",
    ),
    "a shape too many": (
        edited(SHAPES, lambda shapes: shapes.append([1])),
        r"shape 27 is \(1,\), \(1, 128, 384\) expected \(h2/attn/c_attn/kernel\)",
    ),
    "another shape": (
        edited(SHAPES, lambda shapes: shapes[16].__setitem__(1, 5)),
        r"params_shapes\.json: shape 17 is \(1, 5, 128\), \(1, 128, 128\) expected \(h1/attn/c_proj/kernel\)",
    ),
    "a width that has no heads": (
        edited(SHAPES, lambda shapes: [row.__setitem__(1, 100) for row in shapes[:2]]),
        "a width of 64 a head",
    ),
    "no vocabulary": (
        lambda folder: (folder / ENCODER).unlink(),
        r"encoder_bpe_40000\.json: cannot be read",
    ),
    "a word too few": (
        edited(ENCODER, lambda vocab: vocab.popitem()),
        r"encoder_bpe_40000\.json: \d+ ids, but params_shapes\.json has \d+ ",
    ),
    "an id twice": (
        edited(ENCODER, lambda vocab: vocab.update(a=7)),
        r"encoder_bpe_40000\.json and vocab_40000\.bpe: ids are not 0 to",
    ),
    "no unknown": (
        edited(ENCODER, lambda vocab: vocab.update(x=vocab.pop("<unk>"))),
        "with <unk> as 0",
    ),
    "not UTF-8": (
        lambda folder: (folder / "vocab_40000.bpe").write_bytes(b"\xff"),
        r"vocab_40000\.bpe: cannot be read \(not UTF-8\)",
    ),
    "a merge of one": (
        merges(lambda text: text.replace("\n", "\nt\n", 1)),
        r"vocab_40000\.bpe: line 2 is not two pieces",
    ),
    "merges of others": (
        merges(lambda text: text + "\u4e00 \u4e01\n"),
        r"vocab_40000\.bpe: the merges do not belong",
    ),
    "a piece missing": (
        lambda folder: (folder / "params_9.npy").unlink(),
        r"params_9\.npy: not there",
    ),
    "float64": (piece(lambda array: array.astype(float)), r"params_3\.npy: holds float64 of shape"),
    "two axes": (
        piece(lambda array: array[None]),
        r"params_3\.npy: holds float32 of shape \(1, \d+\), a row of float32",
    ),
    "objects": (
        piece(lambda array: np.array([{}, None])),
        r"params_3\.npy: cannot be read as an array of numbers",
    ),
    "no array": (
        lambda folder: (folder / "params_3.npy").write_bytes(b"\x93NUMPY"),
        r"params_3\.npy: cannot be read as an array",
    ),
    "empty": (
        lambda folder: (folder / "params_3.npy").write_bytes(b""),
        r"params_3\.npy: cannot be read as an array",
    ),
    "not a number": (
        piece(lambda array: np.where(array == array[5], np.nan, array)),
        r"params_3\.npy: holds a number that is not finite",
    ),
    "too short": (
        piece(lambda array: array[:-1]),
        r"params_0\.npy to params_9\.npy: \d+ numbers, \d+ expected by params_shapes\.json",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_imported_is_told_in_one_line_and_leaves_nothing(source, tmp_path, name):
    spoil, message = BAD[name]
    spoil(source)
    with pytest.raises(UserError, match=message) as told:
        openai.import_run(source, str(tmp_path / "run"), "approximate")
    assert "\n" not in str(told.value) and re.match(re.escape(str(source)), str(told.value))
    assert not (tmp_path / "run").exists()


def test_the_published_words_are_refused_without_their_libraries(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ftfy", None)
    with pytest.raises(
        UserError,
        match=r"^the published text pipeline: needs ftfy, .*'gpt1_jax\[openai\]'.*--text=approximate$",
    ):
        openai.import_run(source, str(tmp_path / "run"), "published")
    assert not (tmp_path / "run").exists()


def test_command_line_without_the_libraries(source, tmp_path):
    script = "import runpy, sys; sys.modules['ftfy'] = None; runpy.run_module('gpt1_jax.main', run_name='__main__', alter_sys=True)"
    command = [
        sys.executable,
        "-c",
        script,
        "import",
        f"--source={source}",
        f"--workdir={tmp_path}/run",
        "--text=approximate",
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        0,
        "",
    ) and f"{tmp_path}/run: context {CONTEXT}, layers {LAYERS}" in done.stdout
