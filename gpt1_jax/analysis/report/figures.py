"""Which pictures a report draws of scores, probes and runs, beside the paper's where it has them. plots.py draws them."""

from collections.abc import Mapping, Sequence

import numpy as np

from gpt1_jax.analysis.report import formatting, paper, plots
from gpt1_jax.analysis.report.differences import Differences
from gpt1_jax.analysis.report.plots import Axis, Figure, Line, Panel
from gpt1_jax.analysis.report.results import Folder
from gpt1_jax.analysis.report.scores import EXAMPLES, Column, Condition, Scores
from gpt1_jax.analysis.stats.intervals import Difference, Estimate

GREY = len(plots.COLOURS) - 1  # for lines of a legend that only say what a stroke means
STRIP = 5  # tasks side by side in one picture


def experiment(name: str, scores: Scores, found: Differences) -> list[Figure]:
    """Over a numeric setting: scores and what full has over the variants; else every seed."""
    if len(scores.values) > 1:
        made = [_over_setting(name, scores)]
        if scores.setting == "init.layers":
            made.append(published_transfer())
        return made + [
            _gains(name, scores, found, variant)
            for variant in dict.fromkeys(other.variant for _, other, _ in found.single)
        ]
    parts = [
        scores.columns[start : start + STRIP] for start in range(0, len(scores.columns), STRIP)
    ]
    return [
        _strip(f"{name}_seeds_{number}" if len(parts) > 1 else f"{name}_seeds", scores, part)
        for number, part in enumerate(parts, 1)
    ]


def _strip(name: str, scores: Scores, columns: Sequence[Column]) -> Figure:
    single = {
        column.title: {
            formatting.condition(condition, scores.setting): [
                100 * score for score in scores.seed_scores(column, condition).values()
            ]
            for condition in scores.conditions
        }
        for column in columns
    }
    alt = f"The score of every single seed on {formatting.names(columns)}, the means as bars. The means are in the table."
    return plots.strip(name, "Every seed; bars are means", alt, single, "100 x metric, dev")


def _over_setting(name: str, scores: Scores) -> Figure:
    """Score against the setting: a colour a task, a stroke a variant."""
    variants = list(dict.fromkeys(condition.variant for condition in scores.conditions))
    lines = []
    for slot, column in enumerate(scores.columns):
        for stroke, variant in enumerate(variants):
            scored = [
                condition
                for condition in _numeric(scores, variant)
                if scores.runs(column, condition)
            ]
            points = {
                scores.position(column, condition): scores.estimate(column, condition)
                for condition in scored
            }
            lines += _banded(column.title, points, slot, stroke)
    axis = _axis(scores, lines)
    if len(variants) > 1:
        strokes = {
            paper.variant_of(variant).short: stroke for stroke, variant in enumerate(variants)
        }
        lines += [
            Line(short, (), (), slot=GREY, stroke=stroke, marked=False)
            for short, stroke in strokes.items()
        ]
    title = f"Ours: score against {axis.label}"
    alt = f"{title}, for {formatting.names(scores.columns)}; bands are 95% intervals. The numbers are in the table."
    return plots.curves(name, title, alt, axis, [Panel("100 x metric, dev", lines)])


def _gains(name: str, scores: Scores, found: Differences, variant: str) -> Figure:
    """Full minus a variant against the setting."""
    lines = []
    for slot, column in enumerate(scores.columns):
        compared = {key[1]: entry for key, entry in found.single.items() if key[2] == column}
        points = {
            scores.position(column, other): compared[other]
            for other in _numeric(scores, variant)
            if other in compared
        }
        lines += _banded(column.title, points, slot)
    axis, other = _axis(scores, lines), paper.variant_of(variant).short
    title = f"Full minus {other} against {axis.label}"
    alt = f"{title}, for {formatting.names(scores.columns)}; bands are 95% intervals. The numbers are in the table of differences."
    return plots.curves(
        f"{name}_{variant}", title, alt, axis, [Panel(f"full minus {other}", lines, zero=True)]
    )


def _numeric(scores: Scores, variant: str) -> list[Condition]:
    """The variant's conditions with a numeric value, in its order."""
    return [
        condition
        for condition in scores.conditions
        if condition.variant == variant and condition.value in scores.values
    ]


def _banded(
    label: str, points: Mapping[float, Estimate | Difference], slot: int, stroke: int = 0
) -> list[Line]:
    """A line of means with its 95% band; none without points."""
    rows = (
        [100 * getattr(entry, part) for entry in points.values()]
        for part in ("mean", "low", "high")
    )
    return [Line(label, list(points), *rows, slot=slot, stroke=stroke)] if points else []


def _axis(scores: Scores, lines: Sequence[Line]) -> Axis:
    """Ticks at the values; not at all labelled examples, which are as many as a task has."""
    places = [place for line in lines for place in line.x]
    log = bool(places) and min(places) > 0 and max(places) >= 5 * min(places)
    most = max(places, default=0)
    values = [value for value in scores.values if scores.setting != EXAMPLES or 0 < value <= most]
    ticks = {value: _tick(value, scores.setting) for value in values}
    return Axis(formatting.setting(scores.setting), log, ticks)


def _tick(value: float, setting: str) -> str:
    """Embeddings alone go a line lower, for a panel of twelve layers has no room for them beside nothing."""
    text = formatting.value(value, setting)
    return f"\n{text}" if setting == "init.layers" and value == 0 else text


def published_transfer() -> Figure:
    """Figure 2, left, as published."""
    numbers = paper.numbers()["figure2_left"]
    layers = numbers["n_transfer"]
    published = {"MNLI dev": numbers["mnli_m_dev"], "RACE dev": numbers["race_dev"]}
    lines = [
        Line(label, layers, values, slot=slot, stroke=1)
        for slot, (label, values) in enumerate(published.items())
    ]
    ticks = {layer: _tick(layer, "init.layers") for layer in layers if layer < 1 or layer % 2 == 0}
    alt = "The paper's Figure 2, left: accuracy on MNLI and RACE rises with the layers transferred, from 72.5 to 82.4 and from 39.6 to 60.1."
    axis = Axis("layers transferred", False, ticks)
    return plots.curves(
        "transfer_paper",
        "The paper: 12 layers (digitised)",
        alt,
        axis,
        [Panel("accuracy, dev", lines)],
    )


def zero_shot(probes: Mapping[str, Mapping[str, Mapping]]) -> list[Figure]:
    """Relative performance against updates, ours and Figure 2, right; `probes`: body -> task -> what was probed."""
    drawn = [
        (body, probe)
        for body, own in probes.items()
        for probe in own.values()
        if probe["curve"] and probe["steps"]
    ]
    if not drawn:
        return []
    slots = {
        curve: slot
        for slot, curve in enumerate(
            dict.fromkeys([*paper.CURVES, *(probe["curve"] for _, probe in drawn)])
        )
    }
    lines = []
    for body, probe in sorted(drawn, key=lambda pair: slots[pair[1]["curve"]]):
        steps = sorted(map(int, probe["steps"]))
        lines.append(
            _probe_line(
                probe["curve"],
                body,
                steps,
                [probe["steps"][str(step)]["relative"] for step in steps],
                slots,
            )
        )
    numbers = paper.numbers()["figure2_right"]
    theirs = [
        _probe_line(curve, body, numbers["updates"], numbers[body][curve], slots)
        for body in paper.BODIES
        for curve in paper.CURVES
    ]
    strokes = [
        Line(name, (), (), slot=GREY, stroke=int(body == "lstm"), marked=False)
        for body, name in paper.BODIES.items()
    ]
    axis, y = Axis("pretraining updates", log=True), "0 guessing, 1 the ceiling"
    alts = (
        f"Relative zero-shot performance against pretraining updates: {', '.join(slots)}. The raw scores are in the table.",
        "The paper's Figure 2, right: all four probes rise with pretraining; the Transformer's end above the LSTM's.",
    )
    return [
        plots.curves(
            "zero_shot",
            "Ours: relative performance",
            alts[0],
            axis,
            [Panel(y, lines + strokes, zero=True)],
            height=3.6,
        ),
        plots.curves(
            "zero_shot_paper",
            "The paper (digitised; cut at 0)",
            alts[1],
            axis,
            [Panel(y, theirs + strokes, zero=True)],
            height=3.6,
        ),
    ]


def _probe_line(curve: str, body: str, x: Sequence, y: Sequence, slots: Mapping[str, int]) -> Line:
    return Line(paper.CURVES.get(curve, curve), x, y, slot=slots[curve], stroke=int(body == "lstm"))


def learning(scores: Scores, column: Column) -> Figure:
    """A task's training loss above its development score: thick the mean over seeds, thin single runs, a colour a variant."""
    losses, metrics = [], []
    for slot, condition in enumerate(scores.conditions):
        runs = scores.runs(column, condition).values()
        label = formatting.condition(condition, scores.setting)
        losses += _seeds(label, [run.curve("task_loss") for run in runs], slot, 1.0, marked=False)
        metrics += _seeds(
            label,
            [run.curve(f"{column.splits[0]}_{column.metric}") for run in runs],
            slot,
            100.0,
            marked=True,
        )
    panels = [
        Panel("training loss", losses),
        Panel(f"100 x {paper.METRICS[column.metric]}, dev", metrics),
    ]
    alt = f"Learning curves of {column.title}: training loss of the task above, {column.metric} on the development split below."
    name = "_".join(filter(None, ["learning", column.task, column.data]))
    return plots.curves(name, column.title, alt, Axis("updates"), panels, height=4.4)


def _seeds(
    label: str,
    single: Sequence[tuple[np.ndarray, np.ndarray]],
    slot: int,
    scale: float,
    marked: bool,
) -> list[Line]:
    """The single curves, and their mean where all were logged at the same updates."""
    drawn = [(steps, scale * values) for steps, values in single if len(steps)]
    lines = (
        [Line(label, steps, values, slot=slot, faint=True, marked=False) for steps, values in drawn]
        if len(drawn) > 1
        else []
    )
    if drawn and all(np.array_equal(steps, drawn[0][0]) for steps, _ in drawn):
        lines.append(
            Line(
                label,
                drawn[0][0],
                np.mean([values for _, values in drawn], axis=0),
                slot=slot,
                marked=marked,
            )
        )
    return lines


def pretraining(runs: Mapping[str, Folder]) -> list[Figure]:
    """Loss, in training and held out, and throughput against updates; a colour a body."""
    loss, speed = [], []
    for slot, (body, run) in enumerate(runs.items()):
        name = paper.BODIES.get(body, body)
        loss.append(Line(f"{name}, training", *run.curve("loss"), slot=slot, marked=False))
        loss.append(Line(f"{name}, held out", *run.curve("validation_loss"), slot=slot, stroke=1))
        speed.append(Line(name, *run.curve("tokens_per_s"), slot=slot, marked=False))
    drawn = {
        "pretraining_loss": (
            "Loss",
            "Training and held-out loss against updates, in nats a token.",
            Panel("nats a token", loss),
        ),
        "pretraining_speed": (
            "Throughput",
            "Tokens a second against updates.",
            Panel("tokens a second", speed),
        ),
    }
    kept = lambda panel: panel._replace(lines=[line for line in panel.lines if len(line.x)])
    return [
        plots.curves(name, title, alt, Axis("updates"), [kept(panel)])
        for name, (title, alt, panel) in drawn.items()
        if kept(panel).lines
    ]
