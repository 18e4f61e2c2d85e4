"""Test the import of OpenAI's published files, with a small model in the published layout."""

import functools
import json
import pathlib
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
# Names of a block's params in the order of the published tensors.
BLOCK = (
    "attn.c_attn.kernel attn.c_attn.bias attn.c_proj.kernel attn.c_proj.bias ln_1.scale ln_1.bias "
)
BLOCK += "mlp.c_fc.kernel mlp.c_fc.bias mlp.c_proj.kernel mlp.c_proj.bias ln_2.scale ln_2.bias"


def published_shapes(token_rows: int, layers: int = LAYERS) -> list[list[int]]:
    block = [[1, WIDTH, 3 * WIDTH], [3 * WIDTH], [1, WIDTH, WIDTH], [WIDTH], [WIDTH], [WIDTH]]
    block += [[1, WIDTH, FFN], [FFN], [1, FFN, WIDTH], [WIDTH], [WIDTH], [WIDTH]]
    return [[CONTEXT, WIDTH], [token_rows, WIDTH], *layers * block]


@pytest.fixture
def source(tmp_path) -> pathlib.Path:
    folder = tmp_path / "published"
    write_published_files(folder, LAYERS)
    return folder


def write_published_files(folder: pathlib.Path, layers: int) -> None:
    """Write a folder of published files.

    The params increase from 0 to 1 over all tensors, in ten files of equal length.
    """
    folder.mkdir()
    text = "the old king saw a ship, and the new queen sang.\n"
    tokenizer = bpe.train(lambda: [text] * 3, 90)
    tokenizer.save(folder / "tokenizer.json")
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "tokenizer.json").unlink()
    (folder / "encoder_bpe_40000.json").write_text(json.dumps(model["vocab"]))
    lines = ["#version: 0.2", *map(" ".join, model["merges"])]
    (folder / "vocab_40000.bpe").write_text("\n".join(lines) + "\n")
    shapes = published_shapes(tokenizer.vocab_size, layers)
    (folder / "params_shapes.json").write_text(json.dumps(shapes))
    numbers = np.linspace(0, 1, sum(map(int, map(np.prod, shapes))), dtype=np.float32)
    for number, part in enumerate(np.array_split(numbers, 10)):
        np.save(folder / f"params_{number}.npy", part)


def model_shapes(model: LanguageModel) -> dict:
    """Return the shapes of the model's params without creating the params."""
    init = functools.partial(model.init, train=False)
    params = jax.eval_shape(init, jax.random.key(0), jnp.zeros((1, 4), jnp.int32))["params"]
    return jax.tree.map(jnp.shape, params)


def test_params_are_split_in_the_published_order(source, tmp_path):
    openai.import_run(source, str(tmp_path / "run"), "approximate")
    run = reader.open_saved(str(tmp_path / "run"), "--checkpoint")
    params = flatten_dict(run.params(0), sep=".")
    numbers = np.concatenate([np.load(source / f"params_{number}.npy") for number in range(10)])
    blocks = (f"h{layer}.{name}" for layer in range(LAYERS) for name in BLOCK.split())
    names = ["positions", "tokens", *blocks]
    offset = 0
    for name, shape in zip(names, published_shapes(run.tokenizer.vocab_size), strict=True):
        param, size = params.pop(name), int(np.prod(shape))
        expected = numbers[offset : offset + size].reshape(param.shape)
        np.testing.assert_array_equal(param, expected, strict=True)
        assert list(param.shape) == (shape[1:] if "kernel" in name else shape)
        offset += size
    assert not params and offset == len(numbers)


def test_imported_run_has_the_sizes_of_the_files(source, tmp_path):
    line = openai.import_run(source, str(tmp_path / "run"), "approximate")
    run = reader.open_saved(str(tmp_path / "run"), "--checkpoint")
    assert (run.body, run.steps) == ("transformer", [0])
    sizes = dict(context=CONTEXT, layers=LAYERS, width=WIDTH, heads=2, ffn=FFN)
    dropout = dict(embd_dropout=0.1, attn_dropout=0.1, resid_dropout=0.1)
    assert run.sizes == {**sizes, **dropout, "dtype": "float32"}
    model = LanguageModel(Transformer(run.tokenizer.vocab_size, **sizes))
    assert jax.tree.map(jnp.shape, run.params(0)) == model_shapes(model)
    count = sum(array.size for array in jax.tree.leaves(run.params(0)))
    sha256 = run.config["origin"]["params_sha256"]
    assert f"{count} params, sha256 {sha256}; words by gpt1_jax.text.standardize" in line
    # The second import finds the run finished.
    assert openai.import_run(source, str(tmp_path / "run"), "approximate") == line


def test_published_shapes_are_those_of_the_model(real_data):
    source = real_data / "openai_gpt1"
    sizes, token_rows = openai.read_sizes(source)
    assert sizes == dict(context=512, layers=12, width=768, heads=12, ffn=3072)
    assert token_rows == 40478
    shapes = {
        name: shape[1:] if "kernel" in name else shape
        for name, shape in openai.published_shapes(sizes, token_rows).items()
    }
    model = LanguageModel(Transformer(token_rows))
    assert shapes == flatten_dict(model_shapes(model), sep="/")
    tokenizer = openai.read_tokenizer(source, "approximate", token_rows)
    assert tokenizer.vocab_size == 40478


def test_imported_run_is_finetuned_with_the_published_pipeline(gpt1, finetuning, books, tmp_path):
    pytest.importorskip("ftfy")
    pytest.importorskip("spacy")
    import original_tokens

    source = tmp_path / "published"
    write_published_files(source, layers=1)
    line = openai.import_run(source, str(tmp_path / "run"), "published")
    assert line.endswith(reader.PretrainedRun(str(tmp_path / "run")).tokenizer.word_pipeline)
    settings = finetuning() | {"init.path": tmp_path / "run"}
    result = gpt1.result("finetune.py:rte", tmp_path / "rte", settings)
    assert result["init"]["step"] == 0
    # A corpus is tokenized as with any other tokenizer. spaCy keeps "Mr." as one word, and the
    # approximation does not.
    merges = (source / "vocab_40000.bpe").read_text().split("\n")[1:-1]
    original = original_tokens.Original(
        json.loads((source / "encoder_bpe_40000.json").read_text()),
        (tuple(line.split()) for line in merges),
    )
    stripped = [book.read_text().strip() for book in sorted(books.iterdir())]
    texts = ["Mr. King saw\na ship.", *stripped]
    documents = Documents(lambda: ([text] for text in texts), "f", 100)
    tokenizer = bpe.load(tmp_path / "rte/tokenizer.json")
    prepared = tokens.prepare(
        documents, tokenizer, rewrap_lines=False, validation=0.0, cache=str(tmp_path / "cache")
    )
    newline = original.encoder["\n</w>"]
    ids = [number for text in texts for number in [*original.encode(text), newline]]
    assert prepared.splits["train"].tolist() == ids


def with_array(change):
    def damage(folder):
        np.save(folder / "params_3.npy", change(np.load(folder / "params_3.npy")))

    return damage


def with_json(name, change):
    def damage(folder):
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return damage


def with_merges(change):
    def damage(folder):
        (folder / MERGES).write_text(change((folder / MERGES).read_text()))

    return damage


def with_bytes(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def without_file(name):
    return lambda folder: (folder / name).unlink()


def without_heads(shapes):
    for shape in shapes[:2]:
        shape[1] = 100


SHAPES, ENCODER, MERGES = "params_shapes.json", "encoder_bpe_40000.json", "vocab_40000.bpe"
DAMAGES = {
    "no folder": (
        lambda folder: folder.rename(folder.with_name("moved")),
        r"params_shapes\.json: no such file; give the folder of the published files",
    ),
    "no shapes": (
        without_file(SHAPES),
        r"params_shapes\.json: no such file; give the folder of the published files",
    ),
    "shapes are not JSON": (
        with_bytes(SHAPES, b"[[1"),
        r"params_shapes\.json: not valid JSON",
    ),
    "shapes are an object": (
        with_bytes(SHAPES, b'{"a": 1}'),
        r"params_shapes\.json: does not hold the shapes of",
    ),
    "one shape too few": (
        with_json(SHAPES, lambda shapes: shapes.pop()),
        r"shape 26 is missing, \(128,\) is expected \(h1/ln_2/bias\)",
    ),
    "one shape too many": (
        with_json(SHAPES, lambda shapes: shapes.append([1])),
        r"shape 27 is \(1,\), \(1, 128, 384\) is expected \(h2/attn/c_attn/kernel\)",
    ),
    "other shape": (
        with_json(SHAPES, lambda shapes: shapes[16].__setitem__(1, 5)),
        r"params_shapes\.json: shape 17 is \(1, 5, 128\), \(1, 128, 128\) is expected "
        r"\(h1/attn/c_proj/kernel\)",
    ),
    "width does not divide into heads": (
        with_json(SHAPES, without_heads),
        "a width that is a multiple of 64",
    ),
    "no vocabulary": (
        without_file(ENCODER),
        r"encoder_bpe_40000\.json: no such file; give the folder of the published files",
    ),
    "one entry too few": (
        with_json(ENCODER, lambda vocab: vocab.popitem()),
        r"encoder_bpe_40000\.json: holds \d+ ids, but params_shapes\.json has \d+ ",
    ),
    "repeated id": (
        with_json(ENCODER, lambda vocab: vocab.update(a=7)),
        r"encoder_bpe_40000\.json and vocab_40000\.bpe: ids are not 0 to",
    ),
    "no unknown token": (
        with_json(ENCODER, lambda vocab: vocab.update(x=vocab.pop("<unk>"))),
        "with <unk> as 0",
    ),
    "merges are not UTF-8": (
        with_bytes(MERGES, b"\xff"),
        r"vocab_40000\.bpe: cannot be read \(not UTF-8\)",
    ),
    "merge of one piece": (
        with_merges(lambda text: text.replace("\n", "\nt\n", 1)),
        r"vocab_40000\.bpe: line 2 is not two BPE pieces",
    ),
    "merges of another vocabulary": (
        with_merges(lambda text: text + "\u4e00 \u4e01\n"),
        r"vocab_40000\.bpe: the merges do not belong",
    ),
    "one params file is missing": (
        without_file("params_9.npy"),
        r"params_9\.npy: no such file; give the folder with all of params_0\.npy to params_9",
    ),
    "float64": (
        with_array(lambda array: array.astype(float)),
        r"params_3\.npy: holds float64 of shape",
    ),
    "two axes": (
        with_array(lambda array: array[None]),
        r"params_3\.npy: holds float32 of shape \(1, \d+\), a vector of float32",
    ),
    "objects": (
        with_array(lambda array: np.array([{}, None])),
        r"params_3\.npy: cannot be read as an array of numbers",
    ),
    "truncated array": (
        with_bytes("params_3.npy", b"\x93NUMPY"),
        r"params_3\.npy: cannot be read as an array",
    ),
    "empty file": (
        with_bytes("params_3.npy", b""),
        r"params_3\.npy: cannot be read as an array",
    ),
    "not finite": (
        with_array(lambda array: np.where(array == array[5], np.nan, array)),
        r"params_3\.npy: holds a number that is not finite",
    ),
    "one number too few": (
        with_array(lambda array: array[:-1]),
        r"params_0\.npy to params_9\.npy: hold \d+ numbers, \d+ are expected by params_shapes",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_files_are_refused_in_one_line(source, tmp_path, name):
    damage, message = DAMAGES[name]
    damage(source)
    with pytest.raises(UserError, match=message) as refusal:
        openai.import_run(source, str(tmp_path / "run"), "approximate")
    text = str(refusal.value)
    assert "\n" not in text and text.startswith(str(source))
    assert not (tmp_path / "run").exists()


def test_published_pipeline_is_refused_without_its_libraries(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ftfy", None)
    message = (
        r"^the published text pipeline: needs ftfy, .*'gpt1_jax\[openai\]'.*--text=approximate$"
    )
    with pytest.raises(UserError, match=message):
        openai.import_run(source, str(tmp_path / "run"), "published")
    assert not (tmp_path / "run").exists()


def test_import_command_needs_no_libraries_for_the_approximation(source, tmp_path):
    script = (
        "import runpy, sys; sys.modules['ftfy'] = None; "
        "runpy.run_module('gpt1_jax.main', run_name='__main__', alter_sys=True)"
    )
    arguments = ["import", f"--source={source}", f"--workdir={tmp_path}/run", "--text=approximate"]
    ended = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"{tmp_path}/run: context {CONTEXT}, layers {LAYERS}" in ended.stdout
