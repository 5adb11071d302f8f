"""The proof of a fix: its text compiled and checked again in memory, beside what blocked before."""

from __future__ import annotations

import dataclasses
import gc
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from unstall.model import CallChain, Finding
from unstall.source import edits
from unstall.source.check import CheckReport, Options, analysed, check
from unstall.source.imports import adding, dropping
from unstall.source.plans import Plan, below
from unstall.source.project import find_sources
from unstall.source.store import Entry, Stored, collect
from unstall.source.texts import Texts
from unstall.source.trees import Tree

Way = tuple[str, str, str, str, str]
"""A way to a stall, without line numbers: path, function, primitive; path and name of the coroutine that waits."""


_MOST_TRIALS = 16
_DECLARED = re.compile(r"(?<=coding)[:=](?=[ \t]*[-\w.]+)")


class Checked:
    """A project whose facts are read once, checked again with some texts replaced."""

    def __init__(self, root: Path, options: Options) -> None:
        self.root = root
        self.options = options
        self.paths, self.left_out = find_sources(root, options.exclude, options.tests)
        self._stored: Stored = collect(root, self.paths, options.cache, options.jobs)
        self._known: dict[tuple[str, str], Entry] = {}

    def before(self) -> CheckReport:
        """What ``check`` says of the files as they are; known already where it was run since the last change."""
        return check(self.root, self.options) if self.options.cache else self.report({})

    def report(self, texts: dict[str, str]) -> CheckReport:
        """What ``check`` says when these files have these texts."""
        new = {path: text for path, text in texts.items() if (path, text) not in self._known}
        self._known |= {(path, new[path]): entry for path, entry in _facts(new).items()}
        entries = self._stored.entries | {path: self._known[path, text] for path, text in texts.items()}
        stored = dataclasses.replace(self._stored, entries=entries, keeps=False)
        collecting = gc.isenabled()
        gc.disable()
        try:
            return analysed(self.paths, stored, self.options, self.left_out, self.root.resolve().parts[-4:])
        finally:
            if collecting:
                gc.enable()


def _facts(texts: dict[str, str]) -> dict[str, Entry]:
    """The facts of these texts, read as those of files are: from a folder of their own, gone afterwards."""
    if not texts:
        return {}
    with tempfile.TemporaryDirectory(prefix="unstall-") as folder:
        for path, text in texts.items():
            place = Path(folder, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            # As UTF-8 whatever the file says of itself: a declaration of another encoding is only in the way here.
            place.write_bytes(b"\xef\xbb\xbf" + _DECLARED.sub("", text, count=1).encode())
        return collect(Path(folder), list(texts), False, 1).entries


def ways(findings: tuple[Finding, ...]) -> Counter[Way]:
    """Every way of these findings, counted."""
    found: Counter[Way] = Counter()
    for finding in findings:
        for chain in finding.chains:
            found[_way(finding, chain)] += 1
    return found


def _way(finding: Finding, chain: CallChain) -> Way:
    site = below(chain)[0].site
    return finding.site.path, finding.site.qualname, finding.primitive.name, site.path, site.qualname


def compiles(path: str, text: str) -> str:
    """Why a text does not compile; empty where it does."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(text, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        return str(error)
    return ""


# --- which plans hold -----------------------------------------------------------------------------------


def proved(
    checked: Checked, texts: Texts, before: CheckReport, plans: Sequence[Plan]
) -> tuple[list[Plan], list[Plan], CheckReport]:
    """The plans that hold, those that do not, and the report after the first; their texts are kept in ``texts``.

    Every trial is a check of the whole project, so all plans are tried at once. Where a way to a stall is left, or is
    new, its coroutine and its call say which plans to doubt; those are tried again without the others around them.
    """
    base = ways(before.findings)
    good: list[Plan] = []
    bad: list[Plan] = []
    best, report = {}, before
    pending = [fitting(texts, plans)]
    for _ in range(_MOST_TRIALS):
        failed = {plan.mark for plan in bad}
        pending = [left for trial in pending if (left := [plan for plan in trial if plan.mark not in failed])]
        if not pending:
            break
        trial = pending.pop()
        rewritten = _rewritten(texts, [*good, *trial])
        if rewritten is None:
            pending += [[plan] for plan in trial] if len(trial) > 1 else []
            continue
        after = checked.report(texts.changed | rewritten)
        wrong = _wrong(base, after.findings, [*good, *trial])
        if not wrong:
            good += trial
            best, report = rewritten, after
        elif len(trial) == 1:
            bad += trial
        else:
            pending += _again(trial, wrong)
    bad += [plan for trial in pending for plan in trial]
    texts.change(best)
    return good, bad, report


def _again(trial: Sequence[Plan], wrong: frozenset[tuple[str, str, str]]) -> list[list[Plan]]:
    """Smaller trials in place of one that failed; the last is to be tried first."""
    names = {(path, function) for path, function, _ in wrong}
    doubted = [plan for plan in trial if not names.isdisjoint(_touched(plan))]
    by_call = [p for p in doubted if any((*at, s.step.callee) in wrong for at in _touched(p) for s in p.spots)]
    doubted = by_call or doubted
    rest = [plan for plan in trial if plan not in doubted]
    if rest and doubted:
        return [doubted, rest]
    groups = _alone(trial)
    if len(groups) > 1:
        return groups[::-1]
    middle = len(trial) // 2
    return [list(trial[middle:]), list(trial[:middle])]


def _alone(plans: Sequence[Plan]) -> list[list[Plan]]:
    """The plans in groups that have no coroutine twice."""
    groups: list[list[Plan]] = []
    counts: Counter[tuple[str, str]] = Counter()
    for plan in plans:
        number = counts[plan.path, plan.function]
        counts[plan.path, plan.function] += 1
        groups += [[]] if number == len(groups) else []
        groups[number].append(plan)
    return groups


def fitting(texts: Texts, plans: Sequence[Plan]) -> list[Plan]:
    """Those of the plans whose edits go together and compile; the others are planned anew in the next round."""
    if _rewritten(texts, plans) is not None:
        return list(plans)
    found: list[Plan] = []
    for path in dict.fromkeys(plan.path for plan in plans):
        mine = [plan for plan in plans if plan.path == path]
        if _rewritten(texts, mine) is None:
            chosen: list[Plan] = []
            for plan in mine:
                if _rewritten(texts, [*chosen, plan]) is not None:
                    chosen.append(plan)
            mine = chosen
        found += mine
    return found


def _touched(plan: Plan) -> set[tuple[str, str]]:
    """The coroutine of a plan, and those that its spots leave waiting, by path and name."""
    sites = {below(chain)[0].site for spot in plan.spots for chain in spot.chains}
    return {(plan.path, plan.function), *((site.path, site.qualname) for site in sites)}


def _wrong(before: Counter[Way], after: tuple[Finding, ...], plans: Iterable[Plan]) -> frozenset[tuple[str, str, str]]:
    """Where a way to a stall is left that should be gone, or is new: path and name of the coroutine, and the call in it.
    Empty where all plans hold."""
    targets: Counter[Way] = Counter()
    for plan in plans:
        for spot in plan.spots:
            for finding, chain in zip(spot.findings, spot.chains, strict=True):
                targets[_way(finding, chain)] += 1
    left = (ways(after) - (before - targets)).keys()
    return frozenset(
        (way[3], way[4], below(chain)[0].callee)
        for finding in after
        for chain in finding.chains
        if (way := _way(finding, chain)) in left
    )


def _rewritten(texts: Texts, plans: Sequence[Plan]) -> dict[str, str] | None:
    """The texts after these plans, imports and all; None where they do not fit together."""
    by_path: dict[str, list[Plan]] = {}
    for plan in plans:
        by_path.setdefault(plan.path, []).append(plan)
    found: dict[str, str] = {}
    for path, mine in by_path.items():
        tree = texts.tree(path)
        assert tree is not None
        mine.sort(key=lambda p: _first(tree, p))
        try:
            text = edits.apply(tree.text, [edit for plan in mine for edit in plan.edits])
            text = _with_imports(texts, path, text, mine)
        except (ValueError, SyntaxError):
            return None
        if compiles(path, text):
            return None
        found[path] = text
    return found


def _first(tree: Tree, plan: Plan) -> tuple[int, int, bool]:
    node = plan.spots[0].node
    return tree.start(node), -tree.end(node), plan.spots[0].step.how != "iterate"


def _with_imports(texts: Texts, path: str, text: str, plans: Sequence[Plan]) -> str:
    needs = frozenset(name for plan in plans for name in plan.needs)
    drops = frozenset(name for plan in plans for name in plan.drops)
    own = texts.tops()
    for name in sorted(needs):
        text = edits.apply(text, adding(Tree(path, text), [name], own))
    for name in sorted(drops):
        if not texts.imported_elsewhere(path, name):
            text = edits.apply(text, dropping(Tree(path, text), [name]))
    return text
