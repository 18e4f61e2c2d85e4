"""Write a run as a folder in Hugging Face's `openai-gpt` format, which transformers loads offline.

    gpt1 export --workdir=runs/exp_books --output=hf_books

Only the Transformer can be exported: transformers does not have the LSTM.
"""

from absl import flags

from gpt1_jax.cli import command

FLAGS = flags.FlagValues()
WORKDIR = flags.DEFINE_string(
    "workdir",
    "",
    "Folder of a pretraining or finetuning run, or one of its checkpoints, DIR/checkpoints/STEP.",
    flag_values=FLAGS,
)
OUTPUT = flags.DEFINE_string("output", "", "Folder to write.", flag_values=FLAGS)
LM = flags.DEFINE_bool(
    "lm",
    False,
    "Export the language model of a finetuned run, without the classifier.",
    flag_values=FLAGS,
)


def main(arguments: list[str]) -> None:
    """Export the run that --workdir names and print the names of the files."""
    command.reject_positional(arguments)
    from gpt1_jax.interop import huggingface

    names = huggingface.export_run(WORKDIR.value, OUTPUT.value, LM.value)
    print(f"{OUTPUT.value}: {', '.join(names)}")
