"""A file's syntax tree with offsets: from a place in a finding to the node, its parents and its function."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property

from unstall.source.edits import split_lines

Function = ast.FunctionDef | ast.AsyncFunctionDef
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Tree:
    """One parsed text. Raises SyntaxError or ValueError where it does not parse."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.module = ast.parse(text)
        self.lines = split_lines(text)
        self._called: dict[ast.AST, frozenset[str]] = {}
        self._starts = [0]
        for line in self.lines:
            self._starts.append(self._starts[-1] + len(line))

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node, outer ones first."""
        return tuple(walked(self.module))

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """The node around each node."""
        return {child: node for node in self.nodes for child in children(node)}

    def offset(self, line: int, byte_column: int) -> int:
        """The offset in the text of a line from 1 and a column in UTF-8 bytes from 0, as ``ast`` counts them."""
        start = self._starts[line - 1]
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        return start + (byte_column if text.isascii() else len(text.encode()[:byte_column].decode()))

    def start(self, node: ast.expr | ast.stmt) -> int:
        """Where a node begins."""
        return self.offset(node.lineno, node.col_offset)

    def end(self, node: ast.expr | ast.stmt) -> int:
        """Where a node ends."""
        return self.offset(node.end_lineno or node.lineno, node.end_col_offset or 0)

    def start_of(self, alias: ast.alias) -> int:
        """Where a name of an import statement begins."""
        return self.offset(alias.lineno, alias.col_offset)

    def end_of(self, alias: ast.alias) -> int:
        """Where a name of an import statement ends."""
        return self.offset(alias.end_lineno or alias.lineno, alias.end_col_offset or 0)

    def segment(self, node: ast.expr | ast.stmt) -> str:
        """The text of a node."""
        return self.text[self.start(node) : self.end(node)]

    def line_start(self, line: int) -> int:
        """Where a line, from 1, begins; one past the last line is the end of the text."""
        return self._starts[line - 1]

    def indent(self, line: int) -> str:
        """The white space a line begins with."""
        text = self.lines[line - 1]
        return text[: len(text) - len(text.lstrip(" \t\f"))]

    @cached_property
    def newline(self) -> str:
        """How this file ends its lines."""
        first = self.lines[0] if self.lines else ""
        return "\r\n" if first.endswith("\r\n") else "\r" if first.endswith("\r") else "\n"

    @cached_property
    def unit(self) -> str:
        """One level of indentation in this file."""
        for node in self.nodes:
            if isinstance(node, (*SCOPES, ast.If, ast.With, ast.For)) and not isinstance(node, ast.Lambda):
                inner, outer = self.indent(node.body[0].lineno), self.indent(node.lineno)
                if node.body[0].lineno > node.lineno and inner.startswith(outer) and len(inner) > len(outer):
                    return inner[len(outer) :]
        return "    "

    def readable(self, node: ast.expr) -> bool:
        """True where the text at this node's place is this node: inside f-strings older parsers place nodes wrongly."""
        try:
            again = ast.parse(f"({self.segment(node)}\n)", mode="eval").body
        except (SyntaxError, ValueError):
            return False
        return ast.dump(again) == ast.dump(node)

    @cached_property
    def functions(self) -> tuple[Function, ...]:
        """Every def, outer ones first."""
        return tuple(n for n in self.nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))

    @cached_property
    def by_name(self) -> dict[str, list[Function]]:
        """Every def by its last name."""
        found: dict[str, list[Function]] = {}
        for each in self.functions:
            found.setdefault(each.name, []).append(each)
        return found

    def called_by(self, function: ast.AST) -> frozenset[str]:
        """The last names of everything that is called in a function."""
        if function not in self._called:
            calls = (n for n in walked(function) if isinstance(n, ast.Call))
            self._called[function] = frozenset(map(called_name, calls))
        return self._called[function]

    @cached_property
    def imports(self) -> tuple[ast.Import | ast.ImportFrom, ...]:
        """Every import, those inside functions too."""
        return tuple(n for n in self.nodes if isinstance(n, ast.Import | ast.ImportFrom))

    @cached_property
    def loads(self) -> tuple[ast.Name | ast.Attribute, ...]:
        """Every name and attribute that is not set but spoken of; attributes whatever is done to them."""
        return tuple(
            n
            for n in self.nodes
            if isinstance(n, ast.Attribute) or (isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))
        )

    @cached_property
    def _calls(self) -> dict[tuple[int, int], list[ast.Call]]:
        found: dict[tuple[int, int], list[ast.Call]] = {}
        for node in self.nodes:
            if isinstance(node, ast.Call):
                found.setdefault(_place(node), []).append(node)
        return found

    def calls_at(self, line: int, column: int) -> list[ast.Call]:
        """The calls that begin at a place, outer ones first."""
        return self._calls.get((line, column), [])

    def function_at(self, line: int) -> Function | None:
        """The innermost def whose body holds this line."""
        found: Function | None = None
        for node in self.functions:
            if node.lineno <= line <= (node.end_lineno or 0) and (found is None or node.lineno >= found.lineno):
                found = node
        return found

    def qualname(self, function: ast.AST) -> str:
        """A function's name with those of the classes and functions around it."""
        names = []
        node: ast.AST | None = function
        while node is not None:
            if isinstance(node, Function | ast.ClassDef):
                names.append(node.name)
            node = self.parents.get(node)
        return ".".join(reversed(names))

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes around one, innermost first."""
        parent = self.parents.get(node)
        while parent is not None:
            yield parent
            parent = self.parents.get(parent)

    def scope(self, node: ast.AST) -> ast.AST:
        """The function, lambda, class or module whose code this node is. Decorators, defaults and annotations belong
        to the scope around theirs."""
        child = node
        for parent in self.around(node):
            if isinstance(parent, ast.Module):
                return parent
            if isinstance(parent, Function | ast.ClassDef) and child in parent.body:
                return parent
            if isinstance(parent, ast.Lambda) and child is parent.body:
                return parent
            child = parent
        return self.module

    def statement(self, node: ast.AST) -> ast.stmt:
        """The innermost statement that holds a node."""
        for each in (node, *self.around(node)):
            if isinstance(each, ast.stmt):
                return each
        raise ValueError("outside of any statement")

    # --- places of findings -----------------------------------------------------------------------------

    def call_at(self, line: int, column: int, callee: str) -> ast.Call | None:
        """The call a step names; ``column`` from 1. None where there is none or more than one would fit."""
        wanted = last_name(callee)
        here = self.calls_at(line, column)
        named = [n for n in here if called_name(n) == wanted]
        if callee.endswith(("__init__()", "__new__()", "__post_init__()")):
            named = [n for n in here if called_name(n) == callee.split(".")[-2]]
        fitting = named or here
        return fitting[0] if len(fitting) == 1 else None

    def value_at(self, line: int, column: int) -> ast.expr | None:
        """What is iterated or entered at this place."""
        for node in self.nodes:
            if isinstance(node, ast.For | ast.comprehension):
                value = node.iter
            elif isinstance(node, ast.withitem):
                value = node.context_expr
            else:
                continue
            if (value.lineno, value.col_offset + 1) == (line, column):
                return value
        return None


def called_name(node: ast.AST | None) -> str:
    """The last name of what is called; empty where nothing is."""
    return last_name_of(node.func) if isinstance(node, ast.Call) else ""


def last_name_of(node: ast.AST) -> str:
    """``c`` of ``a.b.c``."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def children(node: ast.AST) -> list[ast.AST]:
    """The nodes right below a node, in order; those that only say how a name is used are none."""
    found: list[ast.AST] = []
    for name in node._fields:
        value = getattr(node, name, None)
        if type(value) is list:
            found += [item for item in value if isinstance(item, ast.AST)]
        elif isinstance(value, ast.AST) and not isinstance(value, ast.expr_context):
            found.append(value)
    return found


def walked(root: ast.AST) -> list[ast.AST]:
    """A node and all below it, outer ones first."""
    found = [root]
    for node in found:
        found += children(node)
    return found


def root_name(node: ast.AST) -> str:
    """``a`` of ``a.b().c[0]``, empty where it does not begin with a name."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call | ast.Await):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def last_name(dotted: str) -> str:
    """The last name of a callee as a step spells it."""
    return dotted.removesuffix("()").rpartition(".")[2].removesuffix("()").removesuffix("[]")


def _place(node: ast.Call) -> tuple[int, int]:
    func = node.func
    if isinstance(func, ast.Attribute):
        line = func.end_lineno or func.lineno
        end = (func.end_col_offset or 0) + 1
        return line, func.col_offset + 1 if line == func.lineno else end - len(func.attr)
    return node.lineno, func.col_offset + 1


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function's body that run as part of it: nested functions and classes are left out, lambdas too."""
    pending: list[ast.AST] = [function]
    if isinstance(function, Function | ast.Module):
        pending = list(reversed(function.body))
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, SCOPES):
            continue
        pending.extend(reversed(children(node)))


def suite_of(parent: ast.AST, statement: ast.stmt) -> list[ast.stmt]:
    """The list of statements that holds this one."""
    for name in ("body", "orelse", "finalbody", "handlers"):
        suite = getattr(parent, name, None)
        if isinstance(suite, list) and statement in suite:
            return suite
    return []
