"""Test zero-shot probes on the command line against log-probabilities of one stream at a time."""

import functools
import json
import shutil

import jax
import numpy as np
import pytest
import scipy.special
import sklearn.metrics

from gpt1_jax.datasets.sources import load
from gpt1_jax.engine import checkpoint
from gpt1_jax.engine.checkpoint_manager import Checkpoints
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.registry import MODELS, TASKS
from gpt1_jax.runs.reader import PretrainedRun
from gpt1_jax.text import probes

CONFIG = "zero_shot.py"
BODIES = ("transformer", "lstm")


def read_predictions(run, name: str, step: int) -> tuple[list[str], list[str], np.ndarray]:
    """Return predictions, labels and probabilities of a file of predictions."""
    rows = [
        line.split("\t")
        for line in (run / f"predictions/{name}_{step}.tsv").read_text().splitlines()[1:]
    ]
    return (
        [row[1] for row in rows],
        [row[2] for row in rows],
        np.array([row[3:] for row in rows], float),
    )


def best_matthews(scores, labels) -> float:
    """Return the best Matthews correlation of all thresholds between two scores."""
    cuts = np.convolve(np.unique(scores), (0.5, 0.5), "valid")
    return max(
        (sklearn.metrics.matthews_corrcoef(labels, scores > cut) for cut in cuts), default=0.0
    )


@pytest.mark.parametrize("body", BODIES)
def test_every_checkpoint_is_probed(gpt1, probing, tmp_path, body):
    result = gpt1.result(CONFIG, tmp_path, probing(body) | {"ceilings.race": 0.75})
    assert (result["trainer"], result["body"], result["steps"]) == ("zero_shot", body, [10, 20])
    assert (
        result["init"] == {"path": str(probing(body)["init.path"])}
        and {"data", "seconds", "device"} < result.keys()
    )
    curves = {
        "cola": "acceptability",
        "sst2": "sentiment",
        "race": "qa",
        "dprd": "winograd",
        "story_cloze_2016": "",
    }
    assert {name: probe["curve"] for name, probe in result["probes"].items()} == curves
    assert (
        "story_cloze_2018 is skipped: split validation is missing"
        in (tmp_path / "log.txt").read_text()
    )
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for name, probe in result["probes"].items():
        split, rows = {"dprd": ("test", 6), "story_cloze_2016": ("validation", 3)}.get(
            name, ("validation", 6)
        )
        assert (probe["split"], probe["rows"], probe["cut"]) == (split, rows, 0)
        assert (probe["metric"], probe["chance"]) == {
            "cola": ("matthews", 0),
            "race": ("accuracy", 0.25),
        }.get(name, ("accuracy", 0.5))
        for step, row in zip(result["steps"], logged, strict=True):
            facts = probe["steps"][str(step)]
            predictions, labels, probabilities = read_predictions(tmp_path, name, step)
            np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
            score = (
                sklearn.metrics.matthews_corrcoef
                if name == "cola"
                else sklearn.metrics.accuracy_score
            )
            assert (
                facts["score"]
                == pytest.approx(score(labels, predictions))
                == pytest.approx(row[f"{name}_score"])
            )
            assert facts["relative"] == pytest.approx(
                (facts["score"] - probe["chance"]) / (probe["ceiling"] - probe["chance"])
            )
            assert facts.keys() == {"score", "relative"} | (
                {"threshold"} if name == "cola" else set()
            )
            assert row["step"] == step and row[f"{name}_relative"] == facts["relative"]
    assert (
        result["probes"]["race"]["ceiling"] == 0.75 and result["probes"]["sst2"]["ceiling"] == 0.932
    )


@functools.cache
def forward(model):
    return jax.jit(lambda params, tokens: model.apply({"params": params}, tokens, train=False)[0])


def log_probability(source: PretrainedRun, params, opening, given: str, scored: str) -> np.ndarray:
    """Return the log-probability of each token of `scored`.

    The stream is alone in its batch. The softmax over the token rows is in float64.
    """
    given, scored = source.tokenizer.encode([given, scored])
    ids = [*opening, *given, *scored][-source.sizes["context"] - 1 :]
    tokens = np.zeros((1, source.sizes["context"]), np.int32)
    tokens[0, : len(ids) - 1] = ids[:-1]
    hidden = forward(
        LanguageModel(MODELS[source.body](source.tokenizer.vocab_size, **source.sizes))
    )(params, tokens)[0, : len(ids) - 1]
    logits = np.array(hidden, np.float64) @ np.array(params["tokens"], np.float64).T
    return scipy.special.log_softmax(logits, axis=1)[np.arange(len(ids) - 1), ids[1:]][
        -len(scored) :
    ]


@pytest.mark.parametrize("body", BODIES)
def test_scores_are_those_of_one_stream_at_a_time(gpt1, probing, tmp_path, body):
    settings = probing(body) | {"sst2.words": "('king','ship of the sea')", "start": "The Old"}
    result = gpt1.result(CONFIG, tmp_path, settings)
    source = PretrainedRun(str(settings["init.path"]))
    params, opening = source.params(20), source.tokenizer.encode(["the old"])[0]
    place = {"source": "files", "path": str(settings["data.path"])}
    texts = {
        "sst2": lambda texts: probes.continuation(texts, "very", ("king", "ship of the sea")),
        "race": lambda texts: probes.answers(texts, 2),
        "dprd": probes.substitution,
    }
    for name, pairs in texts.items():
        split, combine = (
            "test" if name == "dprd" else "validation",
            np.sum if name == "sst2" else np.mean,
        )
        for example, probabilities in zip(
            load(TASKS[name], split, **place).examples,
            read_predictions(tmp_path, name, 20)[2],
            strict=True,
        ):
            scores = [
                combine(log_probability(source, params, opening, *pair))
                for pair in pairs(example.segments)
            ]
            np.testing.assert_allclose(probabilities, scipy.special.softmax(scores), atol=1e-5)

    def cola(split):
        examples = load(TASKS["cola"], split, **place).examples
        scores = [
            log_probability(source, params, opening, "", *example.segments).mean()
            for example in examples
        ]
        return np.array(scores), [example.label for example in examples]

    scores, labels = cola("train")
    threshold = result["probes"]["cola"]["steps"]["20"]["threshold"]
    assert abs(scores - threshold).min() > 1e-6
    assert sklearn.metrics.matthews_corrcoef(labels, scores > threshold) == pytest.approx(
        best_matthews(scores, labels)
    )
    scores, labels = cola("validation")
    np.testing.assert_allclose(
        read_predictions(tmp_path, "cola", 20)[2][:, 1],
        scipy.special.expit(scores - threshold),
        atol=1e-5,
    )


@pytest.fixture
def copy_with_checkpoint(pretrained, tmp_path):
    """Return a function (body, change) that copies the pretrained run and adds a checkpoint.

    The checkpoint of step 30 has the params of step 20 after `change(params)`.
    """

    def add(body: str, change):
        run = shutil.copytree(pretrained(body), tmp_path / "changed")
        params = checkpoint.read_all_params(run, 20)
        change(params)
        meta = checkpoint.read_meta(run, 20)
        identity = {name: meta[name] for name in ("tokenizer", "seed", "config")}
        checkpoints = Checkpoints(run, identity, keep=5)
        checkpoints.save(30, {"params": params, "opt_state": {"count": np.zeros(1)}})
        checkpoints.close()
        return run

    return add


def test_softmax_excludes_position_rows(gpt1, probing, copy_with_checkpoint, tmp_path):
    # The short texts never reach these rows. Only the softmax could.

    def grow(params):
        params["positions"][24:] = 50.0

    settings = probing() | {
        "init.path": copy_with_checkpoint("transformer", grow),
        "tasks": "('cola','sst2','dprd')",
    }
    steps = gpt1.result(CONFIG, tmp_path / "run", settings)["probes"]["cola"]["steps"]
    assert steps["30"] == steps["20"] != steps["10"]
    for name in ("cola", "sst2", "dprd"):
        before, same, changed = (
            (tmp_path / f"run/predictions/{name}_{step}.tsv").read_bytes() for step in (10, 20, 30)
        )
        assert before != same == changed


def test_unigram_model_predicts_by_word_frequency(
    gpt1, probing, copy_with_checkpoint, probed, tmp_path
):
    # Without its projection the LSTM has a constant state, so a token's probability is a constant.
    def forget(params):
        params["tokens"][:] = np.random.default_rng(0).normal(size=params["tokens"].shape)
        params["h0"]["projection"]["kernel"][:] = 0
        params["h0"]["projection"]["bias"][:] = 1

    run = copy_with_checkpoint("lstm", forget)
    result = gpt1.result(
        CONFIG,
        tmp_path / "run",
        probing("lstm") | {"init.path": run, "sst2.words": "('king','sea')"},
    )
    source = PretrainedRun(str(run))
    unigram = scipy.special.log_softmax(source.params(30)["tokens"].sum(axis=1, dtype=np.float64))

    def mean(text):
        return unigram[source.tokenizer.encode([text])[0]].mean()

    words = [mean("king"), mean("sea")]
    assert set(read_predictions(tmp_path / "run", "sst2", 30)[0]) == {
        TASKS["sst2"].labels[np.argmax(words)]
    }
    assert result["probes"]["sst2"]["steps"]["30"]["score"] == 0.5
    examples = load(TASKS["race"], "validation", source="files", path=str(probed)).examples
    best = [
        "ABCD"[np.argmax([mean(answer) for answer in example.segments[2:]])] for example in examples
    ]
    assert read_predictions(tmp_path / "run", "race", 30)[0] == best
    assert set(read_predictions(tmp_path / "run", "dprd", 30)[2].ravel()) == {0.5}, (
        "both candidates have the same continuation"
    )


def test_long_text_is_cut_on_the_left(gpt1, probing, probed, tmp_path):
    # Words far before the end of the story change nothing. Words within the context do.
    probabilities = {}
    starts = {"long": "sea " * 40, "longer": "king " * 90, "near": "sea " * 40 + "ship "}
    for name, before in starts.items():
        folder = shutil.copytree(probed / "SST-2", tmp_path / name / "SST-2")
        lines = (folder / "dev.tsv").read_text().splitlines()
        end = "" if name == "near" else "hill " * 31
        rows = [line.split("\t") for line in lines[1:]]
        body = [f"{row[0]}\t{before}{end}\t{row[2]}" for row in rows]
        (folder / "dev.tsv").write_text("\n".join([lines[0], *body]) + "\n")
        result = gpt1.result(
            CONFIG, tmp_path / f"run_{name}", probing() | {"data.path": tmp_path / name}
        )
        assert result["probes"].keys() == {"sst2"} and result["probes"]["sst2"]["cut"] == 12
        assert "12 of 12 streams" in (tmp_path / f"run_{name}/log.txt").read_text()
        probabilities[name] = read_predictions(tmp_path / f"run_{name}", "sst2", 20)[2]
    assert (probabilities["long"] == probabilities["longer"]).all()
    assert (probabilities["long"] != probabilities["near"]).any()


def test_killed_run_continues_after_its_last_checkpoint(gpt1, probing, tmp_path):
    settings, run = probing(), tmp_path / "killed"
    whole = gpt1.result(CONFIG, tmp_path / "whole", settings)
    shutil.copytree(tmp_path / "whole", run)
    # As if it was killed while it wrote the results of step 20.
    (run / "result.json").unlink()
    (run / "probed/20.json").rename(run / "probed/20.json.1.tmp")
    (run / "predictions/dprd_20.tsv").unlink()
    known = json.loads((run / "probed/10.json").read_text())
    known["cola"]["threshold"] = -1.5  # a new computation would give another one
    (run / "probed/10.json").write_text(json.dumps(known))
    with open(run / "metrics.jsonl", "a") as metrics:
        metrics.write('{"step": 20, "cola_')
    resumed = gpt1.result(CONFIG, run, settings)
    assert resumed["probes"]["cola"]["steps"]["10"].pop("threshold") == -1.5
    del whole["probes"]["cola"]["steps"]["10"]["threshold"]
    assert {**resumed, "seconds": 0} == {**whole, "seconds": 0}
    for name in ("metrics.jsonl", "predictions/dprd_20.tsv", "probed/20.json"):
        assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_resuming_with_other_rows_or_checkpoints_is_refused(
    gpt1, probing, pretrained, probed, tmp_path
):
    shutil.copytree(pretrained(), tmp_path / "books")
    shutil.copytree(probed, tmp_path / "tasks", symlinks=False)
    settings = probing() | {"init.path": tmp_path / "books", "data.path": tmp_path / "tasks"}
    gpt1.result(CONFIG, tmp_path / "run", settings)
    (tmp_path / "run/result.json").unlink()
    shutil.rmtree(tmp_path / "books/checkpoints/10")
    dev = tmp_path / "tasks/SST-2/dev.tsv"
    dev.write_text(dev.read_text().replace("\t1\n", "\t0\n", 1))
    ended = gpt1.run(*gpt1.command(CONFIG, tmp_path / "run", settings))
    assert (
        ended.code == 2
        and "data.json: checkpoints, sst2/validation changed since this run began" in ended.err
    )


def test_data_examples_limits_each_split(gpt1, probing, tmp_path):
    result = gpt1.result(
        CONFIG,
        tmp_path,
        probing() | {"data.examples": 2, "tasks": "('sst2','cola')", "start": "none"},
    )
    assert {name: probe["rows"] for name, probe in result["probes"].items()} == {
        "sst2": 2,
        "cola": 2,
    }
    assert {split: facts["rows"] for split, facts in result["data"]["splits"].items()} == {
        "sst2/validation": 2,
        "cola/train": 2,
        "cola/validation": 2,
    }
