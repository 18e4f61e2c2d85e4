"""Test the counted bytes and collectives on compiled programs whose bytes are known by hand."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gpt1_jax.engine import hlo_collectives, hlo_text, hlo_traffic, hlo_walk

SQUARE = 8 * 8 * 4  # bytes of an 8 x 8 matrix


def compiled(function, *shapes: tuple[int, ...]) -> str:
    """Return the text of the program of a function of float32 arrays, compiled for the CPU."""
    arguments = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    return jax.jit(function).lower(*arguments).compile().as_text()


def moved(text: str, part: str = "") -> int:
    """Return the bytes of the operations whose name ends with `part`."""
    operations = hlo_traffic.traffic(hlo_text.parse(text)).operations
    return sum(operation.bytes for operation in operations if operation.name.endswith(part))


def scanned(carry, xs):
    """Multiply the carry by every matrix of `xs`; return the sums on the way."""
    return jax.lax.scan(lambda carry, x: (carry @ x, carry.sum()), carry, xs)


def test_matrix_product_reads_two_factors_and_writes_the_product():
    text = compiled(lambda a, b: a @ b, (64, 32), (32, 16))
    assert moved(text) == 4 * (64 * 32 + 32 * 16 + 64 * 16)


def test_scan_counts_its_body_for_every_element():
    text = compiled(scanned, (8, 8), (5, 8, 8))
    assert moved(text, "dot_general") == 5 * 3 * SQUARE


def test_scan_reads_and_writes_slices_of_its_stacks():
    text = compiled(scanned, (8, 8), (5, 8, 8))
    index = 4
    assert moved(text, "dynamic_slice") == 5 * (2 * SQUARE + index)
    # Read the carry, write its sum into the stack of five.
    assert moved(text, "dynamic_update_slice") == 5 * (SQUARE + 4 + index)


def test_nested_loops_multiply():
    def nested(carry, xs):
        def step(carry, x):
            return jax.lax.fori_loop(0, 3, lambda _, carry: carry @ x, carry), None

        return jax.lax.scan(step, carry, xs)[0]

    assert moved(compiled(nested, (8, 8), (5, 8, 8)), "dot_general") == 5 * 3 * 3 * SQUARE


@pytest.mark.parametrize("start", [0, 2])
def test_trip_count_is_derived_where_xla_does_not_state_it(start):
    def loop(x):
        return jax.lax.fori_loop(start, 9, lambda _, x: x @ x, x)

    text = re.sub(r'"known_trip_count":\{[^}]*\}', '"a":{}', compiled(loop, (8, 8)))
    assert moved(text, "dot_general") == (9 - start) * 2 * SQUARE
    assert not hlo_walk.unknown_loops(hlo_text.parse(text))


def test_loop_of_unknown_length_counts_once_and_is_reported():
    def loop(x):
        return jax.lax.while_loop(lambda x: x.sum() < 9, lambda x: x @ x, x)

    text = compiled(loop, (8, 8))
    assert moved(text, "dot_general") == 2 * SQUARE
    assert len(hlo_walk.unknown_loops(hlo_text.parse(text))) == 1


def test_gather_reads_the_rows_that_it_returns():
    text = compiled(lambda table: table[jnp.array([7, 2, 2])], (1000, 8))
    rows, indices = 3 * 8 * 4, 3 * 4
    assert 2 * rows <= moved(text) <= 2 * rows + 20 * indices


def test_custom_call_reads_its_operands_and_writes_its_results():
    def call(x):
        result = jax.ShapeDtypeStruct((4,), jnp.float32)
        return jax.pure_callback(lambda x: np.asarray(x)[0, :4], result, x)

    text = compiled(call, (8, 8))
    (line,) = re.findall(r".*custom-call.*", text)
    handle = 8 if "u64[]" in line else 0
    assert moved(text) - SQUARE - 4 * 4 in (0, handle)


def test_all_reduce_is_counted_with_its_bytes():
    mesh = Mesh(np.array(jax.devices()), ("data",))
    total = jax.shard_map(
        lambda x: jax.lax.psum(x, "data"),
        mesh=mesh,
        in_specs=PartitionSpec("data"),
        out_specs=PartitionSpec(),
    )
    argument = jax.ShapeDtypeStruct(
        (2, 100), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec("data"))
    )
    text = jax.jit(total).lower(argument).compile().as_text()
    assert hlo_collectives.collectives(hlo_text.parse(text)) == [("all-reduce", 1, 400, 0)]
    assert moved(text, "psum_invariant") == 800


def test_collectives_in_a_loop_repeat():
    mesh = Mesh(np.array(jax.devices()), ("data",))

    def repeated(x):
        return jax.lax.fori_loop(0, 7, lambda _, x: jax.lax.pmean(x @ x, "data"), x)

    specs = {"in_specs": PartitionSpec(), "out_specs": PartitionSpec(), "check_vma": False}
    text = compiled(jax.shard_map(repeated, mesh=mesh, **specs), (8, 8))
    (found,) = hlo_collectives.collectives(hlo_text.parse(text))
    assert (found.kind, found.count, found.bytes) == ("all-reduce", 7, 7 * SQUARE)


ON_CHIP = """HloModule step

%copied (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  ROOT %sum = f32[8]{0} all-reduce(%p), replica_groups={{0,1}}, to_apply=%add
}

ENTRY %main (a: f32[1024], b: f32[8]) -> f32[8] {
  %a = f32[1024]{0:T(1024)} parameter(0)
  %b = f32[8]{0} parameter(1)
  %start = (f32[1024]{0:T(1024)S(1)}, f32[1024]{0:T(1024)}, u32[]{:S(2)}) copy-start(%a)
  %done = f32[1024]{0:T(1024)S(1)} copy-done(%start)
  %part = ((f32[1024]{0:T(1024)}), f32[8]{0:T(128)S(1)}, s32[]{:S(2)}) slice-start(%a)
  %slice = f32[8]{0:T(128)S(1)} slice-done(%part)
  %twice = f32[1024]{0:T(1024)S(1)} add(%done, %done), metadata={op_name="jit(step)/h7/add"}
  %work = (f32[8]{0}, s8[4096]{0}) custom-call(%slice), custom_call_target="__cublas$gemm"
  %call = f32[8]{0} get-tuple-element(%work), index=0
  %reduce = ((f32[8]{0}), f32[8]{0}, s32[]) async-start(%call), calls=%copied
  ROOT %result = f32[8]{0} async-done(%reduce)
}
"""


def test_arrays_on_the_chip_count_when_they_are_copied():
    traffic = hlo_traffic.traffic(hlo_text.parse(ON_CHIP))
    operations = {operation.name: operation for operation in traffic.operations}
    # The copies are for the operations that read them.
    assert operations["h*/add"][1:] == (2, 4096, 3 * 4096)
    assert operations["custom-call"][1:] == (2, 32 + 32, 64)


def test_slice_reads_elements_of_its_operand_even_if_it_converts_them():
    text = """
ENTRY %main (a: f32[1000]) -> bf16[10] {
  %a = f32[1000]{0} parameter(0)
  ROOT %part = bf16[10]{0} slice(%a), slice={[0:10]}
}
"""
    assert moved(text) == 10 * 4 + 10 * 2


FUSED = """HloModule step

%view (p: f32[1000]) -> f32[10,100] {
  %p = f32[1000]{0} parameter(0)
  ROOT %shaped = f32[10,100]{1,0} bitcast(%p)
}

%fused (stack: f32[50,100], a: f32[1000], b: f32[10,100], i: s32[]) -> f32[50,100] {
  %stack = f32[50,100]{1,0} parameter(0)
  %a = f32[1000]{0} parameter(1)
  %b = f32[10,100]{1,0} parameter(2)
  %i = s32[] parameter(3)
  %zero = s32[] constant(0)
  %first = f32[10,100]{1,0} fusion(%a), kind=kLoop, calls=%view
  %sum = f32[10,100]{1,0} add(%first, %b)
  %row = f32[1,100]{1,0} slice(%sum), slice={[0:1], [0:100]}
  ROOT %update = f32[50,100]{1,0} dynamic-update-slice(%stack, %row, %i, %zero)
}

ENTRY %main (stack: f32[50,100], a: f32[1000], b: f32[10,100], i: s32[]) -> f32[50,100] {
  %stack = f32[50,100]{1,0} parameter(0)
  %a = f32[1000]{0} parameter(1)
  %b = f32[10,100]{1,0} parameter(2)
  %i = s32[] parameter(3)
  ROOT %result = f32[50,100]{1,0} fusion(%stack, %a, %b, %i), kind=kLoop, calls=%fused
}
"""


def test_fusion_reads_only_what_its_slices_need():
    # A row of `b` and the index are read, and a row of the stack is written. The inner fusion is
    # taken to read all of `a`.
    assert moved(FUSED) == 400 + 4 + 400 + 4000


def test_operation_beside_others_is_asynchronous():
    program = hlo_text.parse(ON_CHIP)
    assert hlo_collectives.collectives(program) == [("all-reduce", 1, 32, 1)]


def test_shapes_are_read():
    assert [
        array.bytes for array in hlo_text.arrays("(bf16[3,5]{1,0}, s4[3], pred[], token[])")
    ] == [
        30,
        2,
        1,
        0,
    ]
    assert [
        array.in_device_memory for array in hlo_text.arrays("(f32[2]{0:T(128)S(1)}, f32[2]{0})")
    ] == [
        False,
        True,
    ]
