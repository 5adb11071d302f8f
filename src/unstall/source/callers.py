"""What an undeclared parameter is given where the project calls its function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unstall.source import facts as f
from unstall.source.index import Index
from unstall.source.values import Activation, Values, union

if TYPE_CHECKING:
    from unstall.source.names import Resolver

_MOST_CALLERS = 24
_DEEPEST = 3


def is_too_common(index: Index, name: str) -> bool:
    """True for a name that is called so often, or in so many files, that its callers tell nothing; or never."""
    return not 0 < len(index.callers(name)) <= _MOST_CALLERS


class Callers:
    """Looks from a function back to its callers, a few hops at most."""

    def __init__(self, resolver: Resolver) -> None:
        self.r = resolver
        self._depth = 0

    def given(self, act: Activation, position: int) -> Values:
        """The values that callers pass for a parameter; inferred, never certain."""
        func = act.func
        if func.flags & f.LAMBDA or self._depth >= _DEEPEST:
            return ()
        name = func.name
        if name == "__init__":
            kind = act.me if act.me is not None and act.me[0] == "I" else ("I", act.file, func.owner, False)
            name = self.r.classes.row((kind[1], kind[2])).name
        calls = [] if is_too_common(self.r.index, name) else self.r.index.callers(name)
        self._depth += 1
        try:
            found = [self._passed(file, number, act, position) for file, number in calls]
            if func.name == "__init__":
                found.append(self._passed_up(act, position))
        finally:
            self._depth -= 1
        values = union((), *found)
        if values:
            self.r.inferred = True
        return values

    def _passed(self, file: int, number: int, act: Activation, position: int) -> Values:
        facts = self.r.project.facts(file)
        call = facts.calls[number]
        caller = self.r.entry(file, call.function)
        for value in self.r.evaluate(caller, call.func):
            if value[0] == "C" and act.func.name == "__init__":
                found = self.r.classes.find((value[1], value[2]), "__init__")
                if found is not None and found[0] == (act.file, act.func.owner):
                    return self._argument(caller, call, act.func, position, 1)
            elif value[0] == "F" and value[1] == act.file and value[2] == act.function:
                bound = act.func.owner >= 0 and not act.func.flags & f.STATIC
                return self._argument(caller, call, act.func, position, int(bound))
        return ()

    def _passed_up(self, act: Activation, position: int) -> Values:
        """``super().__init__(value)`` in the class that self really is."""
        if act.me is None or act.me[0] != "I" or (act.me[1], act.me[2]) == (act.file, act.func.owner):
            return ()
        file = act.me[1]
        facts = self.r.project.facts(file)
        found: list[Values] = []
        for call in facts.calls:
            inner = facts.functions[call.function]
            target = facts.exprs[call.func] if call.func >= 0 else ("",)
            if inner.owner == act.me[2] and inner.name == "__init__" and target[0] == "a" and target[2] == "__init__":
                caller = self.r.activation(file, call.function, act.me)
                found.append(self._argument(caller, call, act.func, position, 1))
        return union((), *found)

    def _argument(self, caller: Activation, call: f.Call, func: f.FunctionFacts, position: int, offset: int) -> Values:
        param = func.params[position]
        for name, value in call.keywords:
            if name == param.name:
                return self.r.evaluate(caller, value)
        at = position - offset
        if param.kind == f.POSITIONAL and 0 <= at < len(call.args) and not call.starred:
            return self.r.evaluate(caller, call.args[at])
        return ()

    def assigned(self, name: str, receivers: tuple[str, ...]) -> Values:
        """What is assigned to ``receiver.name`` somewhere in the project."""
        if self._depth >= _DEEPEST:
            return ()
        found: list[Values] = []
        self._depth += 1
        try:
            for file, (_, receiver, function, value) in self.r.index.assignments(name)[:_MOST_CALLERS]:
                entry = self.r.project.facts(file).exprs[receiver]
                if str(entry[2] if entry[0] == "a" else entry[1]) in receivers:
                    self.r.inferred = True
                    found.append(self.r.evaluate(self.r.entry(file, function), value))
        finally:
            self._depth -= 1
        return union((), *found)
