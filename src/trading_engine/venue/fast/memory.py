"""The few machine operations that the fast book is made of, as Numba intrinsics: loads and stores at an address, shifts, bit counts.

Everything is a signed 64-bit integer, addresses included; memory is plain NumPy arrays that the book owns and never resizes while an
address is in use. Compared with handing arrays to jitted functions this leaves out bounds, strides and reference counts, which is
half of the running time (`docs/decisions/0004`). Nothing in here checks anything: the callers do, once per message.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

I64 = ir.IntType(64)
I32 = ir.IntType(32)
I8 = ir.IntType(8)

Emit = Callable[..., Any]
"""Given an LLVM builder and the arguments' values, emits instructions; returns the result's value, None where there is no result."""


def _operation(name: str, argument_count: int, emit: Emit, *, has_result: bool = True) -> Callable[..., int]:
    """An intrinsic that takes so many 64-bit integers."""
    result = types.int64 if has_result else types.void
    signature = result(*[types.int64] * argument_count)

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        value = emit(builder, *arguments)
        return value if has_result else context.get_dummy_value()

    definitions: dict[int, Callable[..., Any]] = {
        1: lambda _, a: (signature, generate),  # noqa: ARG005 (Numba counts the parameters)
        2: lambda _, a, b: (signature, generate),  # noqa: ARG005
        3: lambda _, a, b, c: (signature, generate),  # noqa: ARG005
    }
    definition = definitions[argument_count]
    definition.__name__ = name
    operation: Callable[..., int] = intrinsic(definition)
    return operation


def _element(builder: Any, address: Any, index: Any, kind: Any) -> Any:
    return builder.gep(builder.inttoptr(address, kind.as_pointer()), [index])


def _load_byte(builder: Any, address: Any, index: Any) -> Any:
    return builder.zext(builder.load(_element(builder, address, index, I8)), I64)


def _store(builder: Any, address: Any, index: Any, value: Any, kind: Any) -> None:
    builder.store(value if kind is I64 else builder.trunc(value, kind), _element(builder, address, index, kind))


def _store_byte(builder: Any, address: Any, index: Any, value: Any) -> None:
    builder.store(builder.trunc(value, I8), _element(builder, address, index, I8))


def _prefetch(builder: Any, address: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I32, I32, I32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")  # type: ignore[no-untyped-call]
    builder.call(function, [builder.inttoptr(address, I8.as_pointer()), I32(0), I32(3), I32(1)])


NEVER_ZERO = ir.Constant(ir.IntType(1), 1)
ZERO = ir.Constant(I64, 0)

load_i64 = _operation("load_i64", 2, lambda b, address, index: b.load(_element(b, address, index, I64)))
"""(address, index): the index-th signed 64-bit word from an address on."""
load_i64_anywhere = _operation(
    "load_i64_anywhere", 1, lambda b, address: b.load(_element(b, address, ZERO, I64), align=1)
)
"""(address): the signed 64-bit word there, wherever that is."""
store_i64_anywhere = _operation(
    "store_i64_anywhere",
    2,
    lambda b, address, value: b.store(value, _element(b, address, ZERO, I64), align=1),
    has_result=False,
)
"""(address, value): the same."""
load_u32 = _operation("load_u32", 2, lambda b, address, index: b.zext(b.load(_element(b, address, index, I32)), I64))
"""(address, index): the index-th unsigned 32-bit word."""
load_u8 = _operation("load_u8", 2, _load_byte)
"""(address, index): the index-th byte."""
store_i64 = _operation(
    "store_i64", 3, lambda b, address, index, value: _store(b, address, index, value, I64), has_result=False
)
"""(address, index, value)."""
store_u32 = _operation(
    "store_u32", 3, lambda b, address, index, value: _store(b, address, index, value, I32), has_result=False
)
"""(address, index, value): the lower 32 bits of the value."""
store_u8 = _operation("store_u8", 3, _store_byte, has_result=False)
"""(address, index, value): the lower 8 bits of the value."""
shift_left = _operation("shift_left", 2, lambda b, value, bits: b.shl(value, bits))
shift_right = _operation("shift_right", 2, lambda b, value, bits: b.lshr(value, bits))
"""Zeros come in from the left."""
lowest_bit = _operation("lowest_bit", 1, lambda b, word: b.cttz(word, NEVER_ZERO))
"""Position of the lowest set bit of a word that is not 0."""
leading_zeros = _operation("leading_zeros", 1, lambda b, word: b.ctlz(word, NEVER_ZERO))
"""Zeros above the highest set bit of a word that is not 0."""
swap_bytes = _operation("swap_bytes", 1, lambda b, word: b.bswap(word))
choose = _operation("choose", 3, lambda b, condition, *values: b.select(b.icmp_signed("!=", condition, ZERO), *values))
"""(condition, if_true, if_false): without a branch; a condition that is not 0 is true."""
prefetch = _operation("prefetch", 1, _prefetch, has_result=False)
"""Ask for the cache line at an address, which need not be valid, before it is needed."""
