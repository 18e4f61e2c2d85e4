"""Numbers as a reader sees them: cells, names and sentences. Scores are fractions where they come from, points (x 100) here."""

import math
import re
from collections.abc import Sequence

from gpt1_jax.analysis.report import paper
from gpt1_jax.analysis.report.scores import EXAMPLES, Column, Condition
from gpt1_jax.analysis.report.tables import Cell
from gpt1_jax.analysis.stats.intervals import Difference, Estimate

ABSENT = Cell("–", style="absent")
ESTIMATES = "100 x the metric on {split}, mean over seeds; [95% interval]; sd, the standard deviation between seeds; n, the number of seeds."
DIFFERENCES = (
    "Points; [95% interval]; p after Holm's correction over the {single} of this table, and over its {averages}; "
    "* marks p < 0.05 where Student's t agrees; δ, the smallest true difference that would be found in four of five repetitions."
)


def score(estimate: Estimate | None) -> Cell:
    """A score with its interval and the spread between its seeds."""
    if estimate is None:
        return ABSENT
    low, high, spread = 100 * estimate.low, 100 * estimate.high, 100 * estimate.spread
    between = f"sd {spread:.1f}, n {estimate.seeds}" if estimate.seeds > 1 else "n 1"
    more = {"low": low, "high": high, "spread": spread, "seeds": estimate.seeds}
    return number(estimate.mean)._replace(
        small=f"{interval(low, high)}\n{between}", more=_finite(more)
    )


def gain(difference: Difference | None) -> Cell:
    """A difference with its interval, corrected p and the smallest that would have been found."""
    if difference is None:
        return ABSENT
    low, high, detectable = 100 * difference.low, 100 * difference.high, 100 * difference.detectable
    more = {
        "low": low,
        "high": high,
        "p": difference.p,
        "p_holm": difference.p_holm,
        "detectable": detectable,
    }
    if difference.mcnemar:
        more |= {
            "mcnemar": sum(p < 0.05 for p in difference.mcnemar),
            "pairs": len(difference.mcnemar),
        }
    clear = difference.established
    small = f"{interval(low, high)}\n{probability(difference.p_holm)}, δ {_detectable(difference)}"
    return Cell(
        signed(100 * difference.mean) + "*" * clear,
        small,
        100 * difference.mean,
        _finite(more),
        "clear" * clear,
    )


def _detectable(difference: Difference) -> str:
    """None can be told where neither examples nor seeds make a difference, as between two constant answers."""
    return f"{100 * difference.detectable:.1f}" if difference.detectable > 1e-9 else "–"


def number(fraction: float) -> Cell:
    """A bare score."""
    return Cell(f"{100 * fraction:.1f}".replace("-", "−"), "", 100 * fraction)


def published(points: float | None) -> Cell:
    """A number of the paper's."""
    return ABSENT if points is None else Cell(f"{points:.1f}", "", points)


def _finite(numbers: dict[str, float]) -> dict[str, float]:
    """Without those that do not exist, such as the spread of one seed."""
    return {name: value for name, value in numbers.items() if not math.isnan(value)}


def interval(low: float, high: float) -> str:
    """[low, high], one decimal each."""
    return f"[{low:.1f}, {high:.1f}]".replace("-0.0", "0.0").replace("-", "−")


def signed(points: float) -> str:
    """With its sign, one decimal; no sign where it rounds to zero."""
    text = f"{abs(points):.1f}"
    return text if text == "0.0" else ("+" if points > 0 else "−") + text


def probability(p: float) -> str:
    """p with the digits that it deserves."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def setting(name: str) -> str:
    """What a table or an axis calls the setting that is varied."""
    return {"init.layers": "layers transferred", EXAMPLES: "labelled examples"}.get(name, name)


def value(what: float | str, name: str) -> str:
    """A value of the setting `name`, as tables and axes have it."""
    if name == EXAMPLES and what == 0:
        return "all"
    if name == "init.layers":
        return {-1: "none", 0: "emb."}.get(what, str(what))
    return (
        f"{what:,g}" if isinstance(what, int | float) and not isinstance(what, bool) else str(what)
    )


def condition(what: Condition, setting_name: str) -> str:
    """A condition in a legend: the variant's short name, and its value where there is one."""
    name = paper.variant_of(what.variant).short
    return name if what.value is None else f"{name}, {value(what.value, setting_name)}"


def names(columns: Sequence[Column]) -> str:
    """Columns in a sentence."""
    return ", ".join(column.title for column in columns) or "none"


def count(number: int, noun: str) -> str:
    """A number of things: "1 run", "2 runs"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def change(begin: str, difference: Difference, columns: Sequence[Column]) -> str:
    """One cautious sentence on an average that changes from one condition (the minuend of `difference`) to another; `begin` says how."""
    points, low, high = (
        100 * figure for figure in (difference.mean, difference.low, difference.high)
    )
    what = f"the average over {count(len(columns), 'task')}" if len(columns) > 1 else names(columns)
    if difference.established:
        way, shown = (
            ("falls", interval(low, high)) if points > 0 else ("rises", interval(-high, -low))
        )
        text = f"{begin}, {what} {way} by {abs(points):.1f} points {shown} ({probability(difference.p_holm)})"
    else:
        shown = f"{signed(-points)} {interval(-high, -low)}; {probability(difference.p_holm)}"
        text = f"{begin}, no change of {what} is established ({shown})"
    text += (
        f"; smallest detectable change {_detectable(difference)}."
        if difference.detectable > 1e-9
        else "."
    )
    # Figures stay on one line.
    return re.sub(r"p ([=<]) ", "p\u00a0\\1\u00a0", re.sub(r"(\[[^],]*), ", "\\1,\u00a0", text))


def begin(what: Condition, setting_name: str) -> str:
    """How a sentence on a variant begins, at its value of the setting where there is one."""
    phrase = paper.variant_of(what.variant).phrase
    return (
        phrase
        if what.value is None
        else f"{phrase}, at {value(what.value, setting_name)} {setting(setting_name)}"
    )
