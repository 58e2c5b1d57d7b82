"""Formulas as text: arithmetic on named coordinates, read without executing anything."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import math
import operator
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from ntkrobust.errors import InputError
from ntkrobust.values import Value

LONGEST = 1000
"""Characters that a formula may have; deeper nesting than that is no formula."""

_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_COMPARISONS: dict[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_FUNCTIONS: dict[str, Callable[..., float]] = {
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
    "min": min,
    "max": max,
}
_Evaluator = Callable[[Mapping[str, Any]], Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Expression(Value):
    """A formula of named numbers: ``+ - * / **``, ``sqrt``, ``exp``, ``log``, ``min``, ``max`` and parentheses.

    A *condition* also compares (``< <= > >= == !=``, with texts too) and joins with ``and``, ``or``, ``not``. It is
    called like a function of the names that occur in it.

    Attributes:
        text: the formula.
        condition: whether it is one.

    Raises:
        InputError: the text is something else.
    """

    text: str
    condition: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or len(self.text) > LONGEST:
            raise InputError(f"a formula is a text of at most {LONGEST} characters, got {self.text!r:.60}")
        self._evaluator  # noqa: B018  reads it, and complains where it can't

    @property
    def names(self) -> tuple[str, ...]:
        """The names that occur, in alphabetical order."""
        called = {id(node.func) for node in ast.walk(self._tree) if isinstance(node, ast.Call)}
        found = {node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name) and id(node) not in called}
        return tuple(sorted(found))

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.Signature([inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in self.names])

    def __call__(self, **values: Any) -> Any:
        """The value, for values of its names."""
        return self._evaluator(values)

    @functools.cached_property
    def _tree(self) -> ast.expr:
        try:
            with warnings.catch_warnings():
                # Of what is legal in Python and makes little sense, such as calling a number: it is refused below.
                warnings.simplefilter("ignore", SyntaxWarning)
                return ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise InputError(f"{self.text!r} is not a formula") from None

    @functools.cached_property
    def _evaluator(self) -> _Evaluator:
        try:
            return _condition(self._tree) if self.condition else _number(self._tree)
        except RecursionError:
            raise InputError(f"the formula {self.text!r:.60} is nested too deeply") from None
        except OverflowError:
            raise InputError(f"the formula {self.text!r:.60} has a number beyond the range of floats") from None
        except _NotAllowedError as error:
            part = ast.get_source_segment(self.text.strip(), error.node) or self.text
            allowed = "names, numbers, + - * / **, sqrt, exp, log, min and max"
            raise InputError(
                f"{part!r} cannot stand in the {'condition' if self.condition else 'formula'} {self.text!r}, "
                f"which takes {allowed}{', joined by comparisons, and, or, not' if self.condition else ''}"
            ) from None


class _NotAllowedError(Exception):
    def __init__(self, node: ast.expr) -> None:
        super().__init__()
        self.node = node


def _number(node: ast.expr) -> _Evaluator:
    """The evaluator of an arithmetic expression. Numbers are floats, so that a power is no work."""
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            number = float(value)
            return lambda values: number
        case ast.Name(id=name):
            return lambda values: _as_float(name, values[name])
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _number(operand)
            return lambda values: -inner(values)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _number(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _joined(_OPERATORS[type(op)], _number(left), _number(right))
        case ast.Call(func=ast.Name(id=name), args=[_, *_] as arguments, keywords=[]) if name in _FUNCTIONS:
            if len(arguments) > 1 and name not in ("min", "max"):
                raise _NotAllowedError(node)
            function, parts = _FUNCTIONS[name], [_number(argument) for argument in arguments]
            if len(parts) == 1 and name in ("min", "max"):
                raise _NotAllowedError(node)
            return lambda values: function(*(part(values) for part in parts))
    raise _NotAllowedError(node)


def _condition(node: ast.expr) -> _Evaluator:
    """The evaluator of comparisons and of what joins them."""
    match node:
        case ast.BoolOp(op=op, values=members):
            parts = [_condition(member) for member in members]
            joined = all if isinstance(op, ast.And) else any
            return lambda values: joined(part(values) for part in parts)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = _condition(operand)
            return lambda values: not inner(values)
        case ast.Compare(left=left, ops=ops, comparators=rights) if all(type(op) in _COMPARISONS for op in ops):
            comparisons = [_COMPARISONS[type(op)] for op in ops]
            texts = any(isinstance(one, ast.Constant) and isinstance(one.value, str) for one in (left, *rights))
            sides = [_text(one) if texts else _number(one) for one in (left, *rights)]
            if texts and not all(isinstance(op, ast.Eq | ast.NotEq) for op in ops):
                raise _NotAllowedError(node)
            return lambda values: all(
                compare(before(values), after(values))
                for compare, before, after in zip(comparisons, sides, sides[1:], strict=False)
            )
    raise _NotAllowedError(node)


def _text(node: ast.expr) -> _Evaluator:
    match node:
        case ast.Constant(value=str() as value):
            return lambda values: value
        case ast.Name(id=name):
            return lambda values: values[name]
    raise _NotAllowedError(node)


def _joined(function: Callable[[Any, Any], Any], left: _Evaluator, right: _Evaluator) -> _Evaluator:
    return lambda values: function(left(values), right(values))


def _as_float(name: str, value: Any) -> float:
    if value is None or isinstance(value, str):
        raise InputError(f"{name} is {value!r} here, which is no number")
    return float(value)
