"""Runs in Hugging Face's openai-gpt format: what transformers computes from a folder of ours, and ours from one of theirs."""

import json
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
import safetensors.numpy

from gpt1_jax.datasets import sources
from gpt1_jax.errors import UserError
from gpt1_jax.interop import hf_tokenizer, hf_weights, huggingface, model_card
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.registry import MODELS, TASKS
from gpt1_jax.runs import reader
from gpt1_jax.text import bpe, formats

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()

CLOSE = 1e-5


def ours(sizes: dict, rows: int):
    """(params, ids) -> hidden states and logits of the tokens, by our body."""
    body = MODELS["transformer"](rows, **sizes)

    @jax.jit
    def states(params, ids):
        hidden, table = LanguageModel(body).apply({"params": params}, ids, train=False)
        return hidden, hidden @ table[:rows].T

    return states


def furthest(ours, model, ids: np.ndarray) -> tuple[float, float]:
    """The largest difference in hidden states and logits between what `ours` gave and a model of theirs gives; the largest number."""
    with torch.no_grad():
        output = model(torch.from_numpy(ids), output_hidden_states=True)
    pairs = zip(ours, (output.hidden_states[-1], output.logits), strict=True)
    measured = [
        (np.abs(np.asarray(mine) - theirs.numpy()).max(), theirs.abs().max())
        for mine, theirs in pairs
    ]
    return tuple(float(max(column)) for column in zip(*measured, strict=True))


def vocabulary(folder, size: int) -> None:
    """Writes vocab.json and merges.txt of so many words, a newline and a few letters among them."""
    words = ["<unk>", "a", "b", "\n", "a</w>", "b</w>", "\n</w>", "ab</w>"]
    words += [f"word{number}" for number in range(size - len(words))]
    (folder / "vocab.json").write_text(
        json.dumps({word: number for number, word in enumerate(words)})
    )
    (folder / "merges.txt").write_text("#version: 0.2\na b</w>\n")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A model of theirs at the published size, every number of it random, and the folder it is saved in."""
    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(0)
    with torch.device("meta"):
        model = transformers.OpenAIGPTLMHeadModel(transformers.OpenAIGPTConfig())
    model = model.to_empty(device="cpu").eval()
    model.tie_weights()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            tensor.normal_(float("ln_" in name and name.endswith("weight")), 0.02)
        for name, tensor in model.named_buffers():  # constants, which no file holds
            count = tensor.shape[-1]
            tensor.copy_(
                torch.arange(count)
                if name.endswith("position_ids")
                else torch.tril(torch.ones(count, count))
            )
    model.save_pretrained(folder)
    vocabulary(folder, 40_478)
    yield model, folder
    shutil.rmtree(folder)


def test_published_size_in_and_out(published, tmp_path, parity):
    model, folder = published
    huggingface.import_run(str(folder), str(tmp_path / "run"), text="approximate")
    run = reader.open_saved(str(tmp_path / "run"), "--workdir")
    assert (run.body, run.sizes["layers"], run.sizes["ffn"], run.tokenizer.vocab_size) == (
        "transformer",
        12,
        3072,
        40_478,
    )
    assert run.config["origin"]["left_out"] == []
    params, states = run.params(0), ours(run.sizes, 40_478)
    ids = np.random.default_rng(0).integers(0, 40_478, size=(2, 9))
    difference, _ = furthest(states(params, ids), model, ids)
    parity(
        "12 layers imported from transformers, N(0, 0.02): hidden states and logits",
        difference,
        CLOSE,
    )

    huggingface.export_run(str(tmp_path / "run"), str(tmp_path / "out"))
    shutil.rmtree(tmp_path / "run")
    stored = safetensors.numpy.load_file(tmp_path / "out/model.safetensors")
    given = dict(model.named_parameters())
    assert stored.keys() == given.keys() and len(stored) == 146
    changed = sum(
        array.tobytes() != given[name].detach().numpy().tobytes() for name, array in stored.items()
    )
    parity("and exported again: tensors of 146 that are not the same bit for bit", changed, 0)
    shutil.rmtree(tmp_path / "out")

    larger = {name: array if "ln_" in name else 4 * array for name, array in stored.items()}
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            tensor.copy_(torch.from_numpy(larger[name]))
    params, _ = hf_weights.to_params(larger, run.sizes, 40_478, "larger")
    difference, largest = furthest(states(params, ids), model, ids)
    # Theirs in float32 are as far from theirs in float64.
    parity(
        "with weights four times as large, relative to the largest logit",
        difference / largest,
        CLOSE,
    )


def test_pretrained_run(pretrained, tmp_path):
    workdir = pretrained()
    written = huggingface.export_run(str(workdir), str(tmp_path / "out"))
    assert written == sorted(
        [
            "README.md",
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
        ]
    )
    run = reader.open_saved(str(workdir), "--workdir")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    ids = np.random.default_rng(0).integers(0, run.tokenizer.vocab_size, size=(3, 32))
    assert (
        furthest(ours(run.sizes, run.tokenizer.vocab_size)(run.params(20), ids), model, ids)[0]
        <= CLOSE
    )
    assert model.generate(do_sample=False, max_new_tokens=4)[0, 0] == run.tokenizer.newline

    result = json.loads((workdir / "result.json").read_text())
    page = (tmp_path / "out/README.md").read_text()
    assert (
        f"{result['validation_perplexity']:.4g}" in page
        and "20 updates of 4 windows of 32 tokens" in page
    )
    capture = {}
    exec(code(page, tmp_path / "out"), capture)
    assert capture["prompt"].input_ids[0, 0] == run.tokenizer.newline

    huggingface.export_run(str(workdir), str(tmp_path / "again"))
    for name in written:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), (
            f"{name} is not reproducible"
        )
    made = huggingface.import_run(str(tmp_path / "out"), str(tmp_path / "back"))
    assert (made["params_sha256"], made["origin"]["left_out"]) == (result["params_sha256"], [])
    back = reader.open_saved(str(tmp_path / "back"), "--workdir")
    assert (back.sizes, back.tokenizer.fingerprint) == (run.sizes, run.tokenizer.fingerprint)
    huggingface.export_run(str(tmp_path / "back"), str(tmp_path / "third"))
    assert "Its weights come from elsewhere" in (tmp_path / "third/README.md").read_text()


TEXTS = [
    "The old king saw a house.",
    "  the sea,\n\nand the \u201chill\u201d\t\u2014 don't!  \n",
    "\n",
    "",
    "xylophone 1234 caf\u00e9 cafe\u0301 \u4e2d",
    "a" * 40,
    "<unk> _start_ ship _classify_",
]


@pytest.mark.parametrize("specials", [False, True])
def test_tokenizers_agree(pretrained, tmp_path, specials):
    tokenizer = reader.open_saved(str(pretrained()), "--workdir").tokenizer
    hf_tokenizer.write(tmp_path, tokenizer, context=32, specials=specials)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert len(theirs) == tokenizer.vocab_size + 3 * specials
    mine = tokenizer.encode(TEXTS)
    assert [theirs(text.strip(), split_special_tokens=True).input_ids for text in TEXTS] == mine
    assert [theirs(text.strip()).input_ids for text in TEXTS[:-1]] == mine[:-1]
    assert theirs("\n the sea \n").input_ids == [
        tokenizer.newline,
        *tokenizer.encode(["the sea"])[0],
        tokenizer.newline,
    ]
    assert [theirs.decode(ids) for ids in mine] == [tokenizer.decode(ids) for ids in mine]
    assert "\n" in theirs.decode([tokenizer.newline, 5], skip_special_tokens=True)
    assert (theirs.pad_token_id, theirs.unk_token_id, theirs.bos_token_id, theirs.eos_token_id) == (
        0,
        0,
        None,
        None,
    )


def code(page: str, folder) -> str:
    """The Python of a card, for the folder."""
    (found,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    return found.replace('folder = "."', f"folder = {str(folder)!r}")


TWO = "_start_ {} _delimiter_ {} _classify_"
# A head well away from 0, and texts that are cut.
FAR = {"optim.lr": 1e-2, "model.context": 16}
# Task, further settings, the class of theirs, an example as text.
TASK_RUNS = {
    "single": ("sst2", {}, "OpenAIGPTForSequenceClassification", "_start_ {} _classify_"),
    "pair": ("rte", {}, "OpenAIGPTForSequenceClassification", TWO),
    "similarity": ("mrpc", FAR, "OpenAIGPTForSequenceClassification", TWO),
    "graded": ("stsb", {}, "OpenAIGPTForSequenceClassification", TWO),
    "regression": ("stsb", {"regression": True}, "OpenAIGPTForSequenceClassification", TWO),
    "choice": (
        "race_middle",
        {},
        "OpenAIGPTDoubleHeadsModel",
        "_start_ {} {} _delimiter_ {} _classify_",
    ),
}


@pytest.fixture(scope="module")
def finetuned(gpt1, finetuning, choices, tmp_path_factory):
    """finetuned(kind): the folder of a finished run, made once."""
    made = {}

    def run(kind: str):
        if kind not in made:
            task, further, _, _ = TASK_RUNS[kind]
            made[kind] = tmp_path_factory.mktemp("finetuned") / kind
            data = {"data.path": choices} if kind == "choice" else {}
            gpt1.result(f"finetune.py:{task}", made[kind], finetuning() | data | further)
        return made[kind]

    return run


@pytest.mark.parametrize("kind", TASK_RUNS)
def test_finetuned_run(finetuned, glue, choices, tmp_path, parity, kind):
    name, _, architecture, marked = TASK_RUNS[kind]
    huggingface.export_run(str(finetuned(kind)), str(tmp_path / "out"))
    run, page = (
        reader.open_saved(str(finetuned(kind)), "--workdir"),
        (tmp_path / "out/README.md").read_text(),
    )
    params = run.params(run.step)
    if kind == "similarity":
        assert np.abs(params["clf"]["bias"]).max() > 1e-3, "a bias of 0 would prove nothing"
    assert json.loads((tmp_path / "out/config.json").read_text())["architectures"] == [architecture]

    # What the card shows gives our predictions.
    shown = {}
    exec(code(page, tmp_path / "out"), shown)
    read = sources.load(
        TASKS[name],
        "validation",
        source="files",
        path=str(choices if kind == "choice" else glue),
        max_bad_rows=0,
    )
    header, *lines = (finetuned(kind) / "predictions/validation.tsv").read_text().splitlines()
    assert len(lines) == len(read.examples) == 6
    columns = header.split("\t")
    for example, line in zip(read.examples, lines, strict=True):
        index, prediction, _, *probabilities = line.split("\t")
        assert index == example.id
        if probabilities:
            theirs = shown["probabilities"](*example.segments).numpy()
            parity(
                "finetuned runs exported with their heads: class probabilities",
                np.abs(theirs - np.array(probabilities, float)).max(),
                CLOSE,
            )
        if kind in ("graded", "regression"):
            np.testing.assert_allclose(
                shown["score"](*example.segments), float(prediction), atol=1e-4, rtol=0
            )

    # Names of the classes; the marks in a text; the language model inside.
    model = shown["model"]
    assert type(model).__name__ == architecture
    if kind in ("single", "pair", "similarity"):
        assert [f"p({model.config.id2label[number]})" for number in range(2)] == columns[3:]
    texts = read.examples[0].segments[: marked.count("{}")]
    segments = run.tokenizer.encode(texts)
    stream, *_ = formats.streams(
        run.streams["format"], segments, run.tokenizer, run.streams["context"], answers=1
    )
    assert shown["tokenizer"](marked.format(*texts)).input_ids == stream
    language = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    rows = run.tokenizer.vocab_size + 3
    ids = np.random.default_rng(0).integers(0, rows, size=(2, run.sizes["context"]))
    assert (
        furthest(
            ours(run.sizes, rows)({key: params[key] for key in params if key != "clf"}, ids),
            language,
            ids,
        )[0]
        <= CLOSE
    )


def test_finetuned_run_comes_back_without_its_head(finetuned, tmp_path):
    for lm in (False, True):
        huggingface.export_run(str(finetuned("pair")), str(tmp_path / f"out{lm}"), lm=lm)
        huggingface.import_run(str(tmp_path / f"out{lm}"), str(tmp_path / f"back{lm}"))
        back, run = (
            reader.open_saved(str(tmp_path / f"back{lm}"), "--workdir"),
            reader.open_saved(str(finetuned("pair")), "--workdir"),
        )
        words = run.tokenizer.vocab_size
        head = [] if lm else ["score.weight"]
        assert back.config["origin"]["left_out"] == [
            *head,
            f"tokens_embed.weight[{words}:{words + 3}]",
        ]
        assert back.tokenizer.fingerprint == run.tokenizer.fingerprint
        params = run.params(run.step)
        np.testing.assert_array_equal(back.params(0)["tokens"], params["tokens"][:words])
        np.testing.assert_array_equal(
            back.params(0)["h1"]["ln_2"]["bias"], params["h1"]["ln_2"]["bias"]
        )


def test_bias_in_the_weights():
    random = np.random.default_rng(0)
    kernel, bias = (
        random.normal(0, 0.02, (768, 3)).astype(np.float32),
        np.array([0.3, -0.2, 0.05], np.float32),
    )
    scale, shift = (
        random.normal(1, 0.1, 768).astype(np.float32),
        random.normal(0, 0.1, 768).astype(np.float32),
    )
    weight, off = hf_weights.without_bias(kernel, bias, scale, shift)
    assert weight.dtype == np.float32 and off <= CLOSE
    same, none = hf_weights.without_bias(kernel, 0 * bias, scale, shift)
    np.testing.assert_array_equal(same, kernel.T)
    assert none <= CLOSE
    assert (
        hf_weights.without_bias(kernel, bias, scale, 0 * shift)[1] == np.inf
    )  # no state tells the bias from 0
    assert hf_weights.without_bias(kernel, bias, scale, 1e-7 * shift)[1] > CLOSE
    assert hf_weights.without_bias(kernel, bias, scale * (np.arange(768) > 0), shift)[1] == np.inf


@pytest.fixture
def saved(tmp_path):
    """A small model as transformers saves it, in `tmp_path`/saved, with the tokenizer of theirs and words of its own."""
    folder = tmp_path / "saved"
    config = transformers.OpenAIGPTConfig(
        vocab_size=23, n_positions=8, n_embd=8, n_layer=1, n_head=2
    )
    transformers.OpenAIGPTLMHeadModel(config).save_pretrained(folder)
    vocabulary(folder, 20)
    theirs = transformers.OpenAIGPTTokenizer.from_pretrained(folder)
    theirs.add_special_tokens(
        {"additional_special_tokens": ["_start_", "_delimiter_", "_classify_"]}
    )
    theirs.save_pretrained(folder)
    return folder


def rewrite(folder, change) -> None:
    """Stores the tensors of a folder anew, after `change` has had them."""
    stored = safetensors.numpy.load_file(folder / "model.safetensors")
    safetensors.numpy.save_file(change(stored) or stored, folder / "model.safetensors")


def test_words_and_their_ways(saved, tmp_path):
    ways = {
        "approximate": [bpe.UNKNOWN, "ab", "\n", "a", "b"],
        "own": [bpe.UNKNOWN, "ab", "a", "b"],  # BERT's way knows no newline
    }
    for text, words in ways.items():
        result = huggingface.import_run(str(saved), str(tmp_path / text), text)
        assert result["origin"]["left_out"] == ["tokens_embed.weight[20:23]"]
        tokenizer = reader.open_saved(str(tmp_path / text), "--workdir").tokenizer
        ids = {bpe.UNKNOWN: 0, "a": 4, "b": 5, "\n": 6, "ab": 7}
        assert tokenizer.encode(["c ab\na b"]) == [[ids[word] for word in words]]
        assert (tokenizer.vocab_size, tokenizer.start, tokenizer.extract) == (20, 20, 22)
    for name in ("vocab.json", "merges.txt"):
        (saved / name).unlink()
    with pytest.raises(
        UserError,
        match="splits texts in its own way; give --text=own .*, --text=published .*, or --text=approximate",
    ):
        huggingface.import_run(str(saved), str(tmp_path / "none"))


def test_padding_and_cutting_that_a_tokenizer_was_last_used_with_are_not_taken_over(
    pretrained, tmp_path
):
    huggingface.export_run(str(pretrained()), str(tmp_path / "out"))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    theirs(["the sea", "the old king saw the sea"], padding=True, truncation=True, max_length=3)
    theirs.save_pretrained(tmp_path / "out")
    huggingface.import_run(str(tmp_path / "out"), str(tmp_path / "back"), "own")
    texts, ours = (
        ["the", "the old king saw the sea"],
        reader.open_saved(str(pretrained()), "").tokenizer,
    )
    assert reader.open_saved(str(tmp_path / "back"), "").tokenizer.encode(texts) == ours.encode(
        texts
    )


def test_a_separated_backslash_goes_there_and_back(pretrained, tmp_path):
    run = reader.open_saved(str(pretrained()), "")
    model = json.loads((run.workdir / "tokenizer.json").read_text())["model"]
    separate = bpe.assemble(
        model["vocab"], [tuple(pair) for pair in model["merges"]], backslash_in_word=False
    )
    reader.write_pretrained(
        str(tmp_path / "run"),
        {"name": run.body, **run.sizes},
        run.params(20),
        separate,
        {"format": "test"},
    )
    huggingface.export_run(str(tmp_path / "run"), str(tmp_path / "out"))
    huggingface.import_run(str(tmp_path / "out"), str(tmp_path / "back"))
    assert (
        reader.open_saved(str(tmp_path / "back"), "").tokenizer.fingerprint == separate.fingerprint
    )


@pytest.mark.parametrize(
    ("config", "init", "says", "says_not"),
    [
        ({}, {}, ["the run's own", "As published, the softmax"], ["that of its source"]),
        ({"softmax_positions": False}, {}, ["the run's own"], ["As published, the softmax"]),
        (
            {},
            {"origin": {"format": "openai/finetune-transformer-lm"}},
            ["that of its source (openai/finetune-transformer-lm)"],
            ["the run's own"],
        ),
    ],
)
def test_the_card_says_what_the_run_was(finetuned, tmp_path, config, init, says, says_not):
    shutil.copytree(finetuned("pair"), tmp_path / "run")
    for file, section, change in (
        ("config.json", "published", config),
        ("result.json", "init", init),
    ):
        content = json.loads((tmp_path / "run" / file).read_text())
        content[section] |= change
        (tmp_path / "run" / file).write_text(json.dumps(content))
    page = model_card.text(
        reader.open_saved(str(tmp_path / "run"), ""), 1, "OpenAIGPTForSequenceClassification"
    )
    assert all(text in page for text in says) and not any(text in page for text in says_not)


def test_the_card_keeps_the_names_of_folders_to_itself():
    shown = model_card._shown
    assert (
        shown("0.7*text:/home/me/books,0.3*hub:owner/name") == "0.7*text:books,0.3*hub:owner/name"
    )
    assert [shown(path) for path in ("/a/b", "~/c/d", "../e", "owner/name", 0.5)] == [
        "b",
        "d",
        "e",
        "owner/name",
        "0.5",
    ]


def test_the_published_vocabulary_has_the_published_words(saved, tmp_path):
    pytest.importorskip("ftfy")
    pytest.importorskip("spacy")
    result = huggingface.import_run(str(saved), str(tmp_path / "run"))
    assert (
        result["origin"]["words"].startswith("ftfy ")
        and reader.open_saved(str(tmp_path / "run"), "").tokenizer.word_pipeline
    )
    huggingface.export_run(str(tmp_path / "run"), str(tmp_path / "out"))
    theirs = transformers.AutoTokenizer.from_pretrained(
        tmp_path / "out"
    )  # the approximation, and the card says so
    assert theirs("c ab\na b").input_ids == [0, 7, 6, 4, 5]
    assert "as published; tokenizer.json" in (tmp_path / "out/README.md").read_text()


def test_other_spellings_of_the_same_model(saved, tmp_path):
    expected = huggingface.import_run(str(saved), str(tmp_path / "0"), "own")["params_sha256"]

    def bare(stored):
        found = {name.removeprefix("transformer."): array for name, array in stored.items()}
        mask = np.ones((1, 1, 8, 8), np.uint8)
        return found | {
            "h.0.attn.bias": mask,
            "position_ids": np.arange(8),
            "lm_head.weight": found["tokens_embed.weight"],
        }

    rewrite(saved, bare)
    assert (
        huggingface.import_run(str(saved), str(tmp_path / "1"), "own")["params_sha256"] == expected
    )
    # As OpenAIGPTDoubleHeadsModel saves it: the table by its other name, and a head; in two files.
    rewrite(
        saved,
        lambda stored: {
            name: array for name, array in stored.items() if name != "tokens_embed.weight"
        },
    )
    stored = safetensors.numpy.load_file(saved / "model.safetensors") | {
        "multiple_choice_head.summary.bias": np.zeros(1, np.float32)
    }
    (saved / "model.safetensors").unlink()
    files = {name: f"model-0000{1 + ('attn' in name)}-of-00002.safetensors" for name in stored}
    for file in set(files.values()):
        safetensors.numpy.save_file(
            {name: stored[name] for name in stored if files[name] == file}, saved / file
        )
    (saved / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    result = huggingface.import_run(str(saved), str(tmp_path / "2"), "own")
    assert result["params_sha256"] == expected
    assert result["origin"]["left_out"] == [
        "multiple_choice_head.summary.bias",
        "tokens_embed.weight[20:23]",
    ]


def config(**changes):
    def change(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def weights(change):
    return lambda folder: rewrite(folder, change)


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


BAD = {
    "model_type": (
        config(model_type="gpt2"),
        "config.json: model_type is 'gpt2', 'openai-gpt' expected",
    ),
    "afn": (config(afn="relu"), "config.json: afn is 'relu', 'gelu' expected"),
    "epsilon": (config(layer_norm_epsilon=1e-6), "config.json: layer_norm_epsilon is 1e-06"),
    "size": (config(n_layer="1"), "config.json: n_layer is '1', a whole number from 1 expected"),
    "heads": (config(n_head=3), "n_head 3 does not divide n_embd 8"),
    "no config": (
        lambda folder: (folder / "config.json").unlink(),
        r"config\.json: cannot be read",
    ),
    "bad config": (
        lambda folder: (folder / "config.json").write_text("{"),
        r"config\.json: not valid JSON",
    ),
    "pickle": (
        pickled,
        "holds pytorch_model.bin alone, a pickle.*save_pretrained writes model.safetensors",
    ),
    "no weights": (
        lambda folder: (folder / "model.safetensors").unlink(),
        "holds no model.safetensors",
    ),
    "cut": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"12345678"),
        r"model\.safetensors: cannot be read",
    ),
    "missing": (
        weights(lambda stored: stored.pop("transformer.h.0.ln_1.bias") is None),
        r"lacks h\.0\.ln_1\.bias",
    ),
    "unknown": (
        weights(lambda stored: stored.update({"transformer.wpe": np.ones(2, np.float32)})),
        "holds wpe, which",
    ),
    "untied": (
        weights(lambda stored: stored.update({"lm_head.weight": np.ones((23, 8), np.float32)})),
        "lm_head.weight is not tokens_embed",
    ),
    "not finite": (
        weights(
            lambda stored: stored.update(
                {"transformer.h.0.ln_1.weight": np.full(8, np.nan, np.float32)}
            )
        ),
        r"h\.0\.ln_1\.weight holds a number that is not finite",
    ),
    "dropout": (
        config(embd_pdrop="lots"),
        "embd_pdrop is 'lots', a number from 0 to below 1 expected",
    ),
    "no map": (
        lambda folder: (
            (folder / "model.safetensors").unlink(),
            (folder / "model.safetensors.index.json").write_text('{"weight_map": ["a"]}'),
        ),
        "has no weight_map from tensors to files",
    ),
    "shape": (
        config(n_positions=9),
        r"positions_embed\.weight is \(8, 8\), but by config\.json it is \(9, 8\)",
    ),
    "layers": (config(n_layer=2), r"lacks h\.1\.attn"),
    "integers": (
        weights(lambda stored: stored.update({"score.weight": np.ones(2, np.int32)})),
        "score.weight is I32, F32 or F16 expected",
    ),
    "few rows": (
        lambda folder: (
            config(vocab_size=19)(folder),
            rewrite(
                folder,
                lambda stored: (
                    stored | {"transformer.tokens_embed.weight": np.ones((19, 8), np.float32)}
                ),
            ),
        ),
        "has 20 words in its vocabulary and 19 in its table",
    ),
    "no tokenizer": (
        lambda folder: (folder / "tokenizer.json").unlink(),
        r"tokenizer\.json: not there; give --text=published or --text=approximate",
    ),
    "elsewhere": (
        lambda folder: (
            (folder / "model.safetensors").unlink(),
            (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../a"}}'),
        ),
        r"'\.\./a' is not a file beside it",
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_folders(saved, tmp_path, bad):
    change, message = BAD[bad]
    change(saved)
    with pytest.raises(UserError, match=message) as told:
        huggingface.import_run(str(saved), str(tmp_path / "run"), "own")
    assert "\n" not in str(told.value) and not (tmp_path / "run").exists()


def test_what_cannot_be_exported(pretrained, finetuned, tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with pytest.raises(
        UserError, match="^--output: .*full exists and is not an empty folder; name another"
    ):
        huggingface.export_run(str(pretrained()), str(tmp_path / "full"))
    with pytest.raises(
        UserError, match="^--workdir: .* is a run of the lstm, which transformers does not have"
    ):
        huggingface.export_run(str(pretrained("lstm")), str(tmp_path / "out"))
    with pytest.raises(UserError, match="^--output: is missing"):
        huggingface.export_run(str(pretrained()), "")
    with pytest.raises(
        UserError, match="^--output: .*/out cannot be written .*; name another folder"
    ):
        huggingface.export_run(str(pretrained()), str(tmp_path / "full/file/out"))

    older = tmp_path / "older"
    shutil.copytree(finetuned("pair"), older)
    result = json.loads((older / "result.json").read_text())
    (older / "result.json").write_text(
        json.dumps({name: value for name, value in result.items() if name != "streams"})
    )
    with pytest.raises(
        UserError,
        match=r"result\.json: does not say the format of the task \(an older run\); finetune anew",
    ):
        huggingface.export_run(str(older), str(tmp_path / "out"))
    monkeypatch.setattr(tensors, "EXACT", 0.0)
    with pytest.raises(
        UserError,
        match="^--workdir: .* has a head whose bias cannot be kept .* give --lm to leave the head out",
    ):
        huggingface.export_run(str(finetuned("pair")), str(tmp_path / "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "older"], (
        "something is left behind"
    )


def test_command_line(pretrained, tmp_path):
    command = [sys.executable, "-m", "gpt1_jax.main"]
    (tmp_path / "out").mkdir()
    done = subprocess.run(
        [*command, "export", f"--workdir={pretrained()}", f"--output={tmp_path}/out"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stdout.startswith(
        f"{tmp_path}/out: README.md, config.json"
    ), done.stderr
    refused = subprocess.run(
        [*command, "import", "--source=nowhere", f"--workdir={tmp_path}/run"],
        capture_output=True,
        text=True,
    )
    assert (refused.returncode, refused.stderr) == (
        2,
        "gpt1_jax: --source: 'nowhere' is no folder; name one with config.json and model.safetensors\n",
    )
