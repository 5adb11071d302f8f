"""Where a session, connection or cursor may not be used in another thread."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from unstall.source import traps
from unstall.source.imports import bindings, parameters
from unstall.source.plans import Place, Spot, below
from unstall.source.texts import Texts
from unstall.source.traps import made_here
from unstall.source.trees import Function, called_name, last_name_of, own_nodes, root_name, walked

_BOUND = re.compile(
    r"^(?:sqlalchemy|sqlmodel|sqlite3|psycopg2?|pymysql|MySQLdb|mysql|mariadb|cx_Oracle|oracledb|pyodbc|pg8000|django)\b"
    r".*(?:Session|scoped_session|Query|Connection|connect|cursor|Cursor|connection|sessionmaker\(\)|begin)(?:\(\))+"
)
_LAZY_RESULTS = frozenset(["execute", "scalars", "query", "mappings", "exec", "yield_per", "partitions", "filter", "filter_by",
                           "stream_scalars", "cursor"])  # fmt: skip
_KEEPS = frozenset(["append", "add", "put", "put_nowait", "setdefault", "insert", "set", "register", "setattr"])
_CLOSED = "a cancelled request may close the {} while the thread still uses it"


def bound_to_connection(name: str) -> bool:
    """True for a call on a session, connection or cursor, which one thread at a time may use."""
    return bool(_BOUND.search(name))


# --- a whole unit of work -----------------------------------------------------------------------------------


def unit(texts: Texts, place: Place, block: ast.With, spots: Sequence[Spot]) -> tuple[str, str]:
    """A reason to refuse and a way behaviour can change, where a block that works with a database moves as a whole.

    Safe is what is made by the block, closed by it and spoken of in it only. What comes out of it must have been read.
    """
    names = [name for spot in spots for name in spot.names if bound_to_connection(name) or name.startswith("sqlite3.")]
    if not names:
        return "", ""
    what = "connection" if re.search(r"onnect|ursor|sqlite3", names[0]) else "session"
    if any("scoped_session" in name for name in names):
        return "a scoped session is another one in each thread", ""
    if any(name.startswith("django.") for name in names):
        return "Django keeps one connection a thread: use sync_to_async or the a-method", ""
    entered = {n for i in block.items if i.optional_vars for n in _names(i.optional_vars)}
    reason = _escapes(block, entered, what) or _read_after(place, block)
    if reason:
        return reason, ""
    for root in (*(root_name(item.context_expr) for item in block.items), *(root_name(spot.node) for spot in spots)):
        if root in entered or root not in _around(place, block):
            continue
        if any(name.startswith("sqlite3.") for name in names) and not _sqlite_shared(texts):
            return "a sqlite3 connection may be used in the thread that made it only (check_same_thread)", ""
        return "", _CLOSED.format(what)
    return "", ""


def _around(place: Place, block: ast.With) -> set[str]:
    """The names that the coroutine sets or is given outside of a block."""
    within = set(map(id, walked(block)))
    outside = (n for n in own_nodes(place.function) if id(n) not in within)
    return parameters(place.function) | {name for node in outside for name in bindings(node)}


def _names(node: ast.AST) -> set[str]:
    return {n.id for n in walked(node) if isinstance(n, ast.Name)}


def _escapes(block: ast.With, entered: set[str], what: str) -> str:
    """Why what the block enters may be used after it, or by somebody else."""
    for node in walked(block):
        kept: list[ast.expr | None] = []
        if isinstance(node, ast.Assign):
            kept = [node.value] if any(not isinstance(t, ast.Name) for t in node.targets) else []
        elif isinstance(node, ast.Return | ast.Yield):
            kept = [node.value]
        elif isinstance(node, ast.Call) and called_name(node) in _KEEPS and root_name(node.func) not in entered:
            kept = list(node.args)
        elif isinstance(node, ast.Lambda | ast.FunctionDef | ast.GeneratorExp) and entered & _names(node):
            return f"the {what} is taken along by a function inside its `with` block, which may use it later"
        flat = [e for k in kept for e in (k.elts if isinstance(k, ast.Tuple | ast.List) else [k])]
        if any(isinstance(k, ast.Name) and k.id in entered for k in flat):
            return f"the {what} leaves its `with` block, and may be used by another thread later"
    return ""


def _read_after(place: Place, block: ast.With) -> str:
    """Why something that comes out of the block would be read from the database on the loop."""
    within = set(map(id, walked(block)))
    read = {n.id for n in own_nodes(place.function) if isinstance(n, ast.Name) and id(n) not in within}
    for node in walked(block):
        value = None
        if (
            isinstance(node, ast.Return)
            or isinstance(node, ast.Assign)
            and any(_names(target) & read for target in node.targets)
        ):
            value = node.value
        if isinstance(value, ast.Call) and called_name(value) in _LAZY_RESULTS:
            return (
                f"what `{called_name(value)}` gives back is read after its `with` block: read it inside, as by `.all()`"
            )
    return ""


# --- single calls -------------------------------------------------------------------------------------------


def bound_connection(texts: Texts, place: Place, spot: Spot) -> tuple[str, str]:
    """A reason to refuse and a way behaviour can change, for calls on sessions, connections and cursors."""
    for chain in spot.chains:
        steps, name = below(chain), chain.primitive.name
        if name.startswith("sqlite3.") and _leaves_its_thread(texts, spot, name) and not _sqlite_shared(texts):
            return "a sqlite3 connection may be used in the thread that made it only (check_same_thread)", ""
        if name.startswith("django.") and bound_to_connection(name):
            return "Django keeps one connection a thread: use sync_to_async or the a-method", ""
        if not bound_to_connection(name):
            continue
        what = "connection" if re.search(r"onnect|ursor", name) else "session"
        if len(steps) == 1:
            return (
                f"the {what} is used elsewhere in the coroutine too: move the whole unit of work, not one call of it",
                "",
            )
        root = _receiver(texts, spot, name)
        if root and root[1] == "parameter" and _passed_on(place, spot) > 1:
            return "", _CLOSED.format(what)
    return "", ""


def _passed_on(place: Place, spot: Spot) -> int:
    """How often the coroutine speaks of what it hands to the helper."""
    node = spot.node
    given = (
        {n.id for n in walked(node) if isinstance(n, ast.Name)} - {root_name(node)}
        if isinstance(node, ast.Call)
        else set()
    )
    known = parameters(place.function) | {b for n in own_nodes(place.function) for b in bindings(n)}
    uses = [sum(isinstance(n, ast.Name) and n.id == g for n in own_nodes(place.function)) for g in given & known]
    return max(uses, default=0)


def _leaves_its_thread(texts: Texts, spot: Spot, name: str) -> bool:
    """True where a connection would be made in one thread and used in another."""
    if spot.direct:
        return True
    if name != "sqlite3.connect":
        root = _receiver(texts, spot, name)
        return root is not None and root[1] != "local"
    return any(_hands_out(function) for function in traps.moved(texts, spot))


def _hands_out(function: Function) -> bool:
    """True where a function returns, yields or keeps the connection that it makes."""
    made = {""}
    for node in own_nodes(function):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and called_name(node.value) == "connect":
            if any(not isinstance(target, ast.Name) for target in node.targets):
                return True
            made.update(last_name_of(target) for target in node.targets)
    for node in own_nodes(function):
        if isinstance(node, ast.Return | ast.Yield) and node.value is not None:
            call = node.value
            if isinstance(call, ast.Call) and called_name(call) == "connect":
                return True
            if isinstance(call, ast.Name) and call.id in made:
                return True
    return False


def _receiver(texts: Texts, spot: Spot, name: str) -> tuple[str, str] | None:
    """The name a method is called on below the coroutine, and what it is there: parameter, local or outside."""
    for chain in spot.chains:
        last = below(chain)[-1]
        tree = texts.tree(last.site.path)
        if chain.primitive.name != name or tree is None:
            continue
        node = tree.call_at(last.site.line, last.site.column, last.callee) or tree.value_at(
            last.site.line, last.site.column
        )
        function = tree.function_at(last.site.line)
        if node is None or function is None:
            continue
        root = root_name(node)
        if root in parameters(function):
            return root, "parameter"
        return root, "local" if made_here(function, root) else "outside"
    return None


def _sqlite_shared(texts: Texts) -> bool:
    """True where every connection of the project is made for all threads."""
    made = 0
    for path, text in texts.every():
        if "sqlite3" not in text:
            continue
        tree = texts.tree(path)
        for node in tree.nodes if tree is not None else ():
            if isinstance(node, ast.Call) and called_name(node) == "connect":
                made += 1
                if not any(
                    k.arg == "check_same_thread" and isinstance(k.value, ast.Constant) and not k.value.value
                    for k in node.keywords
                ):
                    return False
    return made > 0
