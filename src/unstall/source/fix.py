"""From findings to edits, each proved: applied in memory, compiled, checked again."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unstall.model import Edit, Finding
from unstall.source import blocks, edits, transforms
from unstall.source.check import Options
from unstall.source.plans import Place, Plan, Refused, Spot, below
from unstall.source.proof import Checked, proved
from unstall.source.spots import spots_of
from unstall.source.texts import Texts
from unstall.source.trees import walked

_MOST_ROUNDS = 8
_NOT_PROVED = (
    "no rewrite of it could be proved: checked again, the blocking call was still reached or a new one appeared"
)


@dataclass(frozen=True, slots=True)
class Left:
    """A finding that is not fixed, and why. ``unsafe`` is True where ``--unsafe`` would fix it."""

    finding: Finding
    reason: str
    unsafe: bool = False


@dataclass(frozen=True, slots=True)
class FixReport:
    """What was fixed and what is left. ``files`` are the changed files as they were read, ``texts`` what they become."""

    root: Path
    found: int
    fixed: tuple[Finding, ...]
    plans: tuple[Plan, ...]
    left: tuple[Left, ...]
    files: tuple[edits.SourceFile, ...]
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def pooled(self) -> int:
        """How many calls or endpoints now take a thread of the pool."""
        return sum(plan.pooled for plan in self.plans)

    def edits(self) -> list[Edit]:
        """The edits that make the new texts of the files as they were read."""
        return [edit for file in self.files for edit in edits.between(file.path, file.text, self.texts[file.path])]


def fix(
    root: Path,
    options: Options | None = None,
    unsafe: bool = False,
    wanted: Callable[[str], bool] | None = None,
    accepted: frozenset[str] = frozenset(),
) -> FixReport:
    """Rewrite the blocking calls below ``root`` in memory; nothing is written.

    ``wanted`` says of a path whether findings in it are asked for and edits in it allowed; ``accepted`` are the keys of
    findings to leave alone. Raises `BadInput`.
    """
    checked = Checked(root, options or Options())
    texts = Texts(root, checked.paths)
    wanted = wanted or (lambda path: True)
    report = checked.before()

    def chosen() -> list[Finding]:
        return [f for f in report.findings if f.key not in accepted and _concerns(f, wanted)]

    asked = chosen()
    made: list[Plan] = []
    refused: dict[str, tuple[str, bool]] = {}
    failed: set[object] = set()
    for _ in range(_MOST_ROUNDS):
        plans, refused = planned(texts, chosen(), unsafe, wanted)
        # What did not hold once is not tried again: every trial is a check of the whole project.
        good, bad, report = proved(checked, texts, report, [plan for plan in plans if plan.mark not in failed])
        failed |= {plan.mark for plan in bad}
        for plan in plans:
            if plan.mark in failed:
                refused |= {
                    f.key: (_NOT_PROVED, False) for spot in plan.spots for f in spot.findings if f.key not in refused
                }
        if not good:
            break
        made += good
    left = chosen()
    changed = {path: text for path, text in texts.changed.items() if text != texts.file(path).text}
    return FixReport(
        root,
        len(asked),
        _gone(asked, left),
        tuple(made),
        tuple(Left(f, *refused.get(f.key, (_NOT_PROVED, False))) for f in left),
        tuple(texts.file(path) for path in sorted(changed)),
        changed,
    )


def write(report: FixReport) -> None:
    """Write the new texts. Raises `ChangedOnDisk` before anything is written where a file is not what was read."""
    edits.unchanged(report.root, report.files)
    for file in report.files:
        edits.write_file(report.root, file, report.texts[file.path])


def fixable(root: Path, options: Options | None = None) -> dict[str, str]:
    """Which findings have a safe fix: their keys, with what it does."""
    report = fix(root, options)
    gone = {finding.key for finding in report.fixed}
    return {f.key: plan.why for plan in report.plans for spot in plan.spots for f in spot.findings if f.key in gone}


def _gone(asked: Sequence[Finding], left: Sequence[Finding]) -> tuple[Finding, ...]:
    still = Counter((f.site.path, f.site.qualname, f.primitive.name) for f in left)
    gone = []
    for finding in asked:
        name = finding.site.path, finding.site.qualname, finding.primitive.name
        if still[name] > 0:
            still[name] -= 1
        else:
            gone.append(finding)
    return tuple(gone)


def _concerns(finding: Finding, wanted: Callable[[str], bool]) -> bool:
    return wanted(finding.site.path) or any(wanted(below(chain)[0].site.path) for chain in finding.chains)


# --- plans --------------------------------------------------------------------------------------------------


def planned(
    texts: Texts, findings: Sequence[Finding], unsafe: bool, wanted: Callable[[str], bool]
) -> tuple[list[Plan], dict[str, tuple[str, bool]]]:
    """Plans that are not proved yet; of the findings for which a place has none, why, and whether ``--unsafe`` has one."""
    plans: list[Plan] = []
    refused: dict[str, tuple[str, bool]] = {}
    places, unplaced = spots_of(texts, findings)
    for each in unplaced:
        refused.setdefault(each.finding.key, (each.reason, False))
    for place, spots in places:
        if not wanted(place.tree.path):
            for spot in spots:
                _refuse(refused, spot, f"the edit would be in {place.tree.path}, which was not asked for", False)
            continue
        for plan, spot, reason in _coroutine(texts, place, spots, unsafe):
            if plan is None:
                _refuse(refused, spot, reason, False)
            elif plan.unsafe and not unsafe:
                for one in plan.spots:
                    _refuse(refused, one, f"only with --unsafe: {plan.unsafe}", True)
            else:
                plans.append(plan)
    return plans, refused


def _refuse(refused: dict[str, tuple[str, bool]], spot: Spot, reason: str, unsafe: bool) -> None:
    for finding in spot.findings:
        refused.setdefault(finding.key, (reason, unsafe))


_Answer = tuple[Plan | None, Spot, str]


def _coroutine(texts: Texts, place: Place, spots: Sequence[Spot], unsafe: bool) -> list[_Answer]:
    """Awaited one for one where that is all it takes, else plain `def`, else each spot by itself."""
    risky: Plan | None = None
    if not all(map(transforms.one_for_one, spots)):
        try:
            plan = transforms.plain(texts, place, spots)
        except Refused:
            pass
        else:
            if not plan.unsafe:
                return [(plan, spots[0], "")]
            risky = plan
    answers = _each(texts, place, spots)
    if risky is not None and not all(plan is not None and not plan.unsafe for plan, _, _ in answers):
        return [(risky, spots[0], "")]
    return answers


def _each(texts: Texts, place: Place, spots: Sequence[Spot]) -> list[_Answer]:
    answers: list[_Answer] = []
    together: dict[int, tuple[ast.With, list[Spot]]] = {}
    for spot in spots:
        block = blocks.block_of(place, spot)
        if block is not None and not transforms.one_for_one(spot):
            together.setdefault(id(block), (block, []))[1].append(spot)
            continue
        try:
            make = transforms.awaited if transforms.one_for_one(spot) else transforms.offloaded
            answers.append((make(texts, place, spot), spot, ""))
        except Refused as error:
            answers.append((None, spot, error.message))
    for block, inside in together.values():
        covered = {id(node) for node in walked(block)}
        try:
            plan = blocks.moved(texts, place, block, [s for s in spots if id(s.node) in covered])
        except Refused as error:
            answers += [(None, spot, error.message) for spot in inside]
            continue
        answers = [a for a in answers if id(a[1].node) not in covered]
        answers.append((plan, inside[0], ""))
    return answers
