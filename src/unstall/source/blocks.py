"""Moves a whole `with` block into a nested function that runs in a thread."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from unstall.model import Edit
from unstall.source import sessions, traps
from unstall.source.imports import bindings, parameters
from unstall.source.plans import Place, Plan, Refused, Spot
from unstall.source.texts import Texts
from unstall.source.transforms import needed, pool
from unstall.source.trees import Function, children, last_name_of, own_nodes, root_name, suite_of, walked

_SWALLOWS = frozenset({"suppress", "raises", "nullcontext"})
_FRAME = frozenset({"super", "locals", "vars", "exec", "eval", "__class__"})


def block_of(place: Place, spot: Spot) -> ast.With | None:
    """The outermost `with` whose own value the spot enters, makes or uses; None where the spot stands alone."""
    found: ast.With | None = None
    root = root_name(spot.node)
    for parent in place.tree.around(spot.node):
        if parent is place.function:
            return found
        if isinstance(parent, Function | ast.Lambda | ast.ClassDef):
            return None
        if isinstance(parent, ast.With):
            made = any(node is spot.node for item in parent.items for node in walked(item.context_expr))
            names = {
                n.id
                for i in parent.items
                if i.optional_vars
                for n in walked(i.optional_vars)
                if isinstance(n, ast.Name)
            }
            spoken = {n.id for n in walked(spot.node) if isinstance(n, ast.Name)}
            if made or root in names or names & spoken:
                found = parent
    return None


def moved(texts: Texts, place: Place, block: ast.With, spots: Sequence[Spot]) -> Plan:
    """The block in a nested function, awaited where it stood. Raises `Refused`."""
    _checked(texts, place, block, spots)
    returns = any(isinstance(n, ast.Return) for n in _inside(block))
    outputs = [] if returns else _outputs(place, block)
    name = _fresh(place, block, spots, outputs)
    edits = _edits(place, block, name, returns, outputs)
    things = (
        "file"
        if name.startswith(("read_file", "write_file"))
        else "unit of work"
        if name.startswith("work")
        else "block"
    )
    why = f"{place.function.name}: the whole {things} moves to a thread"
    reason, unsafe = sessions.unit(texts, place, block, spots)
    if reason:
        raise Refused(reason)
    unsafe = unsafe or traps.shared_state(
        texts, [place.function, *(f for spot in spots for f in traps.moved(texts, spot))]
    )
    return Plan(
        place.tree.path, place.name, "block", why, tuple(edits), tuple(spots), needed(place), frozenset(), unsafe, 1
    )  # fmt: skip


def _checked(texts: Texts, place: Place, block: ast.With, spots: Sequence[Spot]) -> None:
    if all(traps.gil_bound(spot) for spot in spots):
        raise Refused(traps.gil_bound(spots[0]))
    nodes = list(_inside(block))
    if any(isinstance(n, ast.Await | ast.AsyncFor | ast.AsyncWith | ast.Yield | ast.YieldFrom) for n in nodes) or any(
        isinstance(n, ast.comprehension) and n.is_async for n in nodes
    ):
        raise Refused("its `with` block awaits or yields inside, so it cannot move to a thread whole")
    if any(isinstance(n, ast.Name) and isinstance(n.ctx, ast.Del) for n in nodes):
        raise Refused("its `with` block deletes a name, which the nested function could not do for the coroutine")
    if any(isinstance(n, ast.Raise) and n.exc is None and not _handled(place, n, block) for n in nodes):
        raise Refused("its `with` block raises again what the coroutine caught, which the nested function could not")
    if _leaves(block):
        raise Refused("`break` or `continue` inside its `with` block leaves the loop around it")
    if any(isinstance(n, ast.Name) and n.id in _FRAME for n in nodes):
        raise Refused("its `with` block looks at the function's own frame")
    if any(isinstance(n, ast.Global | ast.Nonlocal) for n in own_nodes(place.function)):
        raise Refused("the coroutine declares a global, which the nested function would not share")
    if any(isinstance(n, ast.Return) for n in nodes) and not _always_leaves(block.body):
        raise Refused("its `with` block returns on some paths only")
    if any(isinstance(n, ast.Return) for n in nodes) and _swallows(block):
        raise Refused("its `with` block may swallow the exception that its `return` rests on")
    held = traps.misplaced(place, block, inside=block) or traps.holds_lock(place, block.items[0].context_expr)
    functions = [block, *(f for spot in spots for f in traps.moved(texts, spot))]
    reason = held or traps.in_thread(texts, functions)
    if reason:
        raise Refused(reason)
    _whole_lines(place, block)


def _handled(place: Place, node: ast.AST, block: ast.With) -> bool:
    """True where the handler that a bare ``raise`` is in is part of the block."""
    inside = set(map(id, walked(block)))
    return any(isinstance(parent, ast.ExceptHandler) and id(parent) in inside for parent in place.tree.around(node))


def _inside(block: ast.With) -> Iterator[ast.AST]:
    """The nodes that run as part of the block."""
    yield from own_nodes(block)


def _leaves(block: ast.With) -> bool:
    pending: list[ast.AST] = list(block.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Break | ast.Continue):
            return True
        if isinstance(node, ast.For | ast.While):
            pending += node.orelse
        elif not isinstance(node, Function | ast.ClassDef | ast.Lambda):
            pending += children(node)
    return False


def _always_leaves(body: Sequence[ast.stmt]) -> bool:
    last = body[-1]
    if isinstance(last, ast.Return | ast.Raise):
        return True
    if isinstance(last, ast.If):
        return bool(last.orelse) and _always_leaves(last.body) and _always_leaves(last.orelse)
    if isinstance(last, ast.With):
        return _always_leaves(last.body) and not _swallows(last)
    if isinstance(last, ast.Try):
        return all(_always_leaves(h.body) for h in last.handlers) and _always_leaves(last.orelse or last.body)
    return False


def _swallows(block: ast.With) -> bool:
    return any(
        isinstance(i.context_expr, ast.Call) and last_name_of(i.context_expr.func) in _SWALLOWS for i in block.items
    )


def _whole_lines(place: Place, block: ast.With) -> None:
    tree = place.tree
    before = tree.text[tree.line_start(block.lineno) : tree.start(block)]
    last = block.end_lineno or block.lineno
    after = tree.text[tree.end(block) : tree.line_start(last) + len(tree.lines[last - 1])]
    if before.strip() or after.split("#")[0].strip():
        raise Refused("its `with` block shares a line with other statements")


# --- values that leave the block ----------------------------------------------------------------------------


def _outputs(place: Place, block: ast.With) -> list[str]:
    """Names set in the block and read elsewhere in the coroutine, in the order they are set. Raises `Refused`."""
    within = set(map(id, walked(block)))
    set_here: dict[str, None] = {}
    for node in _inside(block):
        if not _of_comprehension(place, node, block):
            set_here.update(dict.fromkeys(bindings(node)))
    outside = [n for n in walked(place.function) if id(n) not in within]
    read = {n.id for n in outside if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Store)}
    bound = parameters(place.function) | {name for n in outside for name in bindings(n)}
    entered = {n.id for i in block.items if i.optional_vars for n in walked(i.optional_vars) if isinstance(n, ast.Name)}
    sure = _surely_set(block.body)
    outputs = []
    for name in set_here:
        if name in bound and _read_first(block, name):
            raise Refused(f"`{name}` is read in its `with` block before the block sets it")
        if name not in read:
            continue
        if name in entered:
            raise Refused(f"`{name}` is used after its `with` block")
        if name not in sure:
            raise Refused(f"`{name}` is set on some paths of its `with` block only")
        outputs.append(name)
    return outputs


def _of_comprehension(place: Place, node: ast.AST, block: ast.With) -> bool:
    """True for the loop variable of a comprehension, which is no name of the function."""
    child = node
    for parent in place.tree.around(node):
        if isinstance(parent, ast.comprehension) and child is parent.target:
            return True
        if parent is block:
            return False
        child = parent
    return False


def _surely_set(body: Sequence[ast.stmt]) -> set[str]:
    """Names that these statements set whenever they run to their end."""
    names: set[str] = set()
    for statement in body:
        if isinstance(statement, ast.Assign | ast.AnnAssign | ast.Expr):
            if not isinstance(statement, ast.AnnAssign) or statement.value is not None:
                targets = (
                    statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
                )
                names.update(n.id for t in targets if t is not None for n in walked(t) if isinstance(n, ast.Name))
        elif isinstance(statement, ast.With):
            if not _swallows(statement):
                names |= _surely_set(statement.body)
        elif isinstance(statement, ast.If) and statement.orelse:
            names |= _surely_set(statement.body) & _surely_set(statement.orelse)
        else:
            if isinstance(statement, Function | ast.ClassDef | ast.Import | ast.ImportFrom):
                names.update(bindings(statement))
    return names


def _read_first(block: ast.With, name: str) -> bool:
    """True where the block may read a name before it has set it."""
    for node in walked(block):
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            return True
    for item in block.items:
        if any(
            isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Load) for n in walked(item.context_expr)
        ):
            return True
        if item.optional_vars and any(isinstance(n, ast.Name) and n.id == name for n in walked(item.optional_vars)):
            return False
    for statement in block.body:
        reads = any(isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Load) for n in walked(statement))
        if reads:
            return True
        if name in _surely_set([statement]):
            return False
    return False


# --- text -------------------------------------------------------------------------------------------------


def _fresh(place: Place, block: ast.With, spots: Sequence[Spot], outputs: Sequence[str]) -> str:
    """A name for the nested function: by what it opens, gives back or calls."""
    only = block.body[0].value if len(block.body) == 1 and isinstance(block.body[0], ast.Expr) else None
    called = last_name_of(only.func).strip("_") if isinstance(only, ast.Call) else ""
    rules = {chain.primitive.rule for spot in spots for chain in spot.chains}
    opened = next((i.context_expr for i in block.items if isinstance(i.context_expr, ast.Call)), None)
    if opened is not None and last_name_of(opened.func) == "open":
        given = [*opened.args[1:2], *(k.value for k in opened.keywords if k.arg == "mode")]
        mode = given[0].value if given and isinstance(given[0], ast.Constant) else "r"
        base = "read_file" if isinstance(mode, str) and not set(mode) & set("wax+") else "write_file"
    elif traps.locked(block.items[0].context_expr):
        base = "locked"
    elif "UNS103" in rules:
        base = "work"
    else:
        base = f"get_{outputs[0].strip('_')}" if len(outputs) == 1 else f"run_{called}" if called else "in_thread"
    nodes = place.tree.nodes
    used = {n.id for n in nodes if isinstance(n, ast.Name)} | {n.arg for n in nodes if isinstance(n, ast.arg)}
    used |= {n.name for n in nodes if isinstance(n, Function | ast.ClassDef)}
    used |= {name for n in nodes if isinstance(n, ast.Import | ast.ImportFrom) for name in bindings(n)}
    name, number = base, 2
    while name in used:
        name, number = f"{base}_{number}", number + 1
    return name


def _edits(place: Place, block: ast.With, name: str, returns: bool, outputs: Sequence[str]) -> list[Edit]:
    tree, nl = place.tree, place.tree.newline
    first, last = block.lineno, block.end_lineno or block.lineno
    indent = tree.indent(first)
    strings = _lines_in_strings(block)
    start = tree.line_start(first)
    suite = suite_of(tree.parents[block], block)
    above = "" if not suite or suite[0] is block or not tree.lines[first - 2].strip() else nl
    edits = [place.edit(start, start, f"{above}{indent}def {name}():{nl}{tree.unit}")]
    for line in range(first + 1, last + 1):
        if line not in strings and tree.lines[line - 1].strip():
            at = tree.line_start(line)
            edits.append(place.edit(at, at, tree.unit))
    awaited = f"await {pool(place)}({name})"
    values = ", ".join(outputs)
    lines = []
    if returns:
        lines += ["", f"{indent}return {awaited}"]
    elif outputs:
        lines += [f"{indent}{tree.unit}return {values}", "", f"{indent}{values} = {awaited}"]
    else:
        lines += ["", f"{indent}{awaited}"]
    end = tree.line_start(last) + len(tree.lines[last - 1])
    ended = tree.lines[last - 1].endswith(("\n", "\r"))
    edits.append(place.edit(end, end, nl.join(lines) + nl if ended else nl + nl.join(lines)))
    return edits


def _lines_in_strings(block: ast.With) -> set[int]:
    """Lines that begin inside a string, where white space would be part of it."""
    found: set[int] = set()
    for node in walked(block):
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)):
            found.update(range(node.lineno + 1, (node.end_lineno or node.lineno) + 1))
    return found
