"""Where a rewrite would change what a program does: each trap is a function that gives the reason, or nothing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from unstall.source.imports import bindings
from unstall.source.plans import Place, Spot, below
from unstall.source.texts import Texts
from unstall.source.trees import Function, called_name, last_name_of, own_nodes, root_name, walked

_LOCK = re.compile(r"(?:^|_)(?:r?lock|mutex|semaphore|sem|condition|cond)s?\d*$|Lock$|Semaphore$|Condition$", re.I)
_HELD_STATE = frozenset(
    ["redirect_stdout", "redirect_stderr", "catch_warnings", "chdir", "patch", "umask", "localcontext"]
)
_WHOLE_PROCESS = frozenset(["chdir", "fchdir", "umask", "redirect_stdout", "redirect_stderr", "setlocale"])
_LOOP_CALLS = frozenset(
    [
        "create_task",
        "ensure_future",
        "get_running_loop",
        "get_event_loop",
        "current_task",
        "put_nowait",
        "call_soon",
        "call_later",
        "call_at",
        "set_result",
        "set_exception",
        "run_until_complete",
        "gather",
    ]
)
_CONTEXT_CALLS = frozenset(
    ["bind_contextvars", "clear_contextvars", "unbind_contextvars", "bound_contextvars", "copy_context"]
)
_LAZY_METHODS = frozenset(["glob", "rglob", "iterdir", "scandir", "walk", "iglob", "iter_content", "iter_lines"])
LAZY = frozenset(
    ["enumerate", "zip", "map", "filter", "iter", "reversed", "chain", "islice", "starmap", "takewhile", "dropwhile"]
)


def locked(name: ast.expr) -> bool:
    """True for what is called like a lock that threads share."""
    node = name.func if isinstance(name, ast.Call) else name
    return bool(_LOCK.search(last_name_of(node)))


# --- around the spot --------------------------------------------------------------------------------------


def misplaced(place: Place, node: ast.AST, inside: ast.AST | None = None) -> str:
    """Why no ``await`` can stand where this node is."""
    child = node
    for parent in place.tree.around(node):
        if parent is place.function:
            return "" if child in place.function.body else "it runs when the function is defined"
        if isinstance(parent, ast.Lambda):
            return "it is in a lambda, which cannot await"
        if isinstance(parent, ast.GeneratorExp) and child is not parent.generators[0]:
            return "it is in a generator expression, which would become asynchronous for whoever reads it"
        if isinstance(parent, ast.ClassDef):
            return "it is in the body of a class, which cannot await"
        if isinstance(parent, ast.With) and child in parent.body and parent is not inside:
            held = _held(parent)
            if held:
                return held
        child = parent
    return "it is not in the coroutine's own body"


def _held(node: ast.With) -> str:
    for item in node.items:
        value = item.context_expr
        name = last_name_of(value.func if isinstance(value, ast.Call) else value)
        if locked(value):
            return f"the lock `{name}` is held across it: while it waits, every thread that wants the lock waits too"
        if name in _HELD_STATE:
            return f"`{name}` changes the whole process: while it waits, other requests would run under it"
    return ""


def holds_lock(place: Place, node: ast.expr) -> str:
    """Why no ``await`` may come between ``lock.acquire()`` and ``release()``."""
    line = node.lineno
    taken: set[str] = set()
    for each in sorted(_calls(own_nodes(place.function)), key=lambda n: (n.lineno, n.col_offset)):
        if each.lineno >= line or not isinstance(each.func, ast.Attribute) or not locked(each.func.value):
            continue
        if isinstance(place.tree.parents.get(each), ast.Await):
            continue
        name = ast.unparse(each.func.value)
        if each.func.attr == "acquire":
            taken.add(name)
        elif each.func.attr == "release" and not _in_finally(place, each):
            taken.discard(name)
    return (
        f"the lock `{min(taken)}` is held across it: while it waits, every thread that wants the lock waits too"
        if taken
        else ""
    )


def _in_finally(place: Place, node: ast.AST) -> bool:
    return any(
        isinstance(p, ast.Try) and p.finalbody and node.lineno >= p.finalbody[0].lineno  # type: ignore[attr-defined]
        for p in place.tree.around(node)
    )


def _calls(nodes: Iterable[ast.AST]) -> Iterator[ast.Call]:
    return (node for node in nodes if isinstance(node, ast.Call))


# --- what runs in the thread ------------------------------------------------------------------------------


def moved(texts: Texts, spot: Spot) -> list[Function]:
    """The project's own functions that would run in a thread with this spot."""
    found: list[Function] = []
    for chain in spot.chains:
        for step in below(chain)[1:]:
            tree = texts.tree(step.site.path)
            function = tree.function_at(step.site.line) if tree is not None else None
            if tree is not None and function is not None and function not in found:
                found += [f for f in texts.called_in(tree, function) if f not in found]
    return found


def in_thread(texts: Texts, functions: Iterable[ast.AST]) -> str:
    """Why this code must not run in another thread than the event loop's."""
    for function in functions:
        if function not in texts.bound:
            texts.bound[function] = _bound_to_loop(texts, function)
        if texts.bound[function]:
            return texts.bound[function]
    return ""


def _bound_to_loop(texts: Texts, function: ast.AST) -> str:
    caught = {
        id(n) for t in walked(function) if isinstance(t, ast.Try) and t.handlers for s in t.body for n in walked(s)
    }
    for node in walked(function):
        if isinstance(node, ast.Raise) and node.exc is not None and root_name(node.exc) == "StopIteration":
            return "it raises StopIteration, which cannot leave a thread"
        if isinstance(node, ast.Call):
            reason = _call_in_thread(texts, node)
            if reason:
                return reason
            if called_name(node) == "next" and len(node.args) == 1 and id(node) not in caught:
                return "`next` may end by StopIteration, which cannot leave a thread"
        elif isinstance(node, ast.Name | ast.Attribute) and last_name_of(node) in texts.thread_locals:
            return f"`{last_name_of(node)}` is a thread-local: in another thread it would be empty"
        elif isinstance(node, ast.Name) and node.id in texts.loop_objects:
            return f"`{node.id}` belongs to the event loop, which only its own thread may touch"
    return ""


def _call_in_thread(texts: Texts, node: ast.Call) -> str:
    name = called_name(node)
    if (
        isinstance(node.func, ast.Attribute)
        and name in ("set", "reset")
        and last_name_of(node.func.value) in texts.context_variables
    ):
        return (
            f"it sets the context variable `{last_name_of(node.func.value)}`, which would be lost outside of the thread"
        )
    if root_name(node.func) == "signal" and name in ("signal", "alarm", "setitimer", "set_wakeup_fd"):
        return f"`signal.{name}` works in the main thread only"
    if name in _CONTEXT_CALLS:
        return f"`{name}` sets context variables, which would be lost outside of the thread"
    if (
        name in _LOOP_CALLS
        or root_name(node.func) == "asyncio"
        and name not in ("run", "iscoroutinefunction", "iscoroutine")
    ):
        return f"`{name}` needs the event loop, which is not running in a thread"
    return ""


def shared_state(texts: Texts, functions: Iterable[ast.AST]) -> str:
    """What two requests could now change at the same time, in words; empty where nothing was seen."""
    for function in functions:
        if function not in texts.shared:
            texts.shared[function] = _changed_by_two(function)
        if texts.shared[function]:
            return texts.shared[function]
    return ""


def _changed_by_two(function: ast.AST) -> str:
    for node in walked(function):
        if isinstance(node, ast.Call) and called_name(node) in _WHOLE_PROCESS:
            return f"`{called_name(node)}` changes the whole process, under which other requests could now run"
        if isinstance(node, ast.Global):
            return f"`{node.names[0]}` is a global that two requests could now change at the same time"
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Attribute | ast.Subscript):
            root = root_name(node.target)
            if root and not made_here(function, root):
                return f"`{ast.unparse(node.target)}` is shared, and two requests could now change it at the same time"
    return ""


def made_here(function: ast.AST, name: str) -> bool:
    return any(name in bindings(node) for node in own_nodes(function))


def read_later(functions: Iterable[ast.AST]) -> str:
    """Why what these give back would block when it is read, on the loop again."""
    for function in functions:
        for node in own_nodes(function):
            call = node.value if isinstance(node, ast.Return) else None
            if isinstance(call, ast.GeneratorExp):
                return "it gives back a generator expression, which would be read, and block, on the loop"
            if not isinstance(call, ast.Call) or root_name(call.func) == "glob":
                continue
            name = called_name(call)
            if name in LAZY or name in _LAZY_METHODS:
                return f"it gives back `{name}(...)`, which would be read, and block, on the loop"
    return ""


def generators(functions: Iterable[ast.AST]) -> Iterator[Function]:
    """Those that are generator functions."""
    for function in functions:
        if isinstance(function, ast.FunctionDef) and any(
            isinstance(n, ast.Yield | ast.YieldFrom) for n in own_nodes(function)
        ):
            yield function


# --- processors -------------------------------------------------------------------------------------------


def gil_bound(spot: Spot) -> str:
    """Why a thread would not help."""
    if any(chain.primitive.releases_gil is not False for chain in spot.chains):
        return ""
    names = ", ".join(f"`{name}`" for name in sorted(spot.names))
    return f"{names} is CPU work that holds the GIL: in a thread it would still stop the event loop; use a process or less of it"
