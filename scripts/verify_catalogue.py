"""Proves every row of the catalogue against installed libraries and writes what was proved to verified.toml.

    python scripts/verify_catalogue.py base=/path/to/one/python database=/path/to/another/python

Each environment holds some of the libraries (tests/catalogue/environments/*.txt lists them); a row that no environment
proves is listed as unproved.
"""

from __future__ import annotations

import builtins
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from unstall import catalogue

ROOT = Path(__file__).resolve().parents[1]
PROVE = ROOT / "tests" / "catalogue" / "prove.py"
VERIFIED = ROOT / "src" / "unstall" / "catalogue" / "verified.toml"

Outcome = tuple[str, str, str]
ABSENT: Outcome = ("absent", "", "")


def main(arguments: list[str]) -> int:
    """Prove, write, and print what no library has."""
    spellings = sorted({row.name for row in catalogue.load().rows()})
    environments = dict(argument.split("=", 1) for argument in arguments)
    outcomes = {name: outcomes_of(python, spellings) for name, python in environments.items()}
    best = {spelling: best_of([found.get(spelling, ABSENT) for found in outcomes.values()]) for spelling in spellings}
    VERIFIED.write_text(document(best), "utf-8")
    for spelling, (outcome, module, distribution) in best.items():
        if outcome.startswith("missing"):
            print(f"{spelling}: {outcome} in {module} ({distribution})")
    counts: dict[str, int] = defaultdict(int)
    for outcome, _, _ in best.values():
        counts[outcome.split()[0]] += 1
    print(dict(counts))
    return 0


def outcomes_of(python: str, spellings: list[str]) -> dict[str, Outcome]:
    """What one environment says of every path; a path to a JSON file of an earlier answer is read instead."""
    if python.endswith(".json"):
        return {spelling: tuple(found) for spelling, found in json.loads(Path(python).read_text()).items()}
    answer = subprocess.run(
        [python, str(PROVE)], input=json.dumps(spellings), capture_output=True, text=True, check=True
    )
    return {spelling: tuple(found) for spelling, found in json.loads(answer.stdout).items()}


def best_of(found: list[Outcome]) -> Outcome:
    """The most that any environment could say of one path."""
    rank = {"proved": 0, "missing": 1, "open": 2, "absent": 3}
    return min(found, key=lambda outcome: rank[outcome[0].split()[0]])


def document(best: dict[str, Outcome]) -> str:
    """The text of verified.toml, in blocks of text because those are read fastest."""
    modules = {module_of(name, module): said for name, (outcome, module, said) in best.items() if outcome == "proved"}
    unproved = [name for name, (outcome, _, said) in best.items() if outcome != "proved" and known(name, modules)]
    lines = ["# Written by scripts/verify_catalogue.py: what every row was proved against by introspection.", ""]
    lines += ["# Rows of these libraries that could not be proved: older names, and values whose type nobody declares."]
    lines += ["unproved = '''", *folded(unproved), "'''", "", "# Whose the modules are.", "modules = '''"]
    lines += [f"{module} = {said}" for module, said in sorted(modules.items()) if said]
    lines.append("'''")
    return "\n".join(lines) + "\n"


def module_of(name: str, module: str) -> str:
    """The shortest prefix of a module's name that says whose it is."""
    root = name.replace("(", ".").split(".")[0]
    return module if root in ("google", "azure") or module == "builtins" else root


def known(name: str, modules: dict[str, str]) -> bool:
    """True where some module of the list would claim this path."""
    parts = name.split("()")[0].split("[]")[0].split(".")
    return hasattr(builtins, parts[0]) or any(".".join(parts[:end]) in modules for end in range(1, len(parts) + 1))


def folded(names: list[str]) -> list[str]:
    """One line for the names that differ in their last token only."""
    tails: dict[str, list[str]] = defaultdict(list)
    for name in names:
        head, _, tail = name.rpartition(".")
        tails[head].append(tail)
    return [f"{head}.{{{','.join(ends)}}}" if len(ends) > 1 else f"{head}.{ends[0]}" for head, ends in tails.items()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
