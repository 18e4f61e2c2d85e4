"""List the fields of the runs' files that the report reads, as `inputs.check_fields` takes them."""

# result.json of a finetuning run
FINETUNING = {
    "task": str,
    "metrics.*.*": float,
    "data.splits.*.rows": int,
    "data.splits.*.sha256": str,
    "data.splits.*.published?": bool,
    "seconds?": float,
}
# result.json of a pretraining run
PRETRAINING = {
    "tokens?": int,
    "validation_loss?": float,
    "validation_perplexity?": float,
    "validation_bits_per_character?": float,
}
# result.json of zero-shot probes
ZERO_SHOT = {
    "probes.*.curve": str,
    "probes.*.metric": str,
    "probes.*.split": str,
    "probes.*.rows": int,
    "probes.*.chance": float,
    "probes.*.ceiling": float,
    "probes.*.steps.*.score": float,
    "probes.*.steps.*.relative": float,
}
# data.json of a pretraining run, also of a mixture
COUNTS = ("documents", "characters", "tokens")
DATA = {f"{part}splits.train.{name}?": int for part in ("", "parts.*.") for name in COUNTS}
