"""Turn published or exported weights into a pretraining run, for config.init.path.

    gpt1 import --source=finetune-transformer-lm/model --workdir=runs/exp_openai
    gpt1 import --source=HF_FOLDER --workdir=runs/exp_imported

The source is the folder model/ of openai/finetune-transformer-lm, or a folder with an `openai-gpt`
model that transformers has saved.
"""

from absl import flags

from gpt1_jax import inputs
from gpt1_jax.cli import command
from gpt1_jax.errors import UserError

FLAGS = flags.FlagValues()
SOURCE = flags.DEFINE_string(
    "source", "", "Folder with the weights and the vocabulary.", flag_values=FLAGS
)
WORKDIR = flags.DEFINE_string(
    "workdir", "runs/exp_openai", "Folder of the new run.", flag_values=FLAGS
)
TEXT = flags.DEFINE_enum(
    "text",
    "",
    ("", "published", "approximate", "stored"),
    "How texts are split into words: by the published pipeline (needs ftfy and spaCy), by its "
    "approximation, or by the steps stored in the folder's tokenizer.json. By default as the "
    "folder says, else published.",
    flag_values=FLAGS,
)


def main(arguments: list[str]) -> None:
    """Import the folder that --source names."""
    command.reject_positional(arguments)
    if not SOURCE.value:
        raise UserError(
            "--source: is missing; name the folder of OpenAI's files or of a Hugging Face model"
        )
    from gpt1_jax.interop import huggingface, openai

    source = inputs.data_path("--source", SOURCE.value)
    workdir = WORKDIR.value and str(inputs.run_folder("--workdir", WORKDIR.value))
    if (source / openai.SHAPES).exists():
        if TEXT.value == "stored":
            raise UserError(
                "--text: OpenAI's files have no tokenizer.json; give published or approximate"
            )
        print(openai.import_run(source, workdir, TEXT.value or "published"))
        return
    result = huggingface.import_run(SOURCE.value, workdir, TEXT.value)
    left_out = ", ".join(result["origin"]["left_out"])
    words = result["origin"]["words"] or "the steps in tokenizer.json"
    print(f"{WORKDIR.value}: words by {words}" + (f"; left out: {left_out}" if left_out else ""))
