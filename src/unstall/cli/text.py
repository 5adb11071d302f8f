"""Findings for people: the line with a caret, the chain that leads there, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.text import Text

from unstall.cli.formats import title
from unstall.model import CallChain, Finding
from unstall.source.check import CheckReport
from unstall.source.decoding import decode
from unstall.units import count, plural, seconds

_BEFORE, _AFTER = 2, 1
_COLOURS = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
_LONGEST_UNPARSED = 5


class Sources:
    """Lines of the files that findings point into, each file read once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lines: dict[str, list[str]] = {}

    def lines(self, path: str) -> list[str]:
        """The lines of a file; none where it cannot be read any more."""
        if path not in self._lines:
            try:
                self._lines[path] = decode((self.root / path).read_bytes()).splitlines()
            except OSError:
                self._lines[path] = []
        return self._lines[path]


def frame(
    finding: Finding, sources: Sources, prefix: str, all_chains: bool = False, mark: str | None = None
) -> Iterator[Text]:
    """One finding; ``mark`` is what `unstall fix` would do about it."""
    site = finding.site
    yield Text.assemble(
        (finding.rule, _COLOURS[finding.severity]),
        f" {finding.severity}: {title(finding.rule, finding.primitive.name)}",
    )
    lines = sources.lines(site.path)
    last = min(site.line + _AFTER, len(lines))
    width = len(str(max(last, site.line)))
    margin = " " * width + " | "
    yield Text(f"{' ' * width}--> {prefix}{site.path}:{site.line}:{site.column}")
    yield Text(margin.rstrip())
    for number in range(max(1, site.line - _BEFORE), last + 1):
        yield Text(f"{number:>{width}} | {lines[number - 1]}".rstrip())
        if number == site.line:
            yield Text.assemble(margin, *_caret(finding, lines[number - 1]))
    if not lines:
        yield Text(f"{margin}{finding.primitive.name}: {finding.primitive.why}")
    yield Text(margin.rstrip())
    yield from _chains(finding, width, prefix, all_chains)
    if mark:
        yield Text(f"{' ' * width} = help: {mark}  [fix available]")
    elif finding.fix:
        yield Text(f"{' ' * width} = help: {finding.fix}")


def _caret(finding: Finding, line: str) -> list[str | tuple[str, str]]:
    start = finding.site.column - 1
    indent = "".join("\t" if c == "\t" else " " for c in line[:start])
    called = line[start:]
    # The source says where the call's name ends: at the first bracket, or at the end of the line.
    depth, end = 0, len(called.rstrip())
    for at, character in enumerate(called):
        if character in "([{":
            if depth == 0 and character == "(":
                end = at
                break
            depth += 1
        elif character in ")]}":
            depth -= 1
    return [
        indent,
        ("^" * max(end, 1), _COLOURS[finding.severity]),
        f" {finding.primitive.name}: {finding.primitive.why}",
    ]


def _chains(finding: Finding, width: int, prefix: str, all_chains: bool) -> Iterator[Text]:
    pad = " " * width
    shown = finding.chains if all_chains else finding.chains[:1]
    for chain in shown:
        yield from (Text(line) for line in _chain(chain, f"{pad} = reached from  ", prefix))
    rest = finding.chains[len(shown) :]
    if rest:
        labels = list(dict.fromkeys(chain.entrance.label for chain in rest))
        named = ", ".join(labels[:3]) + (f" and {count(len(labels) - 3)} more" if len(labels) > 3 else "")
        yield Text(f"{pad} = also reached from  {named}  ({plural(len(rest), 'more chain')}, --all-chains)")


def _chain(chain: CallChain, lead: str, prefix: str) -> Iterator[str]:
    """The tree of hops: each line is what is called, and where."""
    entrance = chain.entrance
    rows = [(lead + entrance.label, f"{prefix}{entrance.site.path}:{entrance.site.line}  {entrance.site.qualname}")]
    indent = " " * len(lead)
    for depth, step in enumerate(chain.steps):
        how = {"await": "await ", "with": "with ", "iterate": "for ... in "}.get(step.how, "")
        sure = "" if step.confidence == "resolved" else f"  ({step.confidence})"
        rows.append(
            (f"{indent}{'   ' * depth}└─ {how}{step.callee}", f"{prefix}{step.site.path}:{step.site.line}{sure}")
        )
    width = max(len(left) for left, _ in rows)
    for left, right in rows:
        yield f"{left:<{width}}  {right}"


def summary(
    report: CheckReport,
    elapsed_s: float,
    fixed: int = 0,
    accepted: int = 0,
    show_unknown: bool = False,
    fixes: int = 0,
) -> Iterator[str]:
    """What was looked at, what was found, what could not be followed."""
    stats = report.stats
    left_out = f" ({plural(stats.tests_left_out, 'test file')} left out, --tests)" if stats.tests_left_out else ""
    yield (
        f"Checked {plural(stats.files, 'file')}, {plural(stats.functions, 'function')}, "
        f"{plural(stats.routes, 'route')} in {seconds(elapsed_s)}{left_out}."
    )
    chains = sum(len(finding.chains) for finding in report.findings)
    if report.findings:
        offer = f" {plural(fixes, 'fix', 'fixes')} available: run `unstall fix --diff`." if fixes else ""
        yield f"Found {plural(len(report.findings), 'blocking call')} ({plural(chains, 'chain')}).{offer}"
    else:
        yield "Found no blocking call on the event loop." if stats.files else "There is no Python file here."
    quiet = []
    if stats.notes:
        quiet.append(f"{plural(stats.notes, 'short local call')} not shown (--notes)")
    if stats.suppressed:
        quiet.append(f"{count(stats.suppressed)} ignored by comments")
    if accepted:
        quiet.append(f"{count(accepted)} accepted by the baseline")
    if quiet:
        yield "; ".join(quiet) + "."
    if fixed:
        yield f"The baseline has {plural(fixed, 'entry', 'entries')} whose finding is gone: --write-baseline takes them out."
    for unused in report.unused_ignores:
        rules = f"[{', '.join(unused.rules)}]" if unused.rules else ""
        yield f"{unused.path}:{unused.line}: # unstall: ignore{rules} silences nothing: take it out."
    yield from _unread(report)
    if stats.unknown:
        yield f"Not followed: {plural(len(stats.unknown), 'call')} through getattr or a registry (--show-unknown)."
        if show_unknown:
            for path, line, what in stats.unknown:
                yield f"  {path}:{line}  through {'getattr' if what == 'getattr' else 'a registry'}"


def _unread(report: CheckReport) -> Iterator[str]:
    unparsed = report.stats.unparsed
    if not unparsed:
        return
    import platform

    yield (
        f"Not read: {plural(len(unparsed), 'file')}. This unstall reads the syntax of Python {platform.python_version()}; "
        "run it with the Python that your project runs on."
    )
    for path, reason in unparsed[:_LONGEST_UNPARSED]:
        yield f"  {path}: {reason}"
    if len(unparsed) > _LONGEST_UNPARSED:
        yield f"  and {count(len(unparsed) - _LONGEST_UNPARSED)} more"
