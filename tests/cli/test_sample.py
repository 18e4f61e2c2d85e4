"""Test `gpt1 sample`: the texts it prints, the order in which it prints them, mistakes."""

import io
import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from gpt1_jax.cli import sample
from gpt1_jax.engine.checkpoint_manager import Checkpoints
from gpt1_jax.errors import UserError
from gpt1_jax.models import sampling
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.registry import MODELS
from gpt1_jax.runs import reader
from gpt1_jax.text import bpe


class Screen(io.StringIO):
    """Record what is written, and in which pieces."""

    def __init__(self):
        super().__init__()
        self.pieces = []

    def write(self, text):
        self.pieces.append(text)
        return super().write(text)


def written(run, prompts, **settings) -> str:
    screen = Screen()
    sample.write(sample.Settings(str(run), prompts, **settings), screen)
    return screen


def expected(run, prompts, length, rule, keys):
    """Return the texts that `generate` samples."""
    run = reader.open_saved(str(run), "--checkpoint")
    model = LanguageModel(MODELS[run.body](run.tokenizer.vocab_size, **run.sizes))
    rows = [ids or [run.tokenizer.newline] for ids in run.tokenizer.encode(prompts)]
    drawn = np.stack(
        list(sampling.generate(model, run.params(run.step), rows, length, keys, rule)), axis=1
    )
    return [
        run.tokenizer.decode([*row, *more[more >= 0].tolist()])
        for row, more in zip(rows, drawn, strict=True)
    ]


@pytest.mark.parametrize("body", ["transformer", "lstm"])
def test_first_text_appears_token_by_token(pretrained, body):
    run = f"{pretrained(body)}/checkpoints/10"
    key = jax.random.fold_in(jax.random.key(3), 0)[None]
    text = expected(
        run, ["The old king"], 9, sampling.SamplingParams(top_k=40, temperature=0.8), key
    )[0]
    screen = written(run, ["The old king"], length=9, top_k=40, temperature=0.8, seed=3)
    assert screen.getvalue() == f"{text}\n" and text.startswith("the old king ")
    assert sum(map(bool, screen.pieces)) >= 9


def test_texts_do_not_depend_on_the_batch_size(pretrained, monkeypatch):
    run, prompts = pretrained(), ["the ship", "", "a hill"]
    rows = [prompt for prompt in prompts for _ in range(2)]
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), np.arange(6))
    texts = expected(run, rows, 6, sampling.SamplingParams(), keys)
    assert texts[2].startswith("\n") and len(set(texts)) == 6
    whole = "".join(f"--- {number} of 6\n{text}\n" for number, text in enumerate(texts, 1))
    assert written(run, prompts, length=6, samples=2).getvalue() == whole
    monkeypatch.setattr(sample, "MAX_ROWS", 3)
    assert written(run, prompts, length=6, samples=2).getvalue() == whole


def test_texts_end_at_the_context(pretrained, capsys):
    run = reader.open_saved(str(pretrained()), "--checkpoint")
    text = written(pretrained(), [""], length=500, greedy=True).getvalue()
    assert capsys.readouterr().err == "gpt1_jax: texts end at the model's context of 32 tokens\n"
    assert (
        text[:-1]
        == expected(
            pretrained(), [""], 32, sampling.SamplingParams(greedy=True), jax.random.key(0)[None]
        )[0]
    )
    with pytest.raises(
        UserError,
        match=r"^--prompt: number 2 has \d+ tokens, but the model's context is 32; shorten it$",
    ):
        written(pretrained(), ["the sea", "the king ran over the hill and " * 9])
    assert run.sizes["context"] == 32
    with pytest.raises(UserError, match="^--prompt: number 1 is not text in UTF-8; convert it$"):
        written(pretrained(), ["\udcff"])


def test_control_characters_do_not_reach_the_terminal(pretrained, tmp_path):
    source = reader.open_saved(str(pretrained()), "--checkpoint")
    pieces = [bpe.UNKNOWN, "a", "\x9b", "a</w>", "\x9b</w>"]
    tokenizer = bpe.assemble({piece: number for number, piece in enumerate(pieces)}, [])
    params = source.params(source.step)
    params["tokens"] = np.concatenate([params["tokens"][:4], 100 * params["tokens"][4:5]])
    model = {"name": source.body, **source.sizes}
    reader.write_pretrained(str(tmp_path), model, params, tokenizer, {})
    assert "\x9b" in tokenizer.decode([2, 4])
    shown = written(tmp_path, ["a", "a"], length=20, temperature=100.0).getvalue()
    assert "\x9b" not in shown and shown.count("\\x9b") > 2


def test_special_tokens_are_never_sampled(pretrained, tmp_path):
    source = reader.open_saved(str(pretrained()), "--checkpoint")
    params = source.params(source.step)
    special = 100 * params["tokens"][:3]
    params["tokens"] = np.concatenate([params["tokens"], special])
    params["clf"] = {"kernel": np.zeros((16, 2), np.float32), "bias": np.zeros(2, np.float32)}
    model = {"name": source.body, **source.sizes}
    checkpoints = Checkpoints(tmp_path, {"tokenizer": source.tokenizer.fingerprint}, keep=1)
    checkpoints.save(0, {"params": params, "opt_state": {"count": np.zeros(1)}})
    checkpoints.close()
    source.tokenizer.save(tmp_path / "tokenizer.json")
    config = {"trainer": "finetune", "task": "rte", "regression": False, "model": model}
    config |= {"backend": "pmap", "clf_dropout": 0.1}
    (tmp_path / "config.json").write_text(json.dumps(config))
    streams = {"format": "pair", "labels": ["a", "b"], "context": 32}
    result = {"trainer": "finetune", "best_step": 0, "model": model, "streams": streams}
    (tmp_path / "result.json").write_text(json.dumps(result))
    found = written(tmp_path, ["the ship"], length=8, greedy=True).getvalue()
    assert found == written(pretrained(), ["the ship"], length=8, greedy=True).getvalue()


def test_invalid_values_are_refused():
    for name, value, message in (
        ("checkpoint", "", "is missing; name the folder of a run"),
        (
            "temperature",
            0.0,
            "0.0 found, a number from 1e-6 to 1e6 expected; for the most probable token, give "
            "--greedy",
        ),
        ("temperature", float("nan"), "nan found, a number from 1e-6 to 1e6 expected"),
        ("top_p", 0.0, "0.0 found, a number above 0 and up to 1 expected; give another --top_p"),
        ("top_p", 1.5, "1.5 found"),
        ("top_k", -1, "-1 found, a whole number from 0 to 1000000 expected"),
        ("length", 0, "0 found, a whole number from 1 to 1000000 expected"),
        ("length", 10**9, "1000000000 found"),
        ("samples", 0, "0 found"),
        ("samples", 10**9, "1000000000 found"),
        ("top_k", 10**9, "1000000000 found"),
        ("temperature", 1e30, "1e[+]30 found"),
        ("seed", 2**32, "4294967296 found"),
    ):
        with pytest.raises(UserError, match=f"^--{name}: {message}"):
            sample.check(sample.Settings("runs/x", ["a"])._replace(**{name: value}))
    with pytest.raises(UserError, match=r"config\.json: no such file"):
        written("runs/nowhere", ["a"])


def test_too_many_texts_are_refused_before_they_are_listed(pretrained):
    with pytest.raises(UserError, match="^--samples: 600000 texts for each of 2 prompts"):
        written(pretrained(), ["a", "b"], samples=600_000)


def command(*arguments, text=""):
    line = [sys.executable, "-m", "gpt1_jax.main", "sample", *map(str, arguments)]
    return subprocess.run(line, input=text, capture_output=True, text=True)


def test_command_line(pretrained):
    told = command("--help")
    assert told.returncode == 0 and "--top_p" in told.stdout
    for arguments, message in (
        (["--temperature=-1", "--prompt=a"], "--temperature: -1.0 found"),
        ([], "--prompt: is missing, and standard input is empty"),
        (["--length=many"], "flag --length=many"),
        (["a"], "a: not a flag"),
    ):
        ended = command(f"--checkpoint={pretrained()}", *arguments)
        assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (
            2,
            "",
            1,
        ) and message in ended.stderr
    done = command(
        f"--checkpoint={pretrained()}", "--length=3", "--greedy", text="the king\nthe sea\n"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        done.stdout
        == written(pretrained(), ["the king", "the sea"], length=3, greedy=True).getvalue()
    )


def test_newlines_around_a_prompt_become_tokens(pretrained):
    tokenizer = reader.open_saved(str(pretrained()), "--checkpoint").tokenizer
    (bare,) = tokenizer.encode(["the old king"])
    prompts = ["the old king", "\nthe old king", " the old king \n\n", "\n", ""]
    expected = [
        bare,
        [tokenizer.newline, *bare],
        [*bare, tokenizer.newline],
        [tokenizer.newline],
        [tokenizer.newline],
    ]
    assert sample.encode_prompts(tokenizer, prompts, 32) == expected
