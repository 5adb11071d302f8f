"""The tables of one file while it is read, and how names are bound in them."""

from __future__ import annotations

import ast
from typing import Any

from unstall.source import facts as f
from unstall.source.scopes import Scope


class Tables:
    """The tables of one file, and how an expression gets into them."""

    def __init__(self) -> None:
        self.exprs: list[f.Expr] = []
        self.numbers: dict[f.Expr, int] = {}
        self.functions: list[Scope] = []
        self.classes: list[dict[str, Any]] = []
        self.calls: list[list[Any]] = []
        self.outer: list[tuple[str, int, int, int]] = []
        self.stars: list[tuple[str, int]] = []
        self.stack: list[int] = []
        self.scope: Scope = Scope("", "", 0, -1)

    # --- tables -------------------------------------------------------------------------------------

    def add(self, expr: f.Expr) -> int:
        """The number of an expression."""
        new = len(self.exprs)
        number = self.numbers.setdefault(expr, new)
        if number == new:
            self.exprs.append(expr)
        return number

    def literal(self, value: str | float | None) -> int:
        """The number of a literal: 1, 1.0 and True are equal to Python but not to a reader."""
        new = len(self.exprs)
        number = self.numbers.setdefault(("k", value, type(value)), new)
        if number == new:
            self.exprs.append(("k", value))
        return number

    def open_function(self, name: str, qualname: str, line: int) -> int:
        """A scope inside the one that is open."""
        index = len(self.functions)
        self.scope = Scope(name, qualname, line, self.stack[-1] if self.stack else -1)
        self.functions.append(self.scope)
        self.stack.append(index)
        return index

    def define(self, name: str, line: int, flags: int, params: Any, decorators: Any, annotation: int) -> int:
        """Open the scope of a function with its parameters bound."""
        outer = self.scope
        owner = outer.owner if outer.flags & f.CLASS_BODY else -1
        prefix = f"{outer.qualname}." if outer.qualname else ""
        index = self.open_function(name, prefix + name, line)
        scope = self.scope
        scope.flags, scope.owner, scope.params = flags, owner, params
        scope.decorators, scope.annotation = decorators, annotation
        if owner >= 0 and not flags & f.STATIC and params:
            scope.self_name, scope.self_owner = params[0][0], owner
        for position, param in enumerate(params):
            scope.bind(param[0], self.add(("p", position)))
        return index

    def close_function(self) -> None:
        """Back to the scope around."""
        self.stack.pop()
        if self.stack:
            self.scope = self.functions[self.stack[-1]]

    def bind(self, name: str, value: int) -> None:
        """A name gets a value, in the scope that it belongs to."""
        scope = self.scope
        if name in scope.globals:
            self.functions[0].bind(name, self.made_here(value))
        elif name in scope.nonlocals:
            at = scope.parent
            while at > 0 and name not in self.functions[at].names:
                at = self.functions[at].parent
            self.functions[max(at, 0)].bind(name, self.made_here(value))
        else:
            scope.bind(name, value)

    def made_here(self, value: int) -> int:
        """A value for a scope around this one: the names in it are this one's."""
        return self.add(("g", self.stack[-1], value)) if value >= 0 and self.stack[-1] > 0 else value

    def effect(self, kind: str, node: ast.expr, ref: int) -> None:
        """Something that runs code at this place."""
        if ref >= 0:
            end = node.end_col_offset if node.end_lineno == node.lineno else node.col_offset + 1
            self.scope.effects.append((kind, node.lineno, node.col_offset + 1, (end or 0) + 1, ref))

    def element(self, value: int) -> int:
        """What iterating a value gives."""
        return self.add(("i", value)) if value >= 0 else -1

    def mark_awaited(self, value: int) -> None:
        """The call behind a value is awaited, so it does not block."""
        if value < 0:
            return
        expr = self.exprs[value]
        if expr[0] == "c":
            self.calls[expr[1]][6] = True
        elif expr[0] == "o" or expr[0] == "t":
            for choice in expr[1]:
                self.mark_awaited(choice)
        elif expr[0] == "v":
            for index in expr[2]:
                bound = self.scope.names[expr[1]][index]
                if bound >= 0 and self.exprs[bound][0] == "c":
                    self.calls[self.exprs[bound][1]][6] = True
