"""The rewrites: awaited one for one, plain `def`, or moved to a thread."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from unstall.model import Edit
from unstall.source import layout, sessions, traps
from unstall.source.imports import POOL, bound_as, taken
from unstall.source.origins import CONSUMERS
from unstall.source.plans import Place, Plan, Refused, Spot
from unstall.source.texts import Texts
from unstall.source.trees import called_name, own_nodes, root_name, walked

_RUNS = frozenset({"asyncio.run", "uvloop.run", "asyncio.AbstractEventLoop().run_until_complete"})
_METHODS = frozenset(["get", "post", "put", "delete", "patch", "head", "options", "trace", "api_route", "route"])
_TAKES_A_FUNCTION = frozenset(["Depends", "Security", "Route", "APIRoute", "add_api_route", "add_route"])


# --- one for one --------------------------------------------------------------------------------------------


def one_for_one(spot: Spot) -> bool:
    """True where the blocking call has an awaited twin that takes the same arguments."""
    return spot.direct and spot.step.how == "call" and spot.names <= ({"time.sleep"} | _RUNS)


def awaited(texts: Texts, place: Place, spot: Spot) -> Plan:
    """``time.sleep(x)`` to ``await asyncio.sleep(x)``; ``asyncio.run(x)`` to ``await x``. Raises `Refused`."""
    call = _movable(place, spot.node)
    opened = _opening(place, call)
    dropped = frozenset({root_name(call.func)})
    unsafe = traps.shared_state(texts, [place.function])
    if spot.names <= _RUNS:
        if len(call.args) != 1 or call.keywords or isinstance(call.args[0], ast.Starred):
            raise Refused("it is given more than a coroutine, which `await` has no place for")
        start, end = place.tree.start(call), place.tree.end(call)
        inner = call.args[0]
        edits = [place.edit(start, opened, "await "), *_wrapped(place, call)]
        if isinstance(inner, ast.Call | ast.Name | ast.Attribute | ast.Subscript):
            edits[0] = place.edit(start, place.tree.start(inner), "await ")
            edits.append(place.edit(place.tree.end(inner), end, ""))
        return Plan(
            place.tree.path, place.name, "await", "the coroutine is awaited by the loop that is already running",
            tuple(edits), (spot,), frozenset(), dropped, unsafe,
        )  # fmt: skip
    spelled = named(place, "asyncio") + ".sleep"
    edits = [place.edit(place.tree.start(call), _func_end(place, call), f"await {spelled}"), *_wrapped(place, call)]
    return Plan(
        place.tree.path, place.name, "await", "asyncio.sleep lets others run meanwhile",
        tuple(edits), (spot,), frozenset({"asyncio"}), dropped, unsafe,
    )  # fmt: skip


# --- plain def ----------------------------------------------------------------------------------------------


def plain(texts: Texts, place: Place, spots: Sequence[Spot]) -> Plan:
    """``async def`` endpoint or dependency to ``def``. Raises `Refused`."""
    function, tree = place.function, place.tree
    kind = _kind(place, spots)
    if not texts.serves(tree):
        raise Refused("its routes are not FastAPI's or Starlette's, which alone run plain functions in threads")
    if isinstance(tree.parents.get(function), ast.ClassDef):
        raise Refused("it is a method, and who calls it is not known")
    for node in own_nodes(function):
        if _awaits(node):
            raise Refused("it awaits something else")
    if kind == "dependency" and any(isinstance(n, ast.Yield) for n in own_nodes(function)):
        raise Refused("it is a dependency that yields, whose two halves could run in two threads")
    for spot in spots:
        if traps.gil_bound(spot):
            raise Refused(traps.gil_bound(spot))
    _only_served(texts, place)
    around = [function, *(f for spot in spots for f in traps.moved(texts, spot))]
    reason = traps.in_thread(texts, around) or _thread_bound(texts, place, spots)
    if reason:
        raise Refused(reason)
    start = tree.start(function)
    found = re.compile(r"async(?:\s|\\\r?\n)+(?=def\b)").match(tree.text, start)
    if found is None:
        raise Refused("its `async def` is written in a way that is not understood")
    why = f"{function.name}: nothing is awaited, so FastAPI may run it in a thread"
    if "fastapi" not in tree.text:
        why = why.replace("FastAPI", "Starlette")
    return Plan(
        tree.path, place.name, "def", why, (place.edit(start, found.end(), ""),), tuple(spots),
        unsafe=traps.shared_state(texts, around), pooled=1,
    )  # fmt: skip


def _kind(place: Place, spots: Sequence[Spot]) -> str:
    kinds = {
        chain.entrance.kind
        for spot in spots
        for chain in spot.chains
        if chain.entrance.site.qualname == place.name and chain.entrance.site.path == place.tree.path
    }
    if not kinds or not kinds <= {"endpoint", "dependency"}:
        raise Refused("it is neither an endpoint nor a dependency")
    return min(kinds)


def _awaits(node: ast.AST) -> bool:
    if isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith):
        return True
    return isinstance(node, ast.comprehension) and bool(node.is_async)


def _only_served(texts: Texts, place: Place) -> None:
    """Raises `Refused` where somebody besides the framework may call it."""
    for decorator in place.function.decorator_list:
        known = isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute)
        if not known or called_name(decorator) not in _METHODS:
            raise Refused(f"`@{ast.unparse(decorator)}` may expect a coroutine")
    for tree, node in texts.references(place.tree, place.function.name):
        parent = tree.parents.get(node)
        if isinstance(parent, ast.keyword):
            parent = tree.parents.get(parent)
        handed = isinstance(parent, ast.Call) and parent.func is not node and called_name(parent) in _TAKES_A_FUNCTION
        if not handed:
            raise Refused(f"{tree.path}:{getattr(node, 'lineno', 1)} calls or passes it on as a coroutine function")


def _thread_bound(texts: Texts, place: Place, spots: Sequence[Spot]) -> str:
    for spot in spots:
        for name in spot.names:
            if name.startswith("sqlite3."):
                made = any(isinstance(n, ast.Call) and called_name(n) == "connect" for n in walked(place.function))
                reason, _ = sessions.bound_connection(texts, place, spot)
                if reason and not made:
                    return reason
    return ""


# --- threads ------------------------------------------------------------------------------------------------


def offloaded(texts: Texts, place: Place, spot: Spot) -> Plan:
    """``f(a)`` to ``await run_in_threadpool(f, a)`` or ``await asyncio.to_thread(f, a)``. Raises `Refused`."""
    unsafe = _checked(texts, place, spot)
    if spot.step.how == "iterate":
        edits, more = _materialised(texts, place, spot)
        unsafe = unsafe or more
    elif spot.direct and any(map(_WALKS.search, spot.names)):
        raise Refused("it walks lazily, and what the loop does to the folders it gets decides where it goes next")
    elif spot.direct and isinstance(spot.node, ast.Call) and any(map(_READ_LATER.search, spot.names)):
        _movable(place, spot.node)
        edits, more = _listed(place, spot.node)
        unsafe = unsafe or more
    elif spot.step.how == "call" or (spot.step.how == "decorator" and isinstance(spot.node, ast.Call)):
        edits = _call_moved(place, _movable(place, spot.node))
    else:
        raise Refused(f"it blocks by {_SPOKEN.get(spot.step.how, spot.step.how)}, which cannot be moved by itself")
    what = ast.unparse(spot.node.func if isinstance(spot.node, ast.Call) else spot.node)
    why = f"{place.function.name}: other awaits remain, so only `{_short(what)}` moves to a thread"
    if not any(_awaits(node) for node in own_nodes(place.function)):
        why = f"{place.function.name}: `{_short(what)}` moves to a thread"
    return Plan(
        place.tree.path, place.name, "offload", why, tuple(edits), (spot,), needed(place), frozenset(), unsafe, 1, _short(what)
    )  # fmt: skip


_SPOKEN = {"property": "reading a property", "with": "entering a `with` block", "decorator": "a decorator"}


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def needed(place: Place) -> frozenset[str]:
    """The import that sending work to the pool needs."""
    return frozenset({POOL if place.pool == POOL else "asyncio"})


def pool(place: Place) -> str:
    """How the pool is called in this file."""
    return named(place, POOL) if place.pool == POOL else named(place, "asyncio") + ".to_thread"


def named(place: Place, needed_name: str) -> str:
    """What an import is or will be called in this file. Raises `Refused` where the name means something else there."""
    spelled = bound_as(place.tree, needed_name) or needed_name
    if taken(place.tree, place.function, spelled):
        raise Refused(f"the name `{spelled}` means something else in this function")
    return spelled


def _checked(texts: Texts, place: Place, spot: Spot) -> str:
    """How behaviour can change by a move to a thread. Raises `Refused` where it would."""
    reason = traps.gil_bound(spot)
    if reason:
        raise Refused(reason)
    inside = traps.moved(texts, spot)
    read = spot.step.how == "iterate" or called_name(place.tree.parents.get(spot.node)) in CONSUMERS
    reason = traps.in_thread(texts, inside) or ("" if read else traps.read_later(inside[:1]))
    if reason:
        raise Refused(reason)
    reason, unsafe = sessions.bound_connection(texts, place, spot)
    if reason:
        raise Refused(reason)
    if spot.names & _RUNS and not spot.direct:
        unsafe = unsafe or "its coroutine would run on another loop than the application's"
    return unsafe or traps.shared_state(texts, [place.function, *inside])


def _movable(place: Place, node: ast.expr) -> ast.Call:
    """The call at a spot, where an ``await`` may stand. Raises `Refused`."""
    if not isinstance(node, ast.Call):
        raise Refused("the call is written in a way that is not understood")
    reason = traps.misplaced(place, node) or traps.holds_lock(place, node)
    if reason:
        raise Refused(reason)
    if isinstance(place.tree.parents.get(node), ast.Await):
        raise Refused(
            "what it gives back is awaited, so it may be a coroutine function, which a thread would only call"
        )
    name = called_name(node)
    if name == "next" and len(node.args) == 1:
        raise Refused("`next` ends by StopIteration, which cannot leave a thread")
    if name == "acquire" and isinstance(node.func, ast.Attribute) and traps.locked(node.func.value):
        raise Refused("the lock would be taken by a thread that does not give it back")
    if not place.tree.readable(node):
        raise Refused("its exact place inside an f-string is not known to this Python (it is from 3.12 on)")
    return node


def _func_end(place: Place, call: ast.Call) -> int:
    end = place.tree.end(call.func)
    if place.tree.text[end : place.tree.end(call)].lstrip()[:1] == ")":
        raise Refused("what is called stands in parentheses")
    return end


def _opening(place: Place, call: ast.Call) -> int:
    """The offset of a call's opening parenthesis."""
    end = _func_end(place, call)
    found = re.compile(r"(?:\s|\\\r?\n|#[^\r\n]*)*\(").match(place.tree.text, end)
    if found is None:
        raise Refused("the call is written in a way that is not understood")
    return found.end() - 1


def _wrapped(place: Place, node: ast.expr) -> list[Edit]:
    """Parentheses around what becomes an ``await`` where a dot, an index or a call follows."""
    parent = place.tree.parents.get(node)
    if isinstance(parent, ast.Attribute | ast.Subscript):
        follows = parent.value is node
    elif isinstance(parent, ast.Call):
        follows = parent.func is node
    else:
        return []
    # A parent that begins before the node shows that parentheses are there already.
    if not follows or place.tree.start(parent) < place.tree.start(node):
        return []
    start, end = place.tree.start(node), place.tree.end(node)
    return [place.edit(start, start, "("), place.edit(end, end, ")")]


def _call_moved(place: Place, call: ast.Call) -> list[Edit]:
    tree, to = place.tree, pool(place)
    start, end, paren = tree.start(call), tree.end(call), _opening(place, call)
    around = _wrapped(place, call)
    opening, closing = ("(", ")") if around else ("", "")
    by_lambda = any(k.arg == "func" for k in call.keywords) and place.pool == POOL
    if by_lambda or chained(call):
        return _by_lambda(place, call, "", "")
    edits = [place.edit(start, start, f"{opening}await {to}(")]
    func_end = tree.end(call.func)
    within = tree.text[paren + 1 : end - 1]
    most = layout.allowed(tree, place.line_length)
    wrapped = layout.gaps(tree, call, len(f"await {to}(, ") - 1 + 2 * len(opening), most)
    if not call.args and not call.keywords:
        edits.append(place.edit(func_end, paren + 1 if within.strip() else end - 1, ""))
    elif len(call.args) == 1 and isinstance(call.args[0], ast.GeneratorExp) and tree.start(call.args[0]) == paren:
        edits.append(place.edit(func_end, paren, ", "))
        closing = ")" + closing
    elif wrapped is not None:
        edits[0] = place.edit(start, start, edits[0].text + wrapped[0])
        edits += _spread(place, call, func_end, wrapped[1], wrapped[2])
    else:
        gap = within[: len(within) - len(within.lstrip())]
        hugged = len({n for arg, _ in layout.arguments(call) for n in (arg.lineno, arg.end_lineno)}) == 1
        line = tree.lines[layout.arguments(call)[0][0].lineno - 1].rstrip() if hugged else ""
        if (
            hugged
            and ("\n" in gap or "\r" in gap)
            and "#" not in gap + line
            and len(line) + func_end - start + 2 <= most
        ):
            # All arguments on a line of their own: what is called is one more of them.
            edits[0] = place.edit(start, start, edits[0].text + gap)
            edits.append(place.edit(func_end, paren + 1 + len(gap), ", "))
        else:
            if "\n" in gap or "\r" in gap:
                # One argument a line: what is called becomes the first of them.
                edits[0] = place.edit(start, start, edits[0].text + gap)
            edits.append(place.edit(func_end, paren + 1, "," if gap else ", "))
    if closing:
        edits.append(place.edit(end, end, closing))
    return edits


def _spread(place: Place, call: ast.Call, func_end: int, between: str, last: str) -> list[Edit]:
    """The gaps around a call's arguments written anew; the arguments themselves stay as they are."""
    tree, edits, at, gap = place.tree, [], func_end, between
    text = tree.text
    for value, keyword in layout.arguments(call):
        begin = tree.start(value)
        if keyword is not None:
            begin = tree.offset(keyword.lineno, keyword.col_offset)
        elif isinstance(value, ast.Starred):
            begin = tree.start(value)
        while text[begin - 1] in "(" and begin - 1 > at and text[at:begin].count("(") > (at == func_end):
            begin -= 1
        edits.append(place.edit(at, begin, gap))
        at = tree.end(value)
        while at < tree.end(call) - 1 and text[at : tree.end(call) - 1].lstrip()[:1] == ")":
            at = text.index(")", at) + 1
    edits.append(place.edit(at, tree.end(call) - 1, last))
    return edits


def _by_lambda(place: Place, call: ast.Call, before: str, after: str) -> list[Edit]:
    """``f(a)`` to ``await to_thread(lambda: f(a))``; ``before`` and ``after`` stand around the call within."""
    _closed(call)
    tree, to = place.tree, pool(place)
    opening, closing = ("(", ")") if _wrapped(place, call) else ("", "")
    start, end = tree.start(call), tree.end(call)
    return [
        place.edit(start, start, f"{opening}await {to}(lambda: {before}"),
        place.edit(end, end, f"{after}){closing}"),
    ]


# Called, these give a generator back at once and touch the disk when it is read.
_READ_LATER = re.compile(r"^(?:pathlib\.Path\(\)\.(?:glob|rglob|iterdir)|glob\.iglob|os\.scandir)$")
_WALKS = re.compile(r"^(?:pathlib\.Path\(\)\.walk|os\.f?walk)$")


_READ_WHOLE = "all of it is read, and held in memory, before the first turn of the loop"


def _listed(place: Place, call: ast.Call) -> tuple[list[Edit], str]:
    """``sorted(p.glob(x))`` to ``await to_thread(lambda: sorted(p.glob(x)))``: read to its end inside the thread."""
    parent = place.tree.parents.get(call)
    if isinstance(parent, ast.Call) and called_name(parent) in CONSUMERS - traps.LAZY and parent.args[:1] == [call]:
        return _by_lambda(place, _movable(place, parent), "", ""), ""
    if isinstance(parent, ast.For | ast.comprehension) and parent.iter is call:
        return _by_lambda(place, call, "list(", ")"), _READ_WHOLE if isinstance(parent, ast.For) else ""
    raise Refused(f"`{called_name(call)}` reads lazily: in a thread it would return at once and block later")


def chained(call: ast.AST | None) -> bool:
    """``open(p).read()``: both run in the thread, so the whole goes there."""
    func = call.func if isinstance(call, ast.Call) else None
    return isinstance(func, ast.Attribute) and isinstance(func.value, ast.Call) and called_name(func.value) in OPENERS


OPENERS = frozenset({"open", "urlopen", "popen", "fdopen"})


def _closed(call: ast.Call) -> None:
    if any(isinstance(n, ast.Await | ast.NamedExpr | ast.Yield | ast.YieldFrom) for n in walked(call)):
        raise Refused("a value is awaited or named inside the call")


def _materialised(texts: Texts, place: Place, spot: Spot) -> tuple[list[Edit], str]:
    """``for x in cursor`` to ``for x in await run_in_threadpool(list, cursor)``: read to its end inside the thread."""
    node, tree = spot.node, place.tree
    if isinstance(node, ast.Call) and called_name(node) in CONSUMERS and called_name(node) not in traps.LAZY:
        return _call_moved(place, _movable(place, spot.node)), ""
    if isinstance(node, ast.Call) and called_name(node) in traps.LAZY:
        raise Refused(f"`{called_name(node)}` reads lazily: in a thread it would return at once and block later")
    parent = tree.parents.get(node)
    if not (isinstance(parent, ast.For | ast.comprehension) and parent.iter is node):
        raise Refused("it is read lazily, where no `await` can stand")
    reason = traps.misplaced(place, node) or traps.holds_lock(place, node)
    if reason:
        raise Refused(reason)
    if any(_endless(f) for f in traps.generators(traps.moved(texts, spot))):
        raise Refused("the generator never ends, so it cannot be read whole inside a thread")
    start, end = tree.start(node), tree.end(node)
    edits = [place.edit(start, start, f"await {pool(place)}(list, "), place.edit(end, end, ")")]
    return edits, "" if isinstance(parent, ast.comprehension) else _READ_WHOLE


def _endless(function: ast.AST) -> bool:
    return any(
        isinstance(n, ast.While) and isinstance(n.test, ast.Constant) and n.test.value for n in own_nodes(function)
    )
