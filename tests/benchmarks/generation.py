"""Compare greedy generation with transformers' OpenAIGPTLMHeadModel.generate on equal weights.

    python tests/benchmarks/generation.py --rounds=5
    python tests/benchmarks/generation.py --batch=1 --new=384

The model has 12 layers of width 768 and 40,478 token rows. It has random weights and runs in
float32 on the CPU. transformers has no KV cache for this model (5.24, modeling_openai.py), so each
of its tokens costs a pass over the whole text so far. Each token here costs one decode step. Both
must give the same tokens. The two run in turn. The program prints the tokens per second of every
round and their ratio. It also prints the time of a decode step, which includes a share of the
prompt's time, and a lower bound of this time. The bound is the time to read the weights once: XLA's
sum of all weights, timed in the same round.
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
from gpt1_jax.models.factory import init_params
from gpt1_jax.models.heads import LanguageModel
from gpt1_jax.models.transformer import Transformer

VOCABULARY = 40_478
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Number of rounds after the compilation.")
_BATCHES = flags.DEFINE_multi_integer("batch", [1, 4], "Number of rows; may be repeated.")
_PROMPT = flags.DEFINE_integer("prompt", 32, "Number of tokens in each prompt.")
_NEW = flags.DEFINE_integer("new", 128, "Number of tokens to generate for each row.")


def torch_model(params) -> torch.nn.Module:
    """Return the model of transformers with the weights `params`."""
    config = transformers.OpenAIGPTConfig(vocab_size=VOCABULARY)
    model = transformers.OpenAIGPTLMHeadModel(config).eval()
    state = hf_weights.from_params(params, config.n_layer)
    state[hf_weights.TIED] = state[hf_weights.PREFIX + hf_weights.EMBEDDINGS["tokens"]]
    state = {name: torch.from_numpy(np.array(value)) for name, value in state.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    # The only buffers without a counterpart are the causal masks.
    assert not unexpected and all(name.endswith("attn.bias") for name in missing), (
        missing,
        unexpected,
    )
    return model


def timed(call) -> tuple[float, np.ndarray]:
    """Return the seconds that `call` takes, and its result."""
    begin = time.perf_counter()
    result = np.asarray(call())
    return time.perf_counter() - begin, result


def make_calls(model: LanguageModel, params, reference: torch.nn.Module, batch: int) -> tuple:
    """Return two functions that generate the new tokens [B L] of the same prompts."""
    prompts = np.random.default_rng(0).integers(0, VOCABULARY, (batch, _PROMPT.value))
    keys = jax.random.split(jax.random.key(0), batch)
    greedy = sampling.SamplingParams(greedy=True)
    inputs = torch.from_numpy(prompts)
    options = dict(
        attention_mask=torch.ones_like(inputs),
        max_new_tokens=_NEW.value,
        do_sample=False,
        pad_token_id=0,
    )

    def jax_tokens():
        steps = sampling.generate(model, params, prompts.tolist(), _NEW.value, keys, greedy)
        return np.stack(list(steps), axis=1)

    def torch_tokens():
        return reference.generate(inputs, **options)[:, _PROMPT.value :]

    return jax_tokens, torch_tokens


def main(_):
    model = LanguageModel(Transformer(VOCABULARY))
    params = jax.tree.map(jnp.asarray, init_params(model, 0, np.zeros((1, 8), np.int32)))
    reference = torch_model(params)
    sum_weights = jax.jit(lambda params: sum(jnp.sum(leaf) for leaf in jax.tree.leaves(params)))
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    for batch in _BATCHES.value:
        jax_tokens, torch_tokens = make_calls(model, params, reference, batch)
        jax_tokens()
        count = batch * _NEW.value
        ratios, bound_ratios = [], []
        for number in range(1, _ROUNDS.value + 1):
            bound = statistics.median(timed(lambda: sum_weights(params))[0] for _ in range(9))
            jax_time, tokens = timed(jax_tokens)
            torch_time, expected = timed(torch_tokens)
            np.testing.assert_array_equal(tokens, expected)
            ratios.append(torch_time / jax_time)
            bound_ratios.append(bound * _NEW.value / jax_time)
            print(
                f"batch {batch} round {number}: gpt1_jax {count / jax_time:.1f} "
                f"transformers {count / torch_time:.1f} tokens/s  ratio {ratios[-1]:.2f}  "
                f"step {1e3 * jax_time / _NEW.value:.1f} ms, "
                f"bound {1e3 * bound:.1f} ms at {size / bound / 1e9:.1f} GB/s",
                flush=True,
            )
        print(
            f"batch {batch}: median ratio {statistics.median(ratios):.2f}, "
            f"bound / step {statistics.median(bound_ratios):.2f}",
            flush=True,
        )


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    app.run(main)
