"""Print what a rehearsal finds: two tables, and all figures as JSON in the last line."""

import json
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from gpt1_jax.analysis.report.tables import Cell, Row, Table
from gpt1_jax.engine.hlo_traffic import Operation
from gpt1_jax.engine.rehearsal import Compiled
from gpt1_jax.trainers.rehearsal import Rehearsal, compile_for
from gpt1_jax.trainers.rehearsed_steps import RehearsedStep

OPERATIONS = 20  # at most, with the most bytes
RESERVED = 0.75  # the part of a GPU's memory that JAX takes by default


def rehearse(config: ConfigDict, describe: Callable[[ConfigDict], RehearsedStep]) -> dict[str, Any]:
    """Compile the step of a run for config.compile_for, print the figures and return them.

    Arguments and errors as for `rehearsal.compile_for`.
    """
    found = compile_for(config, describe)
    print(summary(found).markdown(), end="\n\n")
    if found.compiled is not None:
        print(operations(found).markdown(), end="\n\n")
    figures = report(found)
    print(json.dumps(figures))
    return figures


def report(found: Rehearsal) -> dict[str, Any]:
    """Return all figures as JSON values: bytes, operations and seconds, for each device."""
    target, step, compiled = found.target, found.step, found.compiled
    figures = {
        "target": target.name,
        "accelerator": target.accelerator.name,
        "devices": target.devices,
        "dtype": found.dtype,
        "step": step.description,
        "fits": found.fits,
        "needed": found.needed,
        "available": target.accelerator.memory,
        "accumulate": found.accumulate,
        "flops": step.flops / target.devices,
    }
    if compiled is None:
        return figures
    return {
        **figures,
        "memory": compiled.memory._asdict(),
        "compiler_flops": compiled.flops,
        "bytes": compiled.traffic.bytes,
        "touched": compiled.traffic.touched,
        "seconds": found.seconds,
        "share_of_peak": found.seconds["flops"] / found.least_seconds,
        "instructions": _instructions(compiled),
        "collectives": [kind._asdict() for kind in compiled.collectives],
        "compile_seconds": round(compiled.seconds, 1),
        "unknown_loops": compiled.unknown_loops,
        "operations": [row._asdict() for row in _largest(compiled)],
    }


def summary(found: Rehearsal) -> Table:
    """Return the table of the figures."""
    target, step, compiled = found.target, found.step, found.compiled
    rows = {
        "devices": f"{target.devices} x {target.accelerator.name}",
        "step": step.description,
        "fits": _fit(found),
        "FLOPs a device": f"{step.flops / target.devices:.3g}",
    }
    notes = [f"Specifications: {target.accelerator.source}"]
    if compiled is not None:
        rows |= _figures(found)
        notes += _notes(found)
    lines = [Row(name, [Cell(text)]) for name, text in rows.items()]
    return Table("rehearsal", "Rehearsal", "", (target.name,), lines, notes)


def _fit(found: Rehearsal) -> str:
    """Return whether the step fits, and what to do."""
    available = f"{_gibibytes(found.target.accelerator.memory)} GiB"
    if not found.fits:
        advice = f"the smallest config.optim.accumulate that fits is {found.accumulate}"
        if found.accumulate is None:
            advice = "no config.optim.accumulate fits; take more devices or a smaller batch"
        return f"no: it needs {_gibibytes(found.needed)} of {available}; {advice}"
    text = f"yes: it needs {_gibibytes(found.needed)} of {available}"
    is_gpu = not found.target.accelerator.dimensions
    if is_gpu and found.needed > RESERVED * found.target.accelerator.memory:
        text += f" (JAX takes {RESERVED:.0%} by default: set XLA_PYTHON_CLIENT_MEM_FRACTION=0.95)"
    return text


def _figures(found: Rehearsal) -> dict[str, str]:
    """Return the figures of the program, by name."""
    compiled, seconds = found.compiled, found.seconds
    assert compiled
    memory, traffic = compiled.memory, compiled.traffic
    rows = {
        "memory a device": f"{_gibibytes(memory.arguments)} GiB arguments + "
        f"{_gibibytes(memory.temporaries)} temporaries + "
        f"{_gibibytes(memory.outputs - memory.aliased)} outputs",
        "bytes a device": f"{traffic.bytes / 1e9:.3g} GB from and to memory; "
        f"{traffic.touched / 1e9:.3g} GB of operands and results",
        "least time of a step": f"{1e3 * seconds['bytes']:.3g} ms by bytes, "
        f"{1e3 * seconds['flops']:.3g} ms by FLOPs",
        "share of peak at that time": f"{seconds['flops'] / found.least_seconds:.0%}",
        "least time of the run": f"{_duration(found.step.steps * found.least_seconds)} for "
        f"{found.step.steps:,} steps",
    }
    for kind in compiled.collectives:
        rows[kind.kind] = (
            f"{kind.count} of {kind.bytes / 1e9:.3g} GB together, {kind.asynchronous} asynchronous"
        )
    if not found.target.accelerator.dimensions:
        rows["kernels of a step"] = f"{_instructions(compiled):,}"
    if compiled.collectives:
        rows["least time of collectives"] = f"{1e3 * seconds['interconnect']:.3g} ms"
    return rows | {"compilation": f"{compiled.seconds:.0f} s"}


def _notes(found: Rehearsal) -> list[str]:
    """Return what the figures are based on."""
    accelerator = found.target.accelerator
    notes = [
        f"The peak is {accelerator.peak_flops(found.dtype) / 1e12:.4g} TFLOP/s in "
        f"{accelerator.product_format(found.dtype)}, in which JAX multiplies {found.dtype} here; "
        f"the memory moves {accelerator.bandwidth / 1e9:.4g} GB/s. FLOPs are those of the model."
    ]
    if not found.fits:
        value = found.accumulate or found.step.optim_config.accumulate
        notes.append(f"The figures below the FLOPs are with config.optim.accumulate={value}.")
    if not accelerator.dimensions:
        notes.append("Matrix products are not tuned, because there is no device to try them on.")
    if found.compiled and found.compiled.unknown_loops:
        loops = ", ".join(found.compiled.unknown_loops)
        notes.append(f"Loops of unknown length count once: {loops}.")
    return notes


def operations(found: Rehearsal) -> Table:
    """Return the table of the operations that move the most bytes."""
    assert found.compiled
    rows = [
        Row(
            operation.name,
            [
                Cell(str(operation.count)),
                Cell(f"{operation.bytes / 1e9:.3f}"),
                Cell(f"{operation.touched / 1e9:.3f}"),
            ],
        )
        for operation in _largest(found.compiled)
    ]
    columns = ("instructions", "GB", "GB of operands and results")
    return Table("operations", "Operations with the most bytes", "operation", columns, rows)


def _instructions(compiled: Compiled) -> int:
    """Return the number of instructions that a step executes; on a GPU, one kernel or more each."""
    return sum(operation.count for operation in compiled.traffic.operations)


def _largest(compiled: Compiled) -> list[Operation]:
    """Return the operations that move the most bytes, without those below a thousandth of all."""
    traffic = compiled.traffic
    return [row for row in traffic.operations[:OPERATIONS] if row.bytes * 1000 >= traffic.bytes]


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.3g} hours" if seconds >= 3600 else f"{seconds / 60:.3g} minutes"


def _gibibytes(count: int) -> str:
    return f"{count / 2**30:.2f}"
