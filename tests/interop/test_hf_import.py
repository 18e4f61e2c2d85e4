"""Test the import of folders that transformers has saved."""

import json
import shutil

import numpy as np
import pytest
import safetensors.numpy
from hf_models import (
    TOLERANCE,
    language_model,
    max_error,
    torch,
    transformers,
    write_vocabulary,
)

from gpt1_jax.errors import UserError
from gpt1_jax.interop import hf_files, hf_weights, huggingface
from gpt1_jax.runs import reader

VOCAB_SIZE = 40_478  # of the published model


@pytest.fixture(scope="module")
def published_size(tmp_path_factory):
    """Yield a model of transformers at the published size with random weights, and its folder."""
    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(0)
    with torch.device("meta"):
        model = transformers.OpenAIGPTLMHeadModel(transformers.OpenAIGPTConfig())
    model = model.to_empty(device="cpu").eval()
    model.tie_weights()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            mean = 1.0 if "ln_" in name and name.endswith("weight") else 0.0
            tensor.normal_(mean, 0.02)
        for name, tensor in model.named_buffers():  # constants, which no file holds
            count = tensor.shape[-1]
            if name.endswith("position_ids"):
                tensor.copy_(torch.arange(count))
            else:
                tensor.copy_(torch.tril(torch.ones(count, count)))
    model.save_pretrained(folder)
    write_vocabulary(folder, VOCAB_SIZE)
    yield model, folder
    shutil.rmtree(folder)


def test_published_size_agrees_and_round_trips(published_size, tmp_path, parity):
    model, folder = published_size
    huggingface.import_run(str(folder), str(tmp_path / "run"), text="approximate")
    run = reader.open_saved(str(tmp_path / "run"), "--workdir")
    assert (run.body, run.sizes["layers"], run.sizes["ffn"]) == ("transformer", 12, 3072)
    assert run.tokenizer.vocab_size == VOCAB_SIZE
    assert run.config["origin"]["left_out"] == []
    params, outputs = run.params(0), language_model(run.sizes, VOCAB_SIZE)
    ids = np.random.default_rng(0).integers(0, VOCAB_SIZE, size=(2, 9))
    error, _ = max_error(outputs(params, ids), model, ids)
    parity("12 imported layers, N(0, 0.02): hidden states and logits", error, TOLERANCE)

    huggingface.export_run(str(tmp_path / "run"), str(tmp_path / "out"))
    shutil.rmtree(tmp_path / "run")
    stored = safetensors.numpy.load_file(tmp_path / "out/model.safetensors")
    original = dict(model.named_parameters())
    assert stored.keys() == original.keys() and len(stored) == 146
    changed = sum(
        array.tobytes() != original[name].detach().numpy().tobytes()
        for name, array in stored.items()
    )
    parity("12 imported layers, exported again: tensors of 146 that differ in a bit", changed, 0)
    shutil.rmtree(tmp_path / "out")

    larger = {name: array if "ln_" in name else 4 * array for name, array in stored.items()}
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            tensor.copy_(torch.from_numpy(larger[name]))
    params, _ = hf_weights.to_params(larger, run.sizes, VOCAB_SIZE, "larger")
    error, largest = max_error(outputs(params, ids), model, ids)
    # transformers in float32 differs as much from transformers in float64.
    parity(
        "12 imported layers, four times the weights: relative to the largest logit",
        error / largest,
        TOLERANCE,
    )


@pytest.mark.parametrize("lm", [False, True])
def test_finetuned_run_is_imported_without_its_head(finetuned, tmp_path, lm):
    huggingface.export_run(str(finetuned("pair")), str(tmp_path / "out"), lm=lm)
    huggingface.import_run(str(tmp_path / "out"), str(tmp_path / "back"))
    back = reader.open_saved(str(tmp_path / "back"), "--workdir")
    run = reader.open_saved(str(finetuned("pair")), "--workdir")
    size = run.tokenizer.vocab_size
    head = [] if lm else ["score.weight"]
    specials = f"tokens_embed.weight[{size}:{size + 3}]"
    assert back.config["origin"]["left_out"] == [*head, specials]
    assert back.tokenizer.fingerprint == run.tokenizer.fingerprint
    params, back_params = run.params(run.step), back.params(0)
    np.testing.assert_array_equal(back_params["tokens"], params["tokens"][:size])
    np.testing.assert_array_equal(back_params["h1"]["ln_2"]["bias"], params["h1"]["ln_2"]["bias"])


def replace_tensors(folder, change) -> None:
    """Store `change(tensors)` as the tensors of a folder."""
    file = folder / "model.safetensors"
    safetensors.numpy.save_file(change(safetensors.numpy.load_file(file)), file)


def test_names_without_prefix_and_stored_constants(saved, tmp_path):
    expected = huggingface.import_run(str(saved), str(tmp_path / "0"), "stored")["params_sha256"]

    def as_older_version(tensors):
        bare = {name.removeprefix("transformer."): array for name, array in tensors.items()}
        return bare | {
            "h.0.attn.bias": np.ones((1, 1, 8, 8), np.uint8),
            "position_ids": np.arange(8),
            "lm_head.weight": bare["tokens_embed.weight"],
        }

    replace_tensors(saved, as_older_version)
    result = huggingface.import_run(str(saved), str(tmp_path / "1"), "stored")
    assert result["params_sha256"] == expected


def test_two_files_with_a_head_and_the_other_name_of_the_embedding(saved, tmp_path):
    expected = huggingface.import_run(str(saved), str(tmp_path / "0"), "stored")["params_sha256"]
    # OpenAIGPTDoubleHeadsModel saves these names.
    tensors = safetensors.numpy.load_file(saved / "model.safetensors")
    tensors["lm_head.weight"] = tensors.pop("transformer.tokens_embed.weight")
    tensors["multiple_choice_head.summary.bias"] = np.zeros(1, np.float32)
    (saved / "model.safetensors").unlink()
    files = {name: f"model-0000{1 + ('attn' in name)}-of-00002.safetensors" for name in tensors}
    for file in set(files.values()):
        part = {name: tensors[name] for name in tensors if files[name] == file}
        safetensors.numpy.save_file(part, saved / file)
    (saved / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    result = huggingface.import_run(str(saved), str(tmp_path / "1"), "stored")
    assert result["params_sha256"] == expected
    assert result["origin"]["left_out"] == [
        "multiple_choice_head.summary.bias",
        "tokens_embed.weight[20:23]",
    ]


def with_config(**changes):
    def damage(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return damage


def with_tensor(name, array):
    return lambda folder: replace_tensors(folder, lambda tensors: tensors | {name: array})


def without_tensor(removed):
    def remove(tensors):
        return {name: array for name, array in tensors.items() if name != removed}

    return lambda folder: replace_tensors(folder, remove)


def with_file(name, content):
    return lambda folder: (folder / name).write_text(content)


def with_tokenizer(change):
    def damage(folder):
        file = folder / "tokenizer.json"
        content = json.loads(file.read_text())
        file.write_text(json.dumps(content | {"model": change(content["model"])}))

    return damage


def without_file(name):
    return lambda folder: (folder / name).unlink()


def with_index(content):
    def damage(folder):
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors.index.json").write_text(content)

    return damage


def as_pickle(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def with_few_rows(folder):
    with_config(vocab_size=19)(folder)
    with_tensor("transformer.tokens_embed.weight", np.ones((19, 8), np.float32))(folder)


DAMAGES = {
    "other model type": (
        with_config(model_type="gpt2"),
        "config.json: model_type is 'gpt2', 'openai-gpt' is expected",
    ),
    "other activation": (
        with_config(afn="relu"),
        "config.json: afn is 'relu', 'gelu' is expected",
    ),
    "other epsilon": (
        with_config(layer_norm_epsilon=1e-6),
        "config.json: layer_norm_epsilon is 1e-06",
    ),
    "size is text": (
        with_config(n_layer="1"),
        "config.json: n_layer is '1', a whole number from 1 is expected",
    ),
    "heads do not divide the width": (
        with_config(n_head=3),
        "n_head 3 does not divide n_embd 8",
    ),
    "no config": (
        without_file("config.json"),
        r"config\.json: no such file; give a folder that save_pretrained has written",
    ),
    "config is not JSON": (with_file("config.json", "{"), r"config\.json: not valid JSON"),
    "config is a list": (
        with_file("config.json", "[]"),
        r"config\.json: the content is a list, an object is expected",
    ),
    "pickle": (
        as_pickle,
        "holds only pytorch_model.bin, a pickle.*save_pretrained, which writes model.safetensors",
    ),
    "no weights": (without_file("model.safetensors"), "holds no model.safetensors"),
    "truncated weights": (
        with_file("model.safetensors", "12345678"),
        r"model\.safetensors: cannot be read",
    ),
    "tensor is missing": (
        without_tensor("transformer.h.0.ln_1.bias"),
        r"lacks h\.0\.ln_1\.bias",
    ),
    "unknown tensor": (
        with_tensor("transformer.wpe", np.ones(2, np.float32)),
        "holds wpe, which",
    ),
    "softmax is not tied": (
        with_tensor("lm_head.weight", np.ones((23, 8), np.float32)),
        "lm_head.weight is not equal to tokens_embed",
    ),
    "not finite": (
        with_tensor("transformer.h.0.ln_1.weight", np.full(8, np.nan, np.float32)),
        r"h\.0\.ln_1\.weight holds a number that is not finite",
    ),
    "dropout is text": (
        with_config(embd_pdrop="lots"),
        "embd_pdrop is 'lots', a number from 0 to below 1 is expected",
    ),
    "index without a map": (
        with_index('{"weight_map": ["a"]}'),
        "weight_map is a list, an object is expected",
    ),
    "index names another folder": (
        with_index('{"weight_map": {"a": "../a"}}'),
        r"'\.\./a' is not a file in the same folder",
    ),
    "other shape": (
        with_config(n_positions=9),
        r"positions_embed\.weight is \(8, 8\), but config\.json says \(9, 8\)",
    ),
    "more layers": (with_config(n_layer=2), r"lacks h\.1\.attn"),
    "a hundred million layers": (
        with_config(n_layer=10**8),
        "config.json says 100000000 layers, but there are 14 tensors",
    ),
    "a hundred million positions": (
        with_config(n_positions=10**8),
        r"positions_embed\.weight is \(8, 8\), but config\.json says \(100000000, 8\)",
    ),
    "a hundred million tokens": (
        with_config(vocab_size=10**8),
        r"tokens_embed\.weight is \(23, 8\), but config\.json says \(100000000, 8\)",
    ),
    "size beyond 64 bits": (
        with_config(n_embd=10**30, n_head=1),
        "config.json: n_embd is 1000000000000000000000000000000, a whole number from 1",
    ),
    "size is true": (
        with_config(n_head=True),
        "config.json: n_head is True, a whole number from 1 is expected",
    ),
    "size is a list": (with_config(n_layer=[1]), r"n_layer is \[1\], a whole number from 1"),
    "model type is a list": (with_config(model_type=["openai-gpt"]), "model_type is "),
    "config nested too deeply": (
        with_file("config.json", "[" * 3000 + "]" * 3000),
        r"config\.json: nested more than",
    ),
    "tokenizer without a model": (
        with_file("tokenizer.json", '{"model": null}'),
        r"tokenizer\.json",
    ),
    "tokenizer that is a list": (with_file("tokenizer.json", "[]"), r"tokenizer\.json"),
    "vocabulary of texts": (
        with_tokenizer(lambda model: model | {"vocab": {"a": "b"}}),
        r"tokenizer\.json",
    ),
    "merges of numbers": (
        with_tokenizer(lambda model: model | {"merges": [1]}),
        r"tokenizer\.json",
    ),
    "integers": (
        with_tensor("score.weight", np.ones(2, np.int32)),
        "score.weight is I32, F32 or F16 is expected",
    ),
    "fewer rows than the vocabulary": (
        with_few_rows,
        "has 20 entries in its vocabulary, but 19 rows in its embedding",
    ),
    "no tokenizer": (
        without_file("tokenizer.json"),
        r"tokenizer\.json: no such file; give --text=published or --text=approximate",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_folder_is_refused_in_one_line(saved, tmp_path, name):
    damage, message = DAMAGES[name]
    damage(saved)
    with pytest.raises(UserError, match=message) as refusal:
        huggingface.import_run(str(saved), str(tmp_path / "run"), "stored")
    assert "\n" not in str(refusal.value) and not (tmp_path / "run").exists()


def test_byte_order_mark_is_skipped(saved, tmp_path):
    config = (saved / "config.json").read_bytes()
    huggingface.import_run(str(saved), str(tmp_path / "plain"), "stored")
    (saved / "config.json").write_bytes(b"\xef\xbb\xbf" + config)
    huggingface.import_run(str(saved), str(tmp_path / "marked"), "stored")
    files = (tmp_path / name / "result.json" for name in ("plain", "marked"))
    results = [json.loads(file.read_text()) for file in files]
    assert results[0] == results[1]


def test_shapes_are_compared_before_a_tensor_is_read(saved, tmp_path, monkeypatch):
    with_config(n_layer=10**8)(saved)

    def refuse(folder):
        raise AssertionError("the tensors are read")

    monkeypatch.setattr(hf_files, "read_tensors", refuse)
    with pytest.raises(UserError, match="100000000 layers"):
        huggingface.import_run(str(saved), str(tmp_path / "run"), "stored")
