"""Expressions to numbers, with the calls and iterations they make on the way."""

from __future__ import annotations

import ast
from typing import Any

from unstall.source import facts as f
from unstall.source.tables import Tables

_AWAITERS = frozenset(
    [
        "gather",
        "wait_for",
        "shield",
        "create_task",
        "ensure_future",
        "wait",
        "run",
        "run_until_complete",
        "run_coroutine_threadsafe",
        "as_completed",
        "start_soon",
        "wrap_future",
        "async_to_sync",
        "spawn",
        "maybe_await",
    ]
)
"""Calls that await what they are given."""
_LONGEST_LITERAL, _LARGEST_LITERAL, _LONGEST_TYPE = 200, 1 << 60, 500
_NAME = ast.Name


class Expressions(Tables):
    """Reads expressions into the tables of one file."""

    # --- targets --------------------------------------------------------------------------------------

    def assign(self, target: ast.expr, value: int) -> None:
        """Bind a target, unpacking where it is several."""
        if isinstance(target, ast.Name):
            self.bind(target.id, value)
        elif isinstance(target, ast.Attribute):
            self.assign_attribute(target.value, target.attr, value)
        elif isinstance(target, (ast.Tuple, ast.List)):
            for position, item in enumerate(target.elts):
                starred = isinstance(item, ast.Starred)
                part = self.add(("u", value, position)) if value >= 0 and not starred else -1
                self.assign(item, part)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, -1)
        elif isinstance(target, ast.Subscript):
            self.expression(target.slice)
            self.assign_element(target.value, value)
        else:
            self.expression(target)

    def assign_attribute(self, receiver: ast.expr, attr: str, value: int) -> None:
        """``self.x = value`` belongs to the class; other receivers are kept aside."""
        owner, function = self.owner_of(receiver)
        if owner >= 0:
            if value >= 0:
                self.classes[owner]["attributes"].setdefault(attr, []).append((function, value))
        else:
            number = self.expression(receiver)
            if value >= 0 and number >= 0:
                self.outer.append((attr, number, self.stack[-1], value))

    def assign_element(self, receiver: ast.expr, value: int) -> None:
        """``registry[key] = value`` makes the value an element of the registry, kept under ``registry[]``."""
        if value < 0:
            self.expression(receiver)
            return
        held = self.add(("d", (value,)))
        owner, function = self.owner_of(receiver.value) if isinstance(receiver, ast.Attribute) else (-1, -1)
        if isinstance(receiver, ast.Attribute) and owner >= 0:
            self.classes[owner]["attributes"].setdefault(receiver.attr, []).append((function, held))
        elif isinstance(receiver, ast.Name):
            at = self.stack[-1]
            while at > 0 and receiver.id not in self.functions[at].names:
                at = self.functions[at].parent
            inner = held if at == self.stack[-1] else self.made_here(held)
            self.functions[max(at, 0)].bind(receiver.id + "[]", inner)
        else:
            self.expression(receiver)

    def owner_of(self, receiver: ast.expr) -> tuple[int, int]:
        """The class and function when a receiver is ``self`` of a method around, else (-1, -1)."""
        if isinstance(receiver, ast.Name):
            for at in reversed(self.stack):
                scope = self.functions[at]
                if scope.self_name == receiver.id:
                    return scope.self_owner, self.stack[-1]
        return -1, -1

    def pattern(self, pattern: ast.pattern, subject: int) -> None:
        """Names that a ``case`` binds."""
        match pattern:
            case ast.MatchAs(pattern=inner, name=name):
                if inner is not None:
                    self.pattern(inner, subject)
                if name is not None:
                    self.bind(name, subject)
            case ast.MatchOr(patterns=choices):
                for choice in choices:
                    self.pattern(choice, subject)
            case ast.MatchSequence(patterns=parts) | ast.MatchClass(patterns=parts) | ast.MatchMapping(patterns=parts):
                for part in parts:
                    self.pattern(part, -1)
            case ast.MatchStar(name=str(name)):
                self.bind(name, -1)

    # --- values ---------------------------------------------------------------------------------------

    def expression(self, node: ast.expr | None) -> int:
        """Read an expression: its effects go to the scope, its number comes back."""
        kind = type(node)
        if kind is _NAME and (known := self.scope.seen.get(node.id)) is not None:  # type: ignore[union-attr]
            return known
        handler = _HANDLERS.get(kind)
        if handler is not None:
            number: int = handler(self, node)
            return number
        for child in ast.iter_child_nodes(node) if node is not None else ():
            if isinstance(child, ast.expr):
                self.expression(child)
        return -1

    def on_name(self, node: ast.Name) -> int:
        """A name that is not among those just seen, with the bindings that reach it where it is local."""
        scope, name = self.scope, node.id
        is_local = name in scope.where and name not in scope.globals
        number = scope.seen[name] = self.add(("v", name, scope.reaching(name)) if is_local else ("n", name))
        return number

    def on_constant(self, node: ast.Constant) -> int:
        """A literal short enough to matter."""
        value = node.value
        if isinstance(value, str):
            return self.literal(value) if len(value) <= _LONGEST_LITERAL else -1
        if value is None or isinstance(value, (int, float)):
            return -1 if type(value) is int and abs(value) > _LARGEST_LITERAL else self.literal(value)
        return -1

    def on_attribute(self, node: ast.Attribute) -> int:
        """An attribute, which may be a property."""
        value = self.expression(node.value)
        if value < 0:
            return -1
        number = self.add(("a", value, node.attr))
        self.scope.effects.append(
            ("attribute", node.end_lineno or node.lineno, node.col_offset + 1, node.end_col_offset or 0, number)
        )
        return number

    def on_call(self, node: ast.Call) -> int:
        """A call, after the calls in its arguments."""
        func = node.func
        line, column, end = node.lineno, func.col_offset + 1, (func.end_col_offset or 0) + 1
        if isinstance(func, ast.Attribute):
            value = self.expression(func.value)
            last: str = func.attr
            target = self.add(("a", value, last)) if value >= 0 else -1
            line = func.end_lineno or line
            if line != func.lineno:
                column = end - len(last)
        else:
            target = self.expression(func)
            last = func.id if isinstance(func, ast.Name) else ""
        args = tuple([self.expression(arg) for arg in node.args])
        keywords = tuple([(k.arg or "**", self.expression(k.value)) for k in node.keywords]) if node.keywords else ()
        if last in _AWAITERS:
            for value in (*args, *(v for _, v in keywords)):
                self.mark_awaited(value)
        starred = ast.Starred in map(type, node.args)
        number = len(self.calls)
        self.calls.append([target, args, keywords, line, column, end, False, self.stack[-1], starred])
        self.scope.effects.append(("call", line, column, end, number))
        return self.add(("c", number))

    def on_starred(self, node: ast.Starred) -> int:
        """``*args``: whoever needs to know that it is spread looks at the node."""
        return self.expression(node.value)

    def on_await(self, node: ast.Await) -> int:
        """What an awaitable gives."""
        value = self.expression(node.value)
        self.mark_awaited(value)
        return self.add(("w", value)) if value >= 0 else -1

    def on_subscript(self, node: ast.Subscript) -> int:
        """An element by key."""
        value, key = self.expression(node.value), self.expression(node.slice)
        return self.add(("s", value, key)) if value >= 0 else -1

    def on_choice(self, node: ast.BoolOp) -> int:
        """``a or b`` is one of them."""
        return self.choices([self.expression(value) for value in node.values])

    def on_if_expression(self, node: ast.IfExp) -> int:
        """Either side."""
        self.expression(node.test)
        return self.choices([self.expression(node.body), self.expression(node.orelse)])

    def on_binary(self, node: ast.BinOp) -> int:
        """``path / "name"`` stays what the left side is; ``A | B`` is a union."""
        left, right = self.expression(node.left), self.expression(node.right)
        kind = type(node.op)
        if kind is ast.Div:
            return left
        return self.choices([left, right]) if kind is ast.BitOr or kind is ast.Add else -1

    def on_compare(self, node: ast.Compare) -> int:
        """True or False."""
        self.expression(node.left)
        for right in node.comparators:
            self.expression(right)
        return -1

    def on_unary(self, node: ast.UnaryOp) -> int:
        """A number, True or False."""
        self.expression(node.operand)
        return -1

    def on_text(self, node: ast.JoinedStr) -> int:
        """The values in an f-string are read; the text is not known."""
        for value in node.values:
            self.expression(value)
        return -1

    def on_formatted(self, node: ast.FormattedValue) -> int:
        """A value in an f-string, and its format."""
        self.expression(node.value)
        self.expression(node.format_spec)
        return -1

    def choices(self, values: list[int]) -> int:
        """One of several values."""
        known = tuple(dict.fromkeys([value for value in values if value >= 0]))
        return -1 if not known else known[0] if len(known) == 1 else self.add(("o", known))

    def on_sequence(self, node: ast.List | ast.Tuple | ast.Set) -> int:
        """A display."""
        values = [self.expression(e) for e in node.elts]
        return self.add(("t", tuple(values[:64])))

    def on_dict(self, node: ast.Dict) -> int:
        """A display whose values may be looked up."""
        for key in node.keys:
            if key is not None:
                self.expression(key)
        values = [self.expression(value) for value in node.values]
        return self.add(("d", tuple([value for value in values[:256] if value >= 0])))

    def on_lambda(self, node: ast.Lambda) -> int:
        """A function without a name."""
        params = self.parameters(node.args)
        index = self.define("<lambda>", node.lineno, f.LAMBDA, params, (), -1)
        value = self.expression(node.body)
        if value >= 0:
            self.scope.returns.append(value)
        self.close_function()
        return self.add(("f", index))

    def on_named(self, node: ast.NamedExpr) -> int:
        """``(x := value)``."""
        value = self.expression(node.value)
        self.assign(node.target, value)
        return value

    def on_yield(self, node: ast.Yield) -> int:
        """The function is a generator."""
        self.scope.flags |= f.GENERATOR
        value = self.expression(node.value)
        if value >= 0:
            self.scope.yields.append(value)
        return -1

    def on_yield_from(self, node: ast.YieldFrom) -> int:
        """The inner iteration runs here."""
        self.scope.flags |= f.GENERATOR
        value = self.expression(node.value)
        self.effect("iterate", node.value, value)
        if value >= 0:
            self.scope.yields.append(self.element(value))
        return -1

    def on_comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> int:
        """The loop runs here, for generator expressions when they are consumed, which is nearly always at once."""
        self.loops(node.generators)
        value = self.expression(node.elt)
        self.scope.leave_block()
        return self.add(("t", (value,)))

    def on_dict_comprehension(self, node: ast.DictComp) -> int:
        """As a list comprehension, keys included."""
        self.loops(node.generators)
        self.expression(node.key)
        value = self.expression(node.value)
        self.scope.leave_block()
        return self.add(("d", (value,) if value >= 0 else ()))

    def loops(self, generators: list[ast.comprehension]) -> None:
        """The ``for`` and ``if`` parts; leaves a block open for the element."""
        self.scope.enter_block()
        for generator in generators:
            value = self.expression(generator.iter)
            if generator.is_async:
                self.mark_awaited(value)
            else:
                self.effect("iterate", generator.iter, value)
            self.assign(generator.target, self.element(value))
            for test in generator.ifs:
                self.expression(test)

    # --- signatures -----------------------------------------------------------------------------------

    def parameters(self, args: ast.arguments) -> tuple[tuple[Any, ...], ...]:
        """The parameters of a function, as bare `facts.Param`; defaults run in the scope around it."""
        positional = args.posonlyargs + args.args if args.posonlyargs else args.args
        defaults: list[ast.expr | None] = [None] * (len(positional) - len(args.defaults)) + args.defaults
        found = [
            (arg.arg, self.annotation(arg.annotation), self.expression(default), f.POSITIONAL)
            for arg, default in zip(positional, defaults, strict=True)
        ]
        if args.vararg is not None:
            found.append((args.vararg.arg, self.annotation(args.vararg.annotation), -1, f.STAR))
        for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
            found.append((arg.arg, self.annotation(arg.annotation), self.expression(default), f.KEYWORD_ONLY))
        if args.kwarg is not None:
            found.append((args.kwarg.arg, self.annotation(args.kwarg.annotation), -1, f.DOUBLE_STAR))
        return tuple(found)

    def annotation(self, node: ast.expr | None) -> int:
        """A type: nothing in it runs, and strings are read as the types they spell."""
        if node is None:
            return -1
        effects = self.scope.effects
        before = len(effects)
        number = self.type_expression(node)
        del effects[before:]
        return number

    def type_expression(self, node: ast.expr) -> int:
        """An expression in which strings are types."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return self.spelled(node.value)
        if isinstance(node, ast.Subscript):
            key = node.slice
            base = self.type_expression(node.value)
            if isinstance(key, ast.Tuple):
                inner = self.add(("t", tuple([self.type_expression(e) for e in key.elts])))
            else:
                inner = self.type_expression(key)
            return self.add(("s", base, inner)) if base >= 0 else -1
        if isinstance(node, ast.BinOp):
            return self.choices([self.type_expression(node.left), self.type_expression(node.right)])
        return self.expression(node)

    def spelled(self, text: str) -> int:
        """A type in quotes."""
        try:
            return self.type_expression(ast.parse(text.strip(), mode="eval").body) if len(text) < _LONGEST_TYPE else -1
        except (SyntaxError, ValueError):
            return -1


_HANDLERS: dict[type[ast.expr | None], Any] = {
    ast.Name: Expressions.on_name,
    ast.Constant: Expressions.on_constant,
    ast.Attribute: Expressions.on_attribute,
    ast.Call: Expressions.on_call,
    ast.Starred: Expressions.on_starred,
    ast.Compare: Expressions.on_compare,
    ast.UnaryOp: Expressions.on_unary,
    ast.JoinedStr: Expressions.on_text,
    ast.FormattedValue: Expressions.on_formatted,
    ast.Await: Expressions.on_await,
    ast.Subscript: Expressions.on_subscript,
    ast.BoolOp: Expressions.on_choice,
    ast.IfExp: Expressions.on_if_expression,
    ast.BinOp: Expressions.on_binary,
    ast.List: Expressions.on_sequence,
    ast.Tuple: Expressions.on_sequence,
    ast.Set: Expressions.on_sequence,
    ast.Dict: Expressions.on_dict,
    ast.Lambda: Expressions.on_lambda,
    ast.NamedExpr: Expressions.on_named,
    ast.Yield: Expressions.on_yield,
    ast.YieldFrom: Expressions.on_yield_from,
    ast.ListComp: Expressions.on_comprehension,
    ast.SetComp: Expressions.on_comprehension,
    ast.GeneratorExp: Expressions.on_comprehension,
    ast.DictComp: Expressions.on_dict_comprehension,
}
