"""The mutants of a module: copies that differ by one small change of what it does.

Only behaviour is changed: texts, annotations, decorators, docstrings and the figures at the top of a module
are left alone. Each change is one that somebody may make by mistake: a limit that is off by one, a condition
that is turned round, dropped or always true, an argument or a statement that is missing.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any, NamedTuple, TypeVar

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
CALLS = {"any": "all", "all": "any", "min": "max", "max": "min", "sorted": "list"}
UNTOUCHED = ("annotation", "returns", "decorator_list", "bases")  # fields that are no behaviour
SHOWN, CONTEXT = 15, 25  # characters: of the code that is shown at least, and of it around the difference

AnyNode = TypeVar("AnyNode", bound=ast.AST)


class Mutant(NamedTuple):
    """The source of a mutant, and how a person finds the change."""

    where: str  # the function, with its class
    function: str  # the outermost function, with its class: it can be exchanged
    before: str
    after: str
    lines: range | None  # that must be executed for the change to take effect; None: it does at the import
    source: str

    @property
    def name(self) -> str:
        """Names the mutant for as long as its function is the same."""
        return f"{self.where}: {self.before} -> {self.after}"


def mutants(source: str) -> list[Mutant]:
    """Every mutant, in the order of the source."""
    tree = ast.parse(source)
    result: list[Mutant] = []
    names: Counter[str] = Counter()
    for place in list(_places(tree, (), "module", None)):
        parent, field, _ = place.parents[-1]
        for change in _changes(place.node, at_import=place.lines is None):
            if isinstance(
                place.parents[1][0] if len(place.parents) > 1 else place.node, ast.Assign | ast.AnnAssign
            ):
                continue
            if change is None and len(getattr(parent, field)) == 1:
                continue  # a match without a case is no Python
            mutant = _mutant(tree, place, change)
            names[mutant.name] += 1
            if (number := names[mutant.name]) > 1:
                mutant = mutant._replace(after=f"{mutant.after} ({number})")
            result.append(mutant)
    return result


# --- places ---


class _Place(NamedTuple):
    node: ast.AST
    parents: tuple[tuple[ast.AST, str, int | None], ...]  # from the module down: node, field, index in a list
    where: str
    lines: range | None


def _places(
    node: ast.AST, parents: tuple[tuple[ast.AST, str, int | None], ...], where: str, lines: range | None
) -> Iterator[_Place]:
    """Every node below this one whose change is a change of behaviour."""
    function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        where = node.name if where == "module" else f"{where}.{node.name}"
    for field, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        for index, child in enumerate(children):
            if not isinstance(child, ast.AST) or field in UNTOUCHED or isinstance(child, ast.JoinedStr):
                continue
            here = lines
            if isinstance(child, ast.stmt) and (lines is not None or (function and field == "body")):
                here = range(child.lineno, (child.end_lineno or child.lineno) + 1)
            path = (*parents, (node, field, index if isinstance(value, list) else None))
            yield _Place(child, path, where, here)
            yield from _places(child, path, where, here)


def _mutant(tree: ast.Module, place: _Place, change: ast.AST | None) -> Mutant:
    """The mutant with `change` in the place of the node; None: without it."""
    nodes = [*(parent for parent, _, _ in place.parents), place.node]
    shown = len(nodes) - 1  # what is shown: the node, or the smallest one around it that is long enough
    while shown > 1 and not _is_clear(nodes[shown]):
        shown -= 1
    before = _text(nodes[shown])
    parent, field, index = place.parents[-1]
    value = getattr(parent, field)
    new: object = change
    if index is not None:
        new = [*value[:index], *([] if change is None else [change]), *value[index + 1 :]]
    setattr(parent, field, new)
    nodes[-1] = change or ast.Pass()
    try:
        before, after = _difference(before, _text(nodes[shown]))
        return Mutant(place.where, _function(nodes), before, after, place.lines, ast.unparse(tree))
    finally:
        setattr(parent, field, value)


def _function(nodes: Sequence[ast.AST]) -> str:
    names = []
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(node.name)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            break
    return ".".join(names)


def _is_clear(node: ast.AST) -> bool:
    if isinstance(node, ast.expr):
        return len(ast.unparse(node)) >= SHOWN
    return isinstance(node, ast.stmt | ast.match_case | ast.ExceptHandler)


def _text(node: ast.AST) -> str:
    """The code of a node; of one with a body, its head."""
    text = ast.unparse(node).strip()
    return " ".join((text.split("\n")[0] if hasattr(node, "body") else text).replace("`", "'").split())


def _difference(before: str, after: str) -> tuple[str, str]:
    """What differs, with some of what surrounds it."""
    start = _in_common(before, after)
    end = _in_common(before[start:][::-1], after[start:][::-1])
    first = start - CONTEXT if start > 2 * CONTEXT else 0
    last = end - CONTEXT if end > 2 * CONTEXT else 0

    def shown(text: str) -> str:
        return ("..." if first else "") + text[first : len(text) - last] + ("..." if last else "")

    return shown(before), shown(after)


def _in_common(one: str, other: str) -> int:
    """The number of characters with which both begin."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


# --- changes ---


def _changes(node: ast.AST, *, at_import: bool) -> Iterator[ast.AST | None]:
    """What may stand in place of this node; None: nothing."""
    match node:
        case ast.expr():
            yield from _of_expression(node, at_import=at_import)
        case ast.stmt():
            yield from _of_statement(node)
        case ast.comprehension(ifs=conditions):
            for number in range(len(conditions)):
                yield _with(node, ifs=_without(conditions, number))
        case ast.ExceptHandler(type=ast.Tuple(elts=types)):
            for number in range(len(types)):
                yield _with(node, type=ast.Tuple(_without(types, number), ast.Load()))
        case ast.match_case():
            yield None
            if node.guard is not None:
                yield _with(node, guard=None)


def _of_expression(node: ast.expr, *, at_import: bool) -> Iterator[ast.expr]:
    match node:
        case ast.Compare(ops=operators):
            for number, operator in enumerate(operators):
                other = COMPARISONS[type(operator)]()
                yield _with(node, ops=[*operators[:number], other, *operators[number + 1 :]])
        case ast.BoolOp(values=values):
            for number in range(len(values)):
                rest = _without(values, number)
                yield _with(node, values=rest) if len(rest) > 1 else rest[0]
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.BinOp(left=left, op=operator) if type(operator) in OPERATORS:
            if not (at_import and isinstance(operator, ast.BitOr)):  # a type
                yield _with(node, op=OPERATORS[type(operator)]())
                yield left
        case ast.IfExp(body=body, orelse=orelse):
            yield from (body, orelse)
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield ast.Constant(value + 1)
        case ast.Call():
            yield from _of_call(node)


def _of_call(node: ast.Call) -> Iterator[ast.expr]:
    match node.func:
        case ast.Name(id=name) if name in CALLS:
            yield _with(node, func=ast.Name(CALLS[name], ast.Load()))
        case ast.Name(id="suppress"):
            yield _with(node, args=[])
    for number, keyword in enumerate(node.keywords):
        if keyword.arg is not None:
            yield _with(node, keywords=_without(node.keywords, number))


def _of_statement(node: ast.stmt) -> Iterator[ast.AST | None]:
    match node:
        case ast.Expr(value=ast.Call()) | ast.Raise() | ast.Continue() | ast.AugAssign():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]):
            yield ast.Pass()
        case ast.Break():
            yield ast.Continue()
        case ast.Return(value=ast.expr() as value):
            if not isinstance(value, ast.Constant | ast.Compare | ast.BoolOp):
                yield _with(node, value=ast.Constant(None))
        case ast.If():
            yield _with(node, test=ast.Constant(True))
            yield _with(node, test=ast.Constant(False))
        case ast.While():
            yield _with(node, test=ast.Constant(False))
    if isinstance(node, ast.AugAssign) and type(node.op) in OPERATORS:
        yield _with(node, op=OPERATORS[type(node.op)]())


def _without(values: list[Any], number: int) -> list[Any]:
    return values[:number] + values[number + 1 :]


def _with(node: AnyNode, **fields: object) -> AnyNode:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed
