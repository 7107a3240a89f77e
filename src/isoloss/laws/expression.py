"""A law of one's own as text: ``ExpressionLaw("E + A*C**-alpha", columns=["C"])``.

The text is parsed into Python's syntax tree and walked, never run. Each node gives its value and its derivatives with
respect to the parameters below it (forward mode: exact, and vectorised over problems and rows).
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoloss.errors import TableError
from isoloss.laws.law import Columns, Law, Parameter

Array = NDArray[np.float64]
Bounds = tuple[float, float]
LONGEST = 2000  # characters of an expression
DEEPEST = 100  # levels of its tree
WIDEST: Bounds = (1e-30, 1e30)
EXPONENT: Bounds = (1e-3, 5.0)
_FLOOR = 1e-12  # the least of a parameter that may vanish
_GRID, _EXPONENT_GRID = 61, 68


@dataclass(frozen=True)
class Dual:
    """A value, shaped so as to broadcast to (B, R), and its derivative by each parameter that it depends on."""

    value: Array
    by: Mapping[int, Array]

    def chain(self, value: Array, slope: Any) -> Dual:
        """A function of this, with `value` and derivative `slope` there."""
        return Dual(value, {k: slope * d for k, d in self.by.items()})

    def plus(self, other: Dual) -> Dual:
        """The sum of both."""
        by = {**self.by, **other.by}
        by.update({k: self.by[k] + other.by[k] for k in self.by.keys() & other.by.keys()})
        return Dual(self.value + other.value, by)

    def times(self, other: Dual) -> Dual:
        """The product of both."""
        value = self.value * other.value
        return Dual(value, self.chain(value, other.value).plus(other.chain(value, self.value)).by)


def _exp(x: Dual) -> Dual:
    value = np.exp(x.value)
    return x.chain(value, value)


def _log(x: Dual) -> Dual:
    return x.chain(np.log(x.value), 1.0 / x.value)


def _log10(x: Dual) -> Dual:
    return x.chain(np.log10(x.value), 1.0 / (np.log(10.0) * x.value))


def _sqrt(x: Dual) -> Dual:
    value = np.sqrt(x.value)
    return x.chain(value, 0.5 / value)


def _tanh(x: Dual) -> Dual:
    value = np.tanh(x.value)
    return x.chain(value, 1.0 - value**2)


def _sigmoid(x: Dual) -> Dual:
    value = np.exp(-np.logaddexp(0.0, -x.value))
    return x.chain(value, value * np.exp(-np.logaddexp(0.0, x.value)))


def _reciprocal(x: Dual) -> Dual:
    value = 1.0 / x.value
    return x.chain(value, -value * value)


def _power(base: Dual, exponent: Dual) -> Dual:
    if not exponent.by:
        value = base.value**exponent.value
        return base.chain(value, exponent.value * base.value ** (exponent.value - 1.0)) if base.by else Dual(value, {})
    return _exp(exponent.times(_log(base)))


FUNCTIONS = {"exp": _exp, "log": _log, "log10": _log10, "sqrt": _sqrt, "tanh": _tanh, "sigmoid": _sigmoid}
_KINKED = ("min", "max", "abs", "minimum", "maximum", "where")


class ExpressionLaw(Law):
    """A law ``L = f(columns; parameters)`` from its text.

    ``+ - * / **``, numbers, parentheses, names and ``exp log log10 sqrt tanh sigmoid`` are understood. Names in
    `columns` (those of the table) are columns, all others parameters. A parameter is positive, between 1e-30 and 1e30,
    or between 1e-3 and 5 if it stands in an exponent; ``name[lo:hi]`` where it first appears, or ``bounds={name: (lo,
    hi)}``, says otherwise: from 0 (it may vanish), from below 0 (of either sign), or narrower.

    The law is fitted in the table's own units, so write ``(C/1e18)**-alpha`` for a column of astronomic numbers. Starts
    are solved for in the parameters that the law is linear in, and spread evenly over the bounds (geometrically, for
    positive ones) in the others: the narrower the bounds, the denser. Raises TableError naming the piece at fault.
    """

    name = "expression"
    summary = "a law of your own, as text"
    source = "yours"
    scaled = False

    def __init__(self, text: str, columns: Iterable[str], bounds: Mapping[str, Bounds] | None = None) -> None:
        tree, stated = _without_bounds(_parse(text), text)
        known = set(columns)
        names = list(dict.fromkeys(n.id for n in _names(tree)))
        self.formula = text.strip()
        self.columns = tuple(n for n in names if n in known)
        own = [n for n in names if n not in known]
        if not self.columns:
            what = f"names no column of the table ({', '.join(sorted(known)) or 'it has none'})"
            raise TableError(_quoted(text), what, "write at least one of them")
        if not own:
            raise TableError(_quoted(text), "has no parameter", "write a name that is not a column, such as A")
        given = _joined(stated, dict(bounds or {}), own, text)
        self._tree = tree
        self._index = {n: i for i, n in enumerate(own)}
        linear: set[str] = set()
        for n in own:
            if _degree(tree, linear | {n}) == 1:
                linear.add(n)
        powers = {n.id for node in ast.walk(tree) for n in _exponents(node)}
        self.parameters = tuple(
            _exponent(n, given.get(n, EXPONENT))
            if n in powers
            else _coefficient(n, given.get(n), n in linear, n in linear and _alone(tree, n))
            for n in own
        )

    def prepare(self, columns: Columns) -> dict[str, Array]:
        """The columns that the expression names."""
        return {name: np.asarray(columns[name], float) for name in self.columns}

    @np.errstate(all="ignore")  # what is out of range or undefined misfits infinitely, and is left
    def evaluate(self, theta: Array, data: dict[str, Array]) -> tuple[Array, Array]:
        """As every law's; NaN at rows at which the value or a derivative is undefined or out of range."""
        rows = next(iter(data.values())).shape[-1]
        places: dict[str, Dual] = {name: Dual(x[None], {}) for name, x in data.items()}
        for i, p in enumerate(self.parameters):
            value = np.exp(theta[:, i, None]) if p.log else theta[:, i, None]
            places[p.name] = Dual(value, {i: value if p.log else np.ones_like(value)})
        found = _evaluate(self._tree, places)
        shape = (len(theta), rows)
        value = np.array(np.broadcast_to(found.value, shape))
        jac = np.zeros((len(theta), len(self.parameters), rows))
        for i, slope in found.by.items():
            jac[:, i] = slope
        value[~np.isfinite(jac).all(axis=1)] = np.nan
        return value, jac

    def starts(self, data: dict[str, Array], y: Array, weight: Array) -> Array:
        """As any law's, less the starts at which the expression is undefined or out of range."""
        with np.errstate(all="ignore"), warnings.catch_warnings():
            theta = super().starts(data, y, weight)
        return theta[np.isfinite(theta).all(axis=1)]


def _quoted(text: str) -> str:
    line = " ".join(text.split())
    return f"'{line if len(line) <= 80 else line[:77] + '...'}'"


def _parse(text: str) -> ast.expr:
    """The syntax tree of an expression in which only what `ExpressionLaw` understands occurs."""
    if len(text) > LONGEST:
        raise TableError(_quoted(text), f"has {len(text)} characters", f"keep to {LONGEST}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as Python's advice on `1(x)`
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        offset = getattr(error, "offset", None)
        where = f" near character {offset}" if offset else ""
        raise TableError(_quoted(text), f"can't be read{where}", "write it as in Python: E + A*C**-alpha") from None
    except (RecursionError, MemoryError):
        raise TableError(_quoted(text), "is nested too deeply", "simplify it") from None
    _check(tree, text, 0)
    return tree


def _piece(node: ast.expr) -> str:
    try:
        return ast.unparse(node)[:60]
    except RecursionError:
        return "..."


def _check(node: ast.expr, text: str, depth: int) -> None:
    """Refuse what is not in the language, naming the piece."""

    def refuse(what: str, remedy: str = f"use + - * / **, numbers, names, {', '.join(FUNCTIONS)}") -> TableError:
        return TableError(_quoted(text), what.replace("PIECE", f"'{_piece(node)}'"), remedy)

    if depth > DEEPEST:
        raise TableError(_quoted(text), "is nested too deeply", "simplify it")
    below: list[ast.expr] = []
    match node:
        case ast.Constant(value=int() | float() as value) if type(value) is not bool and abs(value) < 1e300:
            pass
        case ast.Constant():
            raise refuse("PIECE is not a finite number")
        case ast.Name(id=name):
            if name in FUNCTIONS:
                raise refuse("the function PIECE has no argument", f"write {name}(...)")
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() | ast.Pow(), right=right):
            below = [left, right]
        case ast.BinOp(op=ast.BitXor()):
            raise refuse("unknown operator in PIECE", "powers are **")
        case ast.BinOp():
            raise refuse("unknown operator in PIECE")
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            below = [operand]
        case ast.Subscript(
            value=ast.Name(), slice=ast.Slice(lower=ast.expr() as lower, upper=ast.expr() as upper, step=None)
        ):
            below = [lower, upper]
        case ast.Subscript():
            raise refuse("PIECE is not a range", "bounds are name[lo:hi]")
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords) if name in FUNCTIONS:
            if len(args) != 1 or keywords:
                raise refuse("PIECE does not have one argument", f"write {name}(...)")
            below = args
        case ast.Call(func=ast.Name(id=name)) if name in _KINKED:
            what = f"{name} has a kink, at which a fit has no derivative"
            raise refuse(what, "join the pieces smoothly, as (x**s + y**s)**(1/s) does")
        case ast.Call():
            raise refuse("unknown function in PIECE")
        case _:
            raise refuse("PIECE is not understood")
    for child in below:
        _check(child, text, depth + 1)


def _names(node: ast.AST) -> Iterator[ast.Name]:
    """Names in the order in which they are written, functions left out."""
    if isinstance(node, ast.Name):
        yield node
    elif isinstance(node, ast.Call):
        for argument in node.args:
            yield from _names(argument)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _names(child)


def _without_bounds(tree: ast.expr, text: str) -> tuple[ast.expr, dict[str, Bounds]]:
    """The tree with ``name[lo:hi]`` turned into ``name``, and those bounds."""
    stated: dict[str, Bounds] = {}

    class Take(ast.NodeTransformer):
        def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
            assert isinstance(node.value, ast.Name) and isinstance(node.slice, ast.Slice)
            ends = [_number(e, text) for e in (node.slice.lower, node.slice.upper)]
            name = node.value.id
            if stated.setdefault(name, (ends[0], ends[1])) != (ends[0], ends[1]):
                raise TableError(_quoted(text), f"{name} has two ranges", "state it once")
            return node.value

    return Take().visit(tree), stated


def _number(node: ast.expr | None, text: str) -> float:
    if node is None or any(True for _ in _names(node)):
        raise TableError(_quoted(text), "a range has an end that is not a number", "bounds are name[lo:hi]")
    with np.errstate(all="ignore"):
        return float(_evaluate(node, {}).value)


def _joined(stated: dict[str, Bounds], bounds: dict[str, Bounds], own: list[str], text: str) -> dict[str, Bounds]:
    """Bounds from the text and from the call, checked."""
    for name in (*stated, *bounds):
        if name not in own:
            raise TableError(_quoted(text), f"{name} has bounds but is not a parameter", f"it has {', '.join(own)}")
    for name in stated.keys() & bounds.keys():
        if tuple(map(float, bounds[name])) != stated[name]:
            raise TableError(_quoted(text), f"{name} has two ranges", "state it once")
    both = {**stated, **{n: (float(lo), float(hi)) for n, (lo, hi) in bounds.items()}}
    for name, (low, high) in both.items():
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise TableError(_quoted(text), f"the range {low:g} to {high:g} of {name} is empty", "give lo < hi")
    return both


def _exponent(name: str, given: Bounds) -> Parameter:
    low, high = given
    if given == EXPONENT:
        grid = np.geomspace(0.02, 2.0, _EXPONENT_GRID)
    else:
        grid = (np.geomspace if low > 0 else np.linspace)(low, high, _EXPONENT_GRID)
    return Parameter(name, low, high, log=False, grid=tuple(grid.tolist()))


def _coefficient(name: str, given: Bounds | None, linear: bool, floor: bool) -> Parameter:
    """A parameter outside exponents: positive ones move by their logarithm, a floor or one from 0 may vanish."""
    low, high = given or WIDEST
    if low < 0:
        grid = np.linspace(low, high, _GRID)
        return Parameter(name, low, high, log=False, linear=linear, grid=tuple(grid.tolist()))
    vanishes = low == 0 or (floor and given is None)
    grid = np.geomspace(1e-6 * high if low == 0 else low, high, _GRID)
    low = min(_FLOOR, 1e-9 * high) if vanishes else low
    return Parameter(name, low, high, linear=linear, grid=tuple(grid.tolist()), vanishes=vanishes)


def _exponents(node: ast.AST) -> Iterator[ast.Name]:
    """Names that stand in the exponent of this node."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        yield from _names(node.right)


def _degree(node: ast.expr, names: set[str]) -> int:
    """How `node` depends on `names` together: 0 not at all, 1 linearly (up to a constant), 2 otherwise."""
    match node:
        case ast.Name(id=name):
            return int(name in names)
        case ast.UnaryOp(operand=operand):
            return _degree(operand, names)
        case ast.Call(args=[argument]):
            return 2 * min(1, _degree(argument, names))
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _degree(left, names), _degree(right, names)
            if isinstance(op, ast.Add | ast.Sub):
                return max(a, b)
            if isinstance(op, ast.Mult):
                return min(2, a + b)
            if isinstance(op, ast.Div):
                return a if b == 0 else 2
            return 2 * min(1, a + b)
    return 0


def _alone(node: ast.expr, name: str) -> bool:
    """Whether a linear parameter is a term by itself, a floor, and not a factor."""
    match node:
        case ast.Name(id=own):
            return own == name
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _alone(left, name) or _alone(right, name)
        case ast.BinOp(left=left, op=ast.Sub()):
            return _alone(left, name)
    return False


def _evaluate(node: ast.expr, places: Mapping[str, Dual]) -> Dual:
    match node:
        case ast.Constant(value=value):
            return Dual(np.asarray(float(value)), {})  # type: ignore[arg-type]
        case ast.Name(id=name):
            return places[name]
        case ast.UnaryOp(op=op, operand=operand):
            inside = _evaluate(operand, places)
            return inside.chain(-inside.value, -1.0) if isinstance(op, ast.USub) else inside
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            return FUNCTIONS[name](_evaluate(argument, places))
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _evaluate(left, places), _evaluate(right, places)
            match op:
                case ast.Add():
                    return a.plus(b)
                case ast.Sub():
                    return a.plus(b.chain(-b.value, -1.0))
                case ast.Mult():
                    return a.times(b)
                case ast.Div():
                    return a.times(_reciprocal(b))
                case ast.Pow():
                    return _power(a, b)
    raise AssertionError(f"{ast.dump(node)} passed the check")
