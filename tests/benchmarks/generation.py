"""Greedy generation: ours against transformers' OpenAIGPTLMHeadModel.generate, on the same random weights, in turn.

    python tests/benchmarks/generation.py --rounds=5
    python tests/benchmarks/generation.py --batch=1 --new=384

12 layers of width 768 and 40,478 token rows in float32 on the CPU. transformers keeps no keys and values for this model (5.24, whose
modeling_openai.py has no cache), so that each of its tokens costs a pass over the whole text so far; ours costs one token. Both must give
the same tokens. Prints the tokens a second of every round and their ratio; beside them what a step of ours took, the prompt's share with
it, and its floor: the weights must be read once a step, and XLA's sum of them all is timed in the same round.
"""

import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers
from absl import app, flags

from gpt1_jax.interop import hf_weights
from gpt1_jax.models import sampling
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.models.transformer import Transformer
from gpt1_jax.trainers.fit import fresh_params

VOCABULARY = 40_478
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Rounds, after ours has been compiled.")
_BATCHES = flags.DEFINE_multi_integer("batch", [1, 4], "Rows; may be given again.")
_PROMPT = flags.DEFINE_integer("prompt", 32, "Tokens of each prompt.")
_NEW = flags.DEFINE_integer("new", 128, "Tokens to generate for each row.")


def theirs(params) -> torch.nn.Module:
    """Their model, with our weights."""
    model = transformers.OpenAIGPTLMHeadModel(
        transformers.OpenAIGPTConfig(vocab_size=VOCABULARY)
    ).eval()
    state = hf_weights.from_params(params, model.config.n_layer)
    state[hf_weights.TIED] = state[hf_weights.PREFIX + hf_weights.EMBEDDINGS["tokens"]]
    state = {name: torch.from_numpy(np.array(value)) for name, value in state.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all(name.endswith("attn.bias") for name in missing), (
        missing,
        unexpected,
    )  # their causal masks
    return model


def timed(call) -> tuple[float, np.ndarray]:
    begin = time.perf_counter()
    result = np.asarray(call())
    return time.perf_counter() - begin, result


def contestants(model: LanguageModel, params, other: torch.nn.Module, batch: int) -> dict:
    """Two calls that give the new tokens of the same prompts, [B L]."""
    prompts = np.random.default_rng(0).integers(0, VOCABULARY, (batch, _PROMPT.value))
    keys, rule = jax.random.split(jax.random.key(0), batch), sampling.SamplingParams(greedy=True)
    inputs = torch.from_numpy(prompts)
    options = dict(
        attention_mask=torch.ones_like(inputs),
        max_new_tokens=_NEW.value,
        do_sample=False,
        pad_token_id=0,
    )
    return {
        "ours": lambda: np.stack(
            list(sampling.generate(model, params, prompts.tolist(), _NEW.value, keys, rule)), axis=1
        ),
        "theirs": lambda: other.generate(inputs, **options)[:, _PROMPT.value :],
    }


def main(_):
    model = LanguageModel(Transformer(VOCABULARY))
    params = jax.tree.map(jnp.asarray, fresh_params(model, 0, np.zeros((1, 8), np.int32)))
    other, read = (
        theirs(params),
        jax.jit(lambda params: sum(jnp.sum(leaf) for leaf in jax.tree.leaves(params))),
    )
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    for batch in _BATCHES.value:
        calls, ratios, shares = contestants(model, params, other, batch), [], []
        calls["ours"]()
        for number in range(1, _ROUNDS.value + 1):
            floor = statistics.median(timed(lambda: read(params))[0] for _ in range(9))
            (our, found), (their, expected) = (timed(call) for call in calls.values())
            np.testing.assert_array_equal(found, expected)
            ratios.append(their / our)
            shares.append(floor * _NEW.value / our)
            speeds = f"ours {batch * _NEW.value / our:.1f} theirs {batch * _NEW.value / their:.1f} tokens/s  ratio {ratios[-1]:.2f}"
            step = f"a step {1e3 * our / _NEW.value:.1f} ms, floor {1e3 * floor:.1f} ms at {size / floor / 1e9:.1f} GB/s"
            print(f"batch {batch} round {number}: {speeds}  {step}", flush=True)
        print(
            f"batch {batch}: median ratio {statistics.median(ratios):.2f}, of floor to step {statistics.median(shares):.2f}",
            flush=True,
        )


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    app.run(main)
