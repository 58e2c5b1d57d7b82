"""What a forward pass consists of, counted in its jaxpr."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np


class Operations(NamedTuple):
    """Sizes of a forward pass, per point.

    Attributes:
        values: numbers that all operations give, about: elementwise ones are fused by the compiler, so that products,
            sums over axes and convolutions count.
        widest: numbers of the largest of them.
        largest_product: multiplications of the largest product.
    """

    values: int
    widest: int
    largest_product: int


def operations(program: Any, points: int) -> tuple[Operations, str]:
    """The operations of a closed jaxpr of so many points, and a digest of what it computes."""
    sizes, products = [1], [1]
    for equation in _equations(program.jaxpr):
        given = [math.prod(one.aval.shape) for one in equation.outvars if hasattr(one.aval, "shape")]
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            out, (left, right) = sum(given), (one.aval for one in equation.invars[:2])
            sizes.append(out)
            products.append(_multiplications(equation, out, left, right))
        elif equation.primitive.name.startswith("reduce"):
            sizes += given
    each = Operations(*(-(-number // points) for number in (sum(sizes), max(sizes), max(products))))
    # Addresses of objects differ from process to process; constants are told by their content.
    content = hashlib.sha256(re.sub(r"0x[0-9a-f]+", "", str(program.jaxpr)).encode())
    for constant in program.consts:
        content.update(np.ascontiguousarray(constant).tobytes())
    return each, content.hexdigest()[:16]


def _multiplications(equation: Any, out: int, left: Any, right: Any) -> int:
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        return out * math.prod(left.shape[axis] for axis in contracted)
    features = equation.params["dimension_numbers"].rhs_spec[0]
    return out * math.prod(right.shape) // right.shape[features]


def _equations(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from _equations(inner)
