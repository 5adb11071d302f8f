"""One file's syntax tree to its facts."""

from __future__ import annotations

import ast
import sys
from typing import Any

from unstall.source import facts as f
from unstall.source.expressions import Expressions
from unstall.source.newer import older
from unstall.source.scopes import Scope
from unstall.source.suppress import ignores_in

_MANAGERS = {"contextmanager", "asynccontextmanager"}
_PROPERTIES = {"property", "cached_property"}
_DECORATORS = {
    "staticmethod": f.STATIC,
    "classmethod": f.CLASSMETHOD,
    "abstractmethod": f.ABSTRACT,
    "abstractproperty": f.ABSTRACT | f.PROPERTY,
    "overload": f.OVERLOAD,
}
_DEPTH = 12_000


def read_facts(text: str, filename: str = "<source>") -> f.FileFacts:
    """The facts of one file, see `read_plain`."""
    return f.from_plain(read_plain(text, filename))


def read_plain(text: str, filename: str = "<source>") -> f.Plain:
    """Parse one file. Source that this Python cannot parse, not even as ``older`` spells it, gives facts with ``error``
    set; nothing is raised."""
    lines = text.count("\n") + 1
    try:
        tree = ast.parse(text, filename)
    except SyntaxError as error:
        try:
            text = older(text)
            tree = ast.parse(text, filename)
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return f.unreadable(f"line {error.lineno or 1}: {error.msg}", lines)
    except (ValueError, MemoryError, RecursionError) as error:
        return f.unreadable(f"{type(error).__name__}: {error}", lines)
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _DEPTH))
    try:
        return FileReader().read(tree, lines, ignores_in(text))
    except RecursionError:
        return f.unreadable("nested too deeply", lines)
    finally:
        sys.setrecursionlimit(before)


class FileReader(Expressions):
    """Walks statements in order, so that every use of a name knows the assignments that reach it."""

    def read(self, tree: ast.Module, lines: int, ignores: tuple[Any, ...]) -> f.Plain:
        """The facts of a parsed module."""
        self.open_function("<module>", "", 1)
        self.statements(tree.body)
        self.close_function()
        return (
            tuple(self.exprs),
            tuple([scope.facts() for scope in self.functions]),
            tuple([self.class_facts(row) for row in self.classes]),
            tuple(map(tuple, self.calls)),
            tuple(self.outer),
            tuple(self.stars),
            ignores,
            lines,
            "",
        )

    @staticmethod
    def class_facts(row: dict[str, Any]) -> tuple[Any, ...]:
        """A class, once all its methods are read: a bare `facts.ClassFacts`."""
        attributes = {name: tuple(values) for name, values in row["attributes"].items()}
        return tuple((row | {"attributes": attributes}).values())

    def statements(self, body: list[ast.stmt]) -> None:
        """Read statements in order."""
        for node in body:
            handler = _STATEMENTS.get(type(node))
            if handler is not None:
                handler(self, node)

    def block(self, body: list[ast.stmt]) -> None:
        """Read statements that may not run."""
        if body:
            scope = self.scope
            scope.enter_block()
            self.statements(body)
            scope.leave_block()

    # --- definitions ------------------------------------------------------------------------------

    def on_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """A def: its decorators and defaults belong to the scope around it."""
        decorators = tuple((self.expression(d), d.lineno) for d in node.decorator_list)
        params = self.parameters(node.args)
        annotation = self.annotation(node.returns)
        flags = f.ASYNC if isinstance(node, ast.AsyncFunctionDef) else 0
        for d in node.decorator_list:
            flags |= _decorator_flag(d)
        if _is_abstract(node):
            flags |= f.ABSTRACT
        index = self.define(node.name, node.lineno, flags, params, decorators, annotation)
        self.statements(node.body)
        self.close_function()
        if not flags & f.OVERLOAD:
            self.bind(node.name, self.add(("f", index)))

    def on_class(self, node: ast.ClassDef) -> None:
        """A class: its body is a scope of its own."""
        bases = tuple(self.expression(b.value if isinstance(b, ast.Starred) else b) for b in node.bases)
        decorators = tuple((self.expression(d), d.lineno) for d in node.decorator_list)
        for keyword in node.keywords:
            self.expression(keyword.value)
        index = len(self.classes)
        outer = self.scope
        prefix = f"{outer.qualname}." if outer.qualname else ""
        abstract = any(_last_name(k.value) == "ABCMeta" for k in node.keywords) or any(
            _last_name(b) in ("ABC", "Protocol") for b in node.bases
        )
        row: dict[str, Any] = {
            "name": node.name,
            "qualname": prefix + node.name,
            "line": node.lineno,
            "bases": bases,
            "body": len(self.functions),
            "attributes": {},
            "decorators": decorators,
            "abstract": abstract,
        }
        self.classes.append(row)
        self.open_function(node.name, prefix + node.name, node.lineno)
        self.scope.flags, self.scope.owner = f.CLASS_BODY, index
        self.statements(node.body)
        self.close_function()
        self.bind(node.name, self.add(("C", index)))

    # --- imports ------------------------------------------------------------------------------------

    def on_import(self, node: ast.Import) -> None:
        """``import a.b`` binds ``a``; ``import a.b as c`` binds the submodule."""
        for alias in node.names:
            if alias.asname:
                self.bind(alias.asname, self.add(("m", alias.name)))
            else:
                self.bind(alias.name.partition(".")[0], self.add(("m", alias.name.partition(".")[0])))

    def on_import_from(self, node: ast.ImportFrom) -> None:
        """``from module import name``, relative or not."""
        for alias in node.names:
            if alias.name == "*":
                self.stars.append((node.module or "", node.level))
            else:
                value = self.add(("M", node.module or "", alias.name, node.level))
                self.bind(alias.asname or alias.name, value)

    # --- simple statements ------------------------------------------------------------------------

    def on_expr(self, node: ast.Expr) -> None:
        """A value thrown away."""
        if not isinstance(node.value, ast.Constant):
            self.expression(node.value)

    def on_assign(self, node: ast.Assign) -> None:
        """Every target gets the value."""
        value = self.expression(node.value)
        for target in node.targets:
            self.assign(target, value)

    def on_ann_assign(self, node: ast.AnnAssign) -> None:
        """A declaration counts beside the value it is given."""
        value = self.expression(node.value) if node.value is not None else -1
        declared = self.annotation(node.annotation)
        if declared >= 0:
            name = self.exprs[declared]
            declared = -1 if name == ("n", "TypeAlias") else self.add(("T", declared))
        choices = tuple(dict.fromkeys(e for e in (value, declared) if e >= 0))
        if choices:
            self.assign(node.target, choices[0] if len(choices) == 1 else self.add(("o", choices)))
        elif not isinstance(node.target, ast.Name):
            self.expression(node.target)

    def on_aug_assign(self, node: ast.AugAssign) -> None:
        """``x += value`` keeps what x was."""
        self.expression(node.value)

    def on_type_alias(self, node: Any) -> None:
        """``type X = ...`` of Python 3.12."""
        if isinstance(node.name, ast.Name):
            self.bind(node.name.id, self.annotation(node.value))

    def on_return(self, node: ast.Return) -> None:
        """What a function may give back."""
        if node.value is not None:
            value = self.expression(node.value)
            if value >= 0:
                self.scope.returns.append(value)

    def on_global(self, node: ast.Global) -> None:
        """Names that belong to the module."""
        self.scope.globals.update(node.names)
        self.scope.seen.clear()

    def on_nonlocal(self, node: ast.Nonlocal) -> None:
        """Names that belong to the function around."""
        self.scope.nonlocals.update(node.names)

    def on_delete(self, node: ast.Delete) -> None:
        """Nothing is called."""

    def on_assert(self, node: ast.Assert) -> None:
        """Its test runs."""
        self.expression(node.test)

    def on_raise(self, node: ast.Raise) -> None:
        """Its exception is built."""
        if node.exc is not None:
            self.expression(node.exc)

    # --- compound statements ------------------------------------------------------------------------

    def on_if(self, node: ast.If) -> None:
        """Neither side is certain to run; code for type checkers and scripts never does."""
        kind = _guard(node.test)
        if kind == "main":
            return
        self.expression(node.test)
        if kind == "typing":
            effects = len(self.scope.effects)
            self.statements(node.body)
            del self.scope.effects[effects:]
            return
        self.block(node.body)
        self.block(node.orelse)

    def on_for(self, node: ast.For | ast.AsyncFor) -> None:
        """Iterating runs the iterator's code."""
        value = self.expression(node.iter)
        if isinstance(node, ast.AsyncFor):
            self.mark_awaited(value)
        else:
            self.effect("iterate", node.iter, value)
        self.scope.enter_block()
        self.assign(node.target, self.element(value))
        self.statements(node.body)
        self.scope.leave_block()
        self.block(node.orelse)

    def on_while(self, node: ast.While) -> None:
        """The test runs at least once."""
        self.expression(node.test)
        self.block(node.body)
        self.block(node.orelse)

    def on_with(self, node: ast.With | ast.AsyncWith) -> None:
        """Entering a context manager runs code too."""
        is_async = isinstance(node, ast.AsyncWith)
        for item in node.items:
            value = self.expression(item.context_expr)
            if is_async:
                self.mark_awaited(value)
            else:
                self.effect("with", item.context_expr, value)
            if item.optional_vars is not None:
                self.assign(item.optional_vars, self.add(("e", value, is_async)) if value >= 0 else -1)
        first = len(self.calls)
        self.statements(node.body)
        if not is_async:
            self.section(node, first)

    def section(self, node: ast.With | ast.AsyncWith, first: int) -> None:
        """Remember the lines of a ``with`` block that awaits nothing: a lock held there is given back soon."""
        if not any(call[6] for call in self.calls[first:]):
            end = node.end_lineno or node.lineno
            self.scope.effects.append(("short", node.lineno, 1, end, 0))

    def on_try(self, node: Any) -> None:
        """Handlers may run, the body does."""
        self.statements(node.body)
        for handler in node.handlers:
            if handler.name:
                self.bind(handler.name, -1)
            self.block(handler.body)
        self.block(node.orelse)
        self.statements(node.finalbody)

    def on_match(self, node: ast.Match) -> None:
        """One case runs at most."""
        subject = self.expression(node.subject)
        for case in node.cases:
            self.scope.enter_block()
            self.pattern(case.pattern, subject)
            if case.guard is not None:
                self.expression(case.guard)
            self.statements(case.body)
            self.scope.leave_block()


def _decorator_flag(node: ast.expr) -> int:
    name = _last_name(node.func if isinstance(node, ast.Call) else node)
    if name in _PROPERTIES or name in ("setter", "getter"):
        return f.PROPERTY if name in _PROPERTIES else 0
    if name in _MANAGERS:
        return f.MANAGER
    return _DECORATORS.get(name, 0)


def _last_name(node: ast.expr) -> str:
    while isinstance(node, ast.Subscript):
        node = node.value
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is_abstract(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A body that does nothing but say so: docstring, pass, ``...`` or ``raise NotImplementedError``."""
    if len(node.body) > 2:
        return False
    for statement in node.body:
        match statement:
            case ast.Pass() | ast.Expr(value=ast.Constant()):
                continue
            case ast.Raise(exc=ast.Name(id="NotImplementedError") | ast.Call(func=ast.Name(id="NotImplementedError"))):
                return True
            case _:
                return False
    return True


def _guard(test: ast.expr) -> str:
    if isinstance(test, ast.Compare):
        return "main" if isinstance(test.left, ast.Name) and test.left.id == "__name__" else ""
    return "typing" if _last_name(test) == "TYPE_CHECKING" else ""


_STATEMENTS: dict[type[ast.stmt], Any] = {
    ast.FunctionDef: FileReader.on_function,
    ast.AsyncFunctionDef: FileReader.on_function,
    ast.ClassDef: FileReader.on_class,
    ast.Import: FileReader.on_import,
    ast.ImportFrom: FileReader.on_import_from,
    ast.Expr: FileReader.on_expr,
    ast.Assign: FileReader.on_assign,
    ast.AnnAssign: FileReader.on_ann_assign,
    ast.AugAssign: FileReader.on_aug_assign,
    ast.Return: FileReader.on_return,
    ast.Global: FileReader.on_global,
    ast.Nonlocal: FileReader.on_nonlocal,
    ast.Delete: FileReader.on_delete,
    ast.Assert: FileReader.on_assert,
    ast.Raise: FileReader.on_raise,
    ast.If: FileReader.on_if,
    ast.For: FileReader.on_for,
    ast.AsyncFor: FileReader.on_for,
    ast.While: FileReader.on_while,
    ast.With: FileReader.on_with,
    ast.AsyncWith: FileReader.on_with,
    ast.Try: FileReader.on_try,
    ast.Match: FileReader.on_match,
}
_STATEMENTS[ast.TryStar] = FileReader.on_try
if hasattr(ast, "TypeAlias"):
    _STATEMENTS[ast.TypeAlias] = FileReader.on_type_alias

__all__ = ["FileReader", "Scope", "read_facts", "read_plain"]
