"""Format numbers, names and sentences for readers.

Scores and differences come in as fractions. They are shown in points (x 100).
"""

import math
import re
from collections.abc import Sequence
from typing import Any

from gpt1_jax.analysis.report import paper
from gpt1_jax.analysis.report.scores import EXAMPLES, Column, Condition
from gpt1_jax.analysis.report.tables import Cell
from gpt1_jax.analysis.stats.intervals import Estimate

# The labels of settings; others have their own names.
SETTINGS = {
    "init.layers": "layers transferred",
    EXAMPLES: "labeled examples",
    "init.step": "pretraining steps",
    "lm_coef": "weight of the auxiliary LM loss",
    "optim.lr": "learning rate",
    "model.layers": "probed block",
    "pretrain.model.layers": "blocks",
    "pretrain.model.heads": "heads",
    "pretrain.tokenizer.vocab_size": "token ids",
}
COUNTED = (  # settings whose label is a noun that can be counted
    "init.layers",
    EXAMPLES,
    "init.step",
    "pretrain.model.layers",
    "pretrain.model.heads",
    "pretrain.tokenizer.vocab_size",
)
ABSENT = Cell("–", style="absent")


def score(estimate: Estimate | None) -> Cell:
    """Return a cell with a score, its interval, the standard deviation and number of its seeds."""
    if estimate is None:
        return ABSENT
    standard_deviation = 100 * estimate.standard_deviation
    seeds = "n 1" if estimate.seeds == 1 else f"sd {standard_deviation:.1f}, n {estimate.seeds}"
    more = {"standard_deviation": standard_deviation, "seeds": estimate.seeds}
    return _estimate_cell(estimate, number(estimate.mean).text, seeds, more)


def difference_cell(entry: Estimate | None) -> Cell:
    """Return a cell with a difference, its interval, p and the smallest detectable difference.

    A significant difference is marked by an asterisk.
    """
    if entry is None:
        return ABSENT
    text = signed(100 * entry.mean) + ("*" if entry.significant else "")
    test = f"{probability(entry.p_corrected)}\nδ {_detectable(entry)}"
    more = {"p": entry.p_corrected, "detectable": 100 * entry.detectable}
    return _estimate_cell(entry, text, test, more)


def _estimate_cell(estimate: Estimate, text: str, below: str, more: dict[str, float]) -> Cell:
    """Return a cell with `text`, the interval, and `below` with the number of failed runs."""
    low, high = 100 * estimate.low, 100 * estimate.high
    if estimate.failed:
        below += f"\n{estimate.failed}/{estimate.runs} failed"
    numbers = {"low": low, "high": high, **more, "failed": estimate.failed}
    return Cell(
        text,
        f"{interval(low, high)}\n{below}",
        100 * estimate.mean,
        {name: value for name, value in numbers.items() if not math.isnan(value)},
        style="significant" if estimate.significant else "",
    )


def _detectable(difference: Estimate) -> str:
    """Return the smallest detectable difference in points, unless no difference is so large."""
    largest = difference.limits[1]
    if difference.detectable > largest:
        return f"over {100 * largest:.0f}"
    return f"{100 * difference.detectable:.1f}"


def number(fraction: float) -> Cell:
    """Return a cell with a score alone."""
    return Cell(f"{100 * fraction:.1f}".replace("-", "−"), "", 100 * fraction)


def mean_and_range(fractions: Sequence[float]) -> Cell:
    """Return a cell with the mean of scores, and below it their range if there are several."""
    if not fractions:
        return ABSENT
    cell = number(sum(fractions) / len(fractions))
    if len(fractions) == 1:
        return cell
    low, high = 100 * min(fractions), 100 * max(fractions)
    return cell._replace(small=interval(low, high), more={"low": low, "high": high})


def fraction_and_range(fractions: Sequence[float]) -> str:
    """Return the mean of fractions for a sentence, and their range if there are several."""
    mean, low, high = sum(fractions) / len(fractions), min(fractions), max(fractions)
    text = f"{mean:.2f}" + (f" [{low:.2f}, {high:.2f}]" if len(fractions) > 1 else "")
    return _join_numbers(text.replace("-", "−"))


def paper_number(points: float | None) -> Cell:
    """Return a cell with a number of the paper."""
    return ABSENT if points is None else Cell(f"{points:.1f}", "", points)


def interval(low: float, high: float) -> str:
    """Return "[low, high]" with one decimal."""
    return f"[{low:.1f}, {high:.1f}]".replace("-0.0", "0.0").replace("-", "−")


def signed(points: float) -> str:
    """Return the number with its sign and one decimal; without a sign if it rounds to zero."""
    text = f"{abs(points):.1f}"
    if text == "0.0":
        return text
    return ("+" if points > 0 else "−") + text


def probability(p: float) -> str:
    """Return p with three decimals below 0.1, else with two."""
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def setting(name: str) -> str:
    """Return the label of a varied setting in tables and on axes."""
    return SETTINGS.get(name, name.removeprefix("pretrain."))


def at(values: str, setting_name: str) -> str:
    """Return values of a setting for a sentence: "100 labeled examples", "learning rate 0.001"."""
    label = setting(setting_name)
    return f"{values} {label}" if setting_name in COUNTED else f"{label} {values}"


def value(number: float | str | None, setting_name: str) -> str:
    """Return the label of a value of the setting in tables and on axes."""
    if setting_name == EXAMPLES and number == 0:
        return "all"
    if setting_name == "init.layers":
        names: dict[Any, str] = {-1: "none", 0: "emb."}
        return names.get(number, str(number))
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    return f"{number:,g}" if is_number else str(number)


def condition(entry: Condition, setting_name: str) -> str:
    """Return the label of a condition in a legend: the variant, and the value if there is one."""
    name = paper.variant_of(entry.variant).short
    return name if entry.value is None else f"{name}, {value(entry.value, setting_name)}"


def names(columns: Sequence[Column]) -> str:
    """Return the titles of columns for a sentence."""
    return ", ".join(column.title for column in columns) or "none"


def count(number: int, noun: str) -> str:
    """Return the number with the noun in singular or plural: "1 run", "2 runs"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def change(opening: str, difference: Estimate, columns: Sequence[Column]) -> str:
    """Return sentences about the change of an average; they claim a change only if significant.

    Args:
        opening: the beginning of the sentence, which says what was changed.
        difference: the first condition minus the second.
        columns: the columns of the average.
    """
    score_name = names(columns)
    if len(columns) > 1:
        score_name = f"the average over {count(len(columns), 'task')}"
    points, p = 100 * difference.mean, probability(difference.p_corrected)
    falling = interval(100 * difference.low, 100 * difference.high)
    rising = interval(-100 * difference.high, -100 * difference.low)
    if not difference.significant:
        numbers = f"{signed(-points)} points {rising}, {p}"
        text = f"{opening}, the change of {score_name} is not significant ({numbers})."
    elif points > 0:
        text = f"{opening}, {score_name} falls by {points:.1f} points {falling} ({p})."
    else:
        text = f"{opening}, {score_name} rises by {-points:.1f} points {rising} ({p})."
    text += f" The smallest detectable change is {_detectable(difference)} points."
    return _join_numbers(text)


def trend(subject: str, where: str, slope: Estimate) -> str:
    """Return a sentence about the slope of a curve; it claims a trend only if significant."""
    numbers = (
        f"{signed(100 * slope.mean)} points a step {interval(100 * slope.low, 100 * slope.high)}, "
        f"{probability(slope.p_corrected)}"
    )
    if not slope.significant:
        text = f"{subject} has no significant trend from {where} ({numbers})."
    else:
        verb = "rises" if slope.mean > 0 else "falls"
        text = f"{subject} {verb} from {where} ({numbers})."
    return _join_numbers(text)


def _join_numbers(text: str) -> str:
    """Keep intervals and p values on one line with non-breaking spaces."""
    text = re.sub(r"(\[[^],]*), ", "\\1,\u00a0", text)
    return re.sub(r"p ([=<]) ", "p\u00a0\\1\u00a0", text)


def opening(entry: Condition, setting_name: str) -> str:
    """Return the beginning of a sentence about a condition."""
    phrase = paper.variant_of(entry.variant).phrase
    if entry.value is None:
        return phrase
    return f"{phrase}, at {at(value(entry.value, setting_name), setting_name)}"
