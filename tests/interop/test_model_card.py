"""Test the model card of an exported run."""

import json
import shutil

import pytest
from hf_models import run_card

from gpt1_jax.interop import huggingface, model_card
from gpt1_jax.runs import reader

OPENAI = {"origin": {"format": "openai/finetune-transformer-lm"}}
OWN_VOCABULARY = "The vocabulary was trained for this run"
SOURCE = "The vocabulary is that of its source (openai/finetune-transformer-lm)"
SOFTMAX = "As published, the softmax"


def test_card_of_a_pretrained_run(pretrained, tmp_path):
    huggingface.export_run(str(pretrained()), str(tmp_path / "out"))
    result = json.loads((pretrained() / "result.json").read_text())
    card = (tmp_path / "out/README.md").read_text()
    assert f"{result['validation_perplexity']:.4g} per token" in card
    assert "20 steps of 4 windows of 32 tokens" in card
    newline = reader.open_saved(str(pretrained()), "--workdir").tokenizer.newline
    assert f"prefix_token_id={newline}`" in card
    tokenizer = run_card(tmp_path / "out")["generator"].tokenizer
    assert tokenizer("\nthe").input_ids[0] == newline
    assert "hf upload OWNER/transformer ." in card
    (start,) = json.loads((pretrained() / "environment.json").read_text())["starts"]
    assert f"Made by gpt1_jax {start['versions']['gpt1_jax']}, " in card and ", on 2 x cpu." in card
    assert start["host"] not in card.partition("Made by")[2].partition("\n")[0]


def test_card_of_an_imported_run_names_its_source(pretrained, tmp_path):
    huggingface.export_run(str(pretrained()), str(tmp_path / "out"))
    huggingface.import_run(str(tmp_path / "out"), str(tmp_path / "back"))
    huggingface.export_run(str(tmp_path / "back"), str(tmp_path / "again"))
    card = (tmp_path / "again/README.md").read_text()
    assert "Its weights come from Hugging Face openai-gpt and were not trained here" in card


@pytest.mark.parametrize(
    ("published", "init", "present", "absent"),
    [
        ({}, {}, [OWN_VOCABULARY, SOFTMAX], [SOURCE]),
        ({"softmax_positions": False}, {}, [OWN_VOCABULARY], [SOFTMAX]),
        ({}, OPENAI, [SOURCE], [OWN_VOCABULARY]),
    ],
)
def test_card_describes_vocabulary_and_softmax(
    finetuned, tmp_path, published, init, present, absent
):
    workdir = tmp_path / "run"
    shutil.copytree(finetuned("pair"), workdir)
    for file, section, changes in (
        ("config.json", "published", published),
        ("result.json", "init", init),
    ):
        content = json.loads((workdir / file).read_text())
        content[section] |= changes
        (workdir / file).write_text(json.dumps(content))
    run = reader.open_saved(str(workdir), "--workdir")
    card = model_card.render(run, 1, "OpenAIGPTForSequenceClassification")
    assert all(text in card for text in present)
    assert not any(text in card for text in absent)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0.7*text:/home/me/books,0.3*hub:owner/name", "0.7*text:books,0.3*hub:owner/name"),
        ("/a/b", "b"),
        ("~/c/d", "d"),
        ("../e", "e"),
        ("owner/name", "owner/name"),
        (0.5, "0.5"),
    ],
)
def test_card_hides_the_folders_of_paths(value, expected):
    assert model_card.hide_folders(value) == expected
