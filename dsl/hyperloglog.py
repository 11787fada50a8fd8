"""HyperLogLog in integers: the number of distinct 64-bit hashes beyond what is kept exactly.

Precision 12: 4,096 registers. The first 12 bits of a hash choose a register, which keeps the largest rank (leading
zeros of the other 52 bits plus one) that it has met; merging takes the larger, so order and tiling cannot matter. The
estimate is the classic raw one, with linear counting while that is at most 2.5 times the number of registers and some
are empty; no bias correction. It is computed without doubles, so that every engine rounds alike.

Source: Flajolet, Fusy, Gandouet, Meunier: HyperLogLog (2007), figure 3.
"""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal, localcontext
from functools import cache

from dsl.numbers import divide_half_away

PRECISION = 12
REGISTERS = 1 << PRECISION
REST_BITS = 64 - PRECISION
TOP_RANK = REST_BITS + 1

Registers = bytes
"""One rank a register, 4,096 bytes."""

# alpha = 0.7213 / (1 + 1.079 / m) as a fraction of integers.
ALPHA_ABOVE, ALPHA_BELOW = 7213 * REGISTERS, 10 * (REGISTERS * 1000 + 1079)


def of_hashes(hashes: Iterable[int]) -> Registers:
    """The registers of some hashes."""
    registers = bytearray(REGISTERS)
    for value in hashes:
        rank = TOP_RANK - (value & ((1 << REST_BITS) - 1)).bit_length()
        register = value >> REST_BITS
        registers[register] = max(registers[register], rank)
    return bytes(registers)


def union(left: Registers, right: Registers) -> Registers:
    """The registers of all hashes of both."""
    return bytes(map(max, left, right))


def estimate(registers: Registers) -> int:
    """The number of distinct hashes, a whole number."""
    inverse_sum = sum(1 << (TOP_RANK - rank) for rank in registers)
    above = ALPHA_ABOVE * REGISTERS * REGISTERS << TOP_RANK
    below = ALPHA_BELOW * inverse_sum
    zeros = registers.count(0)
    if zeros and 2 * above <= 5 * REGISTERS * below:
        return linear_counts()[zeros - 1]
    return divide_half_away(above, below)


@cache
def linear_counts() -> tuple[int, ...]:
    """`4096 * ln(4096 / zeros)` for 1 to 4,096 empty registers, rounded half away from zero."""
    with localcontext() as context:
        context.prec = 30
        logarithm = Decimal(REGISTERS).ln()
        counts = (REGISTERS * (logarithm - Decimal(zeros).ln()) for zeros in range(1, REGISTERS + 1))
        return tuple(int(count.quantize(Decimal(1), ROUND_HALF_UP)) for count in counts)
