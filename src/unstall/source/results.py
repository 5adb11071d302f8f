"""What calls give back, and what parameters are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unstall.source import facts as f
from unstall.source.callers import Callers
from unstall.source.origins import COPIED, ELEMENT, SAME
from unstall.source.values import Activation, Value, Values, bounded, elements, union

if TYPE_CHECKING:
    from unstall.source.names import Resolver

Arguments = tuple[tuple[Values, ...], tuple[tuple[str, Values], ...]]

_PASS_ON = frozenset(
    [
        "asyncio.create_task",
        "asyncio.ensure_future",
        "asyncio.wait_for",
        "asyncio.shield",
        "functools.lru_cache",
        "functools.cache",
        "functools.lru_cache()",
        "functools.wraps()",
        "functools.update_wrapper",
        "contextlib.aclosing",
        "copy.copy",
    ]
)
_POOLS = frozenset(["concurrent", "multiprocessing", "loky", "pebble", "joblib", "dask", "distributed"])
"""Libraries that hand out futures: what a function gives comes out of their result(), which waits."""
_RUN = frozenset(["asyncio.run", "asyncio.run_coroutine_threadsafe", "asgiref.sync.async_to_sync"])
_WRAPPERS = frozenset(["functools.wraps()", "functools.lru_cache()", "functools.lru_cache", "functools.cache"])


class Results:
    """Calls of project functions, of classes, and of the few library functions that hand values through."""

    def __init__(self, resolver: Resolver) -> None:
        self.r = resolver
        self.callers = Callers(resolver)
        self._places: dict[tuple[int, int], _Places] = {}

    # --- calls --------------------------------------------------------------------------------------

    def arguments(self, act: Activation, call: f.Call) -> Arguments:
        """The values a call hands over, starred tuples spread."""
        positional: list[Values] = []
        for arg in call.args:
            values = self.r.evaluate(act, arg)
            if call.starred and len(values) == 1 and values[0][0] == "T" and self._is_star(act, arg):
                positional.extend(values[0][1])
            else:
                positional.append(values)
        return tuple(positional), tuple([(name, self.r.evaluate(act, value)) for name, value in call.keywords])

    def _is_star(self, act: Activation, arg: int) -> bool:
        """``*args`` of the function around: its bound tuple is spread again."""
        entry = act.facts.exprs[arg] if arg >= 0 else ("",)
        names = {p.name for p in act.func.params if p.kind == f.STAR}
        around = act.env
        while around is not None:
            names |= {p.name for p in around.func.params if p.kind == f.STAR}
            around = around.env
        return entry[0] in "nv" and entry[1] in names

    def of_call(self, act: Activation, number: int) -> Values:
        """The result of a call in source."""
        call = act.facts.calls[number]
        found: list[Values] = []
        arguments: Arguments | None = None
        for value in self.r.evaluate(act, call.func):
            if value[0] == "O":
                special = self._special(act, call, value[1])
                if special is not None:
                    found.append(special)
                    continue
            if arguments is None:
                arguments = self.arguments(act, call)
            found.append(self.result(value, *arguments))
        return union((), *found)

    def _special(self, act: Activation, call: f.Call, origin: str) -> Values | None:
        """Calls that need to see their argument's source."""
        if origin == "super":
            return self._super(act)
        if origin == "getattr" and len(call.args) >= 2:
            entry = act.facts.exprs[call.args[1]] if call.args[1] >= 0 else ("",)
            if entry[0] == "k" and type(entry[1]) is str:
                return union((), *[self.r.attribute(v, entry[1]) for v in self.r.evaluate(act, call.args[0])])
            return ()
        if origin == "functools.partial" and call.args:
            literals = tuple(
                (k, act.facts.exprs[v][1]) for k, v in call.keywords if v >= 0 and act.facts.exprs[v][0] == "k"
            )
            rest = tuple([self.r.evaluate(act, e) for e in call.args[1:]])
            return tuple(("P", v, rest, literals) for v in self.r.evaluate(act, call.args[0]))
        if origin == "typing.cast" and len(call.args) == 2:
            return self.r.annotations.instance(act, call.args[0]) or self.r.evaluate(act, call.args[1])
        return None

    def _super(self, act: Activation) -> Values:
        at: Activation | None = act
        while at is not None:
            if at.func.owner >= 0 and at.me is not None:
                return (("S", at.file, at.func.owner, at.me),)
            at = at.env
        return ()

    def super_attribute(self, value: Value, name: str) -> Values:
        """``super().name``: the next class in the look-up order of self."""
        _, file, owner, me = value
        own, libraries = self.r.classes.order((me[1], me[2]))
        if (file, owner) not in own:
            own, libraries = self.r.classes.order((file, owner))
        after = own[own.index((file, owner)) + 1 :]
        for key in after:
            bound = self.r.classes.row(key)
            body = self.r.project.facts(key[0]).functions[bound.body].names.get(name)
            if body:
                return self.r.classes.bound(key, body, me, me)
        return tuple(("O", f"{base}().{name}") for base in libraries[:3])

    def result(self, value: Value, positional: tuple[Values, ...], keywords: tuple[tuple[str, Values], ...]) -> Values:
        """What calling a value with these arguments gives."""
        match value[0]:
            case "O":
                return self._library_result(value[1], positional)
            case "F":
                return self._function_result(value, positional, keywords)
            case "C":
                return (("I", value[1], value[2], True),)
            case "I":
                called = self.r.classes.instance_attribute(value, "__call__")
                return union((), *[self.result(v, positional, keywords) for v in called if v[0] == "F"])
            case "P" if isinstance(value[2], str):
                held = elements(value[1])
                if value[2] == "items":
                    return (("X", (("T", ((), held)),)),)
                return (("X", held),) if value[2] in ("values", "copy") else held
            case "P":
                return self.result(value[1], (*value[2], *positional), keywords)
        return ()

    def activation_of(
        self, value: Value, positional: tuple[Values, ...], keywords: tuple[tuple[str, Values], ...]
    ) -> Activation:
        """The function of a value ``F`` with its arguments bound."""
        _, file, function, me, env, _ = value
        func = self.r.project.facts(file).functions[function]
        offset = 0
        if func.owner >= 0 and not func.flags & f.STATIC:
            if me is None and positional:
                me, positional = (next((v for v in positional[0] if v[0] in "IC"), None), positional[1:])
            offset = 1
        elif me is not None:
            positional, me = ((me,), *positional), None
        if func.owner >= 0 and offset and me is None:
            me = ("I", file, func.owner, False)
        if not positional and not keywords:
            return self.r.activation(file, function, me, env)
        places = self._places.get((file, function))
        if places is None:
            places = self._places[file, function] = _Places(func)
        return self.r.activation(file, function, me, env, _bound(places, positional, keywords, offset))

    def _function_result(
        self, value: Value, positional: tuple[Values, ...], keywords: tuple[tuple[str, Values], ...]
    ) -> Values:
        act = self.activation_of(value, positional, keywords)
        flags = act.func.flags
        if flags & f.MANAGER:
            return (("W", act),)
        if flags & f.GENERATOR:
            return (("G", act),)
        if flags & f.ASYNC:
            return (("R", act),)
        return self.returned(act)

    def returned(self, act: Activation) -> Values:
        """What a function gives back: what it declares, or what its return statements say."""
        known = act.memo.get("returned")
        if known is None:
            act.memo["returned"] = (), False
            known = act.memo["returned"] = self.r.tracked(lambda: self._returned(act))
        if known[1]:
            self.r.inferred = True
        return known[0]

    def _returned(self, act: Activation) -> Values:
        func = act.func
        declared: Values = ()
        if func.annotation >= 0:
            declared = self.r.annotations.instance(self.scope_around(act), func.annotation)
            if declared and all(v[0] == "O" for v in declared):
                return declared
        inferred = self.r.many(act, func.returns)
        return self._told(inferred, declared)

    def _told(self, inferred: Values, declared: Values) -> Values:
        """What was worked out, and beside it what is declared where all that is known is that a library gave it."""
        if not declared or not all(self._is_vague(v) for v in inferred):
            return inferred or declared
        return union(declared, inferred)

    def _is_vague(self, value: Value) -> bool:
        """A library value that no row of the catalogue is about, or a tuple that holds one."""
        if value[0] == "T":
            return any(self._is_vague(v) for v in elements(value))
        return value[0] == "O" and not self.r.catalogue.knows(value[1])

    def scope_around(self, act: Activation) -> Activation:
        """Where a function's annotations and defaults are looked up."""
        if act.env is not None:
            return act.env
        parent = act.func.parent
        return self.r.activation(act.file, parent) if parent >= 0 else act

    def _library_result(self, origin: str, positional: tuple[Values, ...]) -> Values:
        first = positional[0] if positional else ()
        if origin in COPIED:
            return union((), *[(v,) if v[0] in "XT" else (bounded(("X", self.element(v))),) for v in first]) or (
                ("X", ()),
            )
        if origin in SAME:
            return first or (("X", ()),)
        if origin in ELEMENT:
            return union((), *[self.element(v) for v in first]) or first
        if origin in _PASS_ON:
            return first
        if origin in _RUN:
            return union((), *[self.returned(v[1]) for v in first if v[0] == "R"])
        if origin == "asyncio.gather":
            return (("T", tuple([self._awaited(values) for values in positional])),)
        if origin == "type":
            return tuple(("C", v[1], v[2]) for v in first if v[0] == "I")
        if origin == "enumerate":
            return (("X", (("T", ((), union((), *[self.element(v) for v in first]))),)),)
        if origin == "zip":
            return (("X", (("T", tuple([union((), *[self.element(v) for v in p]) for p in positional])),)),)
        offload = self.r.catalogue.offload(origin)
        pooled = origin.partition(".")[0] in _POOLS
        if offload is not None and not pooled and offload.position is not None and len(positional) > offload.position:
            rest = positional[offload.position + 1 :]
            results = [self.result(v, rest, ()) for v in positional[offload.position] if v[0] in "FPO"]
            return union((), *results)
        return (self.r.outside(origin + "()"),)

    def _awaited(self, values: Values) -> Values:
        return union((), *[self.returned(v[1]) if v[0] == "R" else (v,) for v in values])

    # --- iteration and with ---------------------------------------------------------------------------

    def element(self, value: Value) -> Values:
        """What iterating a value gives."""
        match value[0]:
            case "X" | "T":
                self.r.inferred = True
                return elements(value)
            case "G" | "W":
                return self.yielded(value[1])
            case "O":
                return (self.r.outside(value[1] + "[]"),)
            case "I":
                iterators = self.r.classes.instance_attribute(value, "__iter__")
                inner = [self.result(v, (), ()) for v in iterators if v[0] == "F"]
                return union((), *[self.element(v) for values in inner for v in values if v != value])
        return ()

    def yielded(self, act: Activation) -> Values:
        """What a generator yields, or else what it declares to."""
        values = self.r.many(act, act.func.yields)
        if values or act.func.annotation < 0:
            return values
        declared = self.r.annotations.instance(self.scope_around(act), act.func.annotation)
        return union((), *[elements(v) for v in declared])

    def entered(self, value: Value, is_async: bool) -> Values:
        """What ``with value as x`` binds."""
        if value[0] == "W":
            return self.yielded(value[1])
        if value[0] == "O" and not is_async:
            return (self.r.outside(value[1] + ".__enter__()"),)
        if value[0] == "I":
            name = "__aenter__" if is_async else "__enter__"
            if self.r.classes.find((value[1], value[2]), name) is not None:
                results = [self.result(v, (), ()) for v in self.r.classes.instance_attribute(value, name)]
                return self._awaited(union((), *results)) or (value,)
        return (value,)

    def injected(self, values: Values) -> Values:
        """What FastAPI makes of a dependency."""
        found: list[Values] = []
        for value in values:
            for result in self.result(value, (), ()) if value[0] in "FCPI" else ():
                if result[0] in "GW":
                    found.append(self.yielded(result[1]))
                else:
                    found.append(self.returned(result[1]) if result[0] == "R" else (result,))
        return union((), *found)

    # --- parameters -----------------------------------------------------------------------------------

    def parameter(self, act: Activation, position: int) -> Values:
        """What a parameter may be: what it was given, declares, defaults to, or is given elsewhere."""
        func = act.func
        if position == 0 and func.owner >= 0 and not func.flags & f.STATIC and act.me is not None:
            return (act.me,)
        given = act.bound(position)
        param = func.params[position]
        scope = self.scope_around(act)
        if given:
            vague = param.annotation >= 0 and all(self._is_vague(v) for v in given)
            return self._told(given, self.r.annotations.instance(scope, param.annotation)) if vague else given
        injected = self.r.annotations.depends(scope, param.default)
        if injected:
            return injected
        declared = self.r.annotations.instance(scope, param.annotation)
        if declared:
            if param.kind in (f.STAR, f.DOUBLE_STAR):
                return (("X", declared),)
            return union(self.callers.given(act, position), declared) if self._is_open(declared) else declared
        default = self.r.evaluate(scope, param.default) if injected is None else ()
        if param.kind in (f.STAR, f.DOUBLE_STAR) or self._says_scalar(scope, param.annotation):
            return default
        return union(default, self.callers.given(act, position))

    def _is_open(self, declared: Values) -> bool:
        """An abstract class or Protocol: what it really is, callers know."""
        return all(v[0] == "I" and self.r.classes.row((v[1], v[2])).abstract for v in declared)

    def _says_scalar(self, scope: Activation, annotation: int) -> bool:
        """An annotation such as ``str``: looking for callers would find nothing."""
        if annotation < 0:
            return False
        entry = scope.facts.exprs[annotation]
        return entry[0] in "nv" and entry[1] in ("str", "int", "float", "bool", "bytes", "dict", "list", "Request")

    # --- decorators -----------------------------------------------------------------------------------

    def decorated(self, act: Activation, func: f.FunctionFacts, value: Value) -> Values:
        """A function after its decorators: project decorators are called, library ones leave it as it is."""
        values: Values = (value,)
        for expr, _ in reversed(func.decorators):
            for decorator in self.r.evaluate(act, expr):
                if decorator[0] in "FP" and not (decorator[0] == "P" and isinstance(decorator[2], str)):
                    wrapped = self.result(decorator, (values,), ())
                    values = tuple(v for v in wrapped if v[0] in "FPIO") or values
                elif decorator[0] == "O":
                    offload = self.r.catalogue.offload(decorator[1]) or self.r.catalogue.offload(decorator[1] + "()")
                    # A task of a queue stays a function: its delay() waits for the broker, a plain call runs it here.
                    if offload is not None and offload.decorator and offload.where != "elsewhere":
                        return (("O", "offloaded()"),)
        return values

    def function_attribute(self, value: Value, name: str) -> Values:
        """An attribute that a library decorator gave to a function, as ``task.delay``."""
        func = self.r.project.facts(value[1]).functions[value[2]]
        scope = self.r.activation(value[1], func.parent) if func.parent >= 0 else None
        found: list[Value] = []
        for expr, _ in func.decorators:
            if scope is not None:
                for decorator in self.r.evaluate(scope, expr):
                    if decorator[0] == "O":
                        found.append(self.r.outside(f"{decorator[1]}().{name}"))
        if name in ("__wrapped__", "original") and not found:
            return (value,)
        return tuple(found)

    def assigned_outside(self, name: str, receivers: tuple[str, ...]) -> Values:
        """What the project assigns to ``<receiver>.name`` anywhere, as ``app.state.db = ...``."""
        return self.callers.assigned(name, receivers)


class _Places:
    """Where the arguments of a call go, worked out once for each function."""

    def __init__(self, func: f.FunctionFacts) -> None:
        self.plain = [at for at, p in enumerate(func.params) if p.kind == f.POSITIONAL]
        self.star = next((at for at, p in enumerate(func.params) if p.kind == f.STAR), None)
        self.by_name = {p.name: at for at, p in enumerate(func.params)}


def _bound(
    places: _Places, positional: tuple[Values, ...], keywords: tuple[tuple[str, Values], ...], offset: int
) -> tuple[tuple[int, Values], ...]:
    plain = places.plain[offset:] if offset else places.plain
    if not keywords and len(positional) <= len(plain):
        return tuple([bind for bind in zip(plain, positional, strict=False) if bind[1]])
    binds: dict[int, Values] = {}
    for at, values in zip(plain, positional, strict=False):
        if values:
            binds[at] = values
    if places.star is not None and len(positional) > len(plain):
        binds[places.star] = (("T", positional[len(plain) :]),)
    binds |= {places.by_name[name]: values for name, values in keywords if name in places.by_name}
    return tuple([bind for bind in sorted(binds.items()) if bind[1]])
