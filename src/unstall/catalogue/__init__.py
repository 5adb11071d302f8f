"""Which calls block, why, for how long, what to use instead.

    >>> from unstall import catalogue
    >>> catalogue.load().find("requests.session().get").rule
    'UNS102'

An origin path names a value by how it came to be: ``time.sleep``, ``requests.Session().get``,
``boto3.client().put_object``. ``()`` is a call (an instance of class ``a.b.C`` is ``a.b.C()``), ``[]`` an element by
subscript or iteration. A use is asked for by the path of what is called: ``find("X().m")`` is the call ``x.m(...)``,
``find("X()")`` calling the instance itself; iterating or entering it is ``find("X()", "iterate")``, ``find("X()", "with")``.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache, cached_property

from unstall.catalogue.patterns import Tokens, Trie, expanded, text_of, tokens_of
from unstall.catalogue.reading import Facts, read, root_of
from unstall.catalogue.rows import UNKNOWN, Condition, Offload, Row, Use

__all__ = ["UNKNOWN", "Catalogue", "Condition", "Offload", "Row", "Use", "load"]

_REWRITES_BOUND = 24
_DUNDER = {"call": (), "iterate": ("__iter__",), "with": ("__enter__",)}


@cache
def load() -> Catalogue:
    """The catalogue that ships with unstall; read once a process."""
    return Catalogue(read())


class Catalogue:
    """Answers what a call is by its origin path. A library's rows are indexed when it is first asked about."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._rows: dict[str, Trie] = {}
        self._rewrites: dict[str, Trie] = {}
        self._offloads = Trie()
        for pattern, offload in facts.offloads:
            self._offloads.add(pattern, offload)
        self._canonical: dict[str, Tokens] = {}
        self._texts: dict[str, str] = {}
        self._moved: dict[str, Offload | None] = {}
        self._known: dict[str, bool] = {}
        self._found: dict[tuple[str, Use], Row | None] = {}

    def find(self, origin: str, when: Use = "call") -> Row | None:
        """The row of this call, None where nothing is known. A row of duration ``0`` says: known, cheap."""
        key = origin, when
        if key not in self._found:
            self._found[key] = self._find(origin, when)
        return self._found[key]

    def canonical(self, origin: str) -> str:
        """The origin by its one spelling: re-exports undone, ``requests.session()`` read as ``requests.Session()``."""
        known = self._texts.get(origin)
        if known is None:
            known = self._texts[origin] = text_of(self._canonical_tokens(origin))
        return known

    def offload(self, origin: str) -> Offload | None:
        """Which argument of this call runs off the event loop, None where the call moves nothing."""
        if origin not in self._moved:
            tokens = self._canonical_tokens(origin)
            found: Offload | None = self._offloads.match(tokens)
            self._moved[origin] = None if found is None else replace(found, name=text_of(tokens))
        return self._moved[origin]

    def bases(self, origin: str) -> tuple[str, ...]:
        """The library classes that this library class inherits from, as far as it matters to blocking."""
        return self._facts.bases.get(self.canonical(origin), ())

    def knows(self, origin: str) -> bool:
        """True where some row begins with this path: for a class, that its subclasses inherit blocking methods."""
        if origin not in self._known:
            text = self.canonical(origin)
            spellings = (text, *self._facts.bases.get(text, ())) if text else ()
            self._known[origin] = any(self._trie(path).holds(tokens_of(path)) for path in spellings)
        return self._known[origin]

    def verified(self, spelling: str) -> str:
        """The library and version that a row's path was proved against by introspection, empty where it was not."""
        tokens = tokens_of(spelling)
        if not tokens or spelling in self.unproved:
            return ""
        prefixes = (".".join(tokens[:end]) for end in range(len(tokens), 0, -1))
        builtin = self._facts.modules.get("builtins", "") if hasattr(builtins, tokens[0]) else ""
        return next((said for prefix in prefixes if (said := self._facts.modules.get(prefix))), builtin)

    @cached_property
    def unproved(self) -> frozenset[str]:
        """The rows of verified libraries that introspection could not prove."""
        return frozenset(spelling for pattern in self._facts.unproved for spelling in expanded(pattern))

    def rows(self) -> Iterator[Row]:
        """Every row, alternations expanded, under the pattern it is written with; duration ``0`` included."""
        for entries in self._facts.rows.values():
            for pattern, row in entries:
                for spelling in expanded(pattern):
                    yield replace(row, name=spelling, pattern=spelling, verified=self.verified(spelling))

    @property
    def roots(self) -> frozenset[str]:
        """The first names of all patterns: the libraries that there are rows about."""
        return frozenset(self._facts.rows)

    def rows_of(self, root: str) -> Iterator[Row]:
        """The rows of one library, as ``rows`` gives them but for ``verified``: cheap where one library is wanted."""
        for pattern, row in self._facts.rows.get(root, ()):
            for spelling in expanded(pattern):
                yield replace(row, name=spelling, pattern=spelling)

    def extended(
        self, blocking: Iterable[str] = (), cheap: Iterable[str] = (), offload: Iterable[str] = ()
    ) -> Catalogue:
        """This catalogue with the patterns of a project's own settings, which win over the rows that ship."""
        facts = Facts(
            {root: list(entries) for root, entries in self._facts.rows.items()},
            self._facts.rewrites,
            self._facts.bases,
            list(self._facts.offloads),
            self._facts.modules,
            self._facts.unproved,
        )
        own = Row("", "UNS100", "the project's settings say that it blocks", "U", family="settings")
        for pattern in blocking:
            facts.add_row(pattern, own)
        for pattern in cheap:
            facts.add_row(pattern, replace(own, duration="0", why=""))
        for pattern in offload:
            facts.offloads.append((pattern, Offload("", "thread", 0)))
        return Catalogue(facts)

    def _find(self, origin: str, when: Use) -> Row | None:
        tokens = self._canonical_tokens(origin) + _DUNDER[when]
        hit = self._match(tokens, 0)
        if hit is None:
            return None
        row, spelling = hit
        return replace(row, name=text_of(_spoken(tokens)), pattern=spelling, verified=self.verified(spelling))

    def _match(self, tokens: Tokens, climbed: int) -> tuple[Row, str] | None:
        if not tokens:
            return None
        hit: tuple[Row, str] | None = self._trie(tokens[0]).match(tokens)
        if hit is not None or climbed > 4:
            return hit
        for end in range(len(tokens) - 1, 0, -1):
            for base in self._facts.bases.get(text_of(tokens[:end]), ()):
                hit = self._match(tokens_of(base) + tokens[end:], climbed + 1)
                if hit is not None:
                    return hit
        return None

    def _trie(self, origin: str) -> Trie:
        root = root_of(origin)
        if root not in self._rows:
            trie = self._rows[root] = Trie()
            for pattern, row in self._facts.rows.get(root, ()):
                for spelling in expanded(pattern):
                    trie.add(spelling, (row, spelling))
        return self._rows[root]

    def _rewrite(self, root: str) -> Trie:
        if root not in self._rewrites:
            trie = self._rewrites[root] = Trie()
            for pattern, target in self._facts.rewrites.get(root, ()):
                trie.add(pattern, tokens_of(target))
        return self._rewrites[root]

    def _canonical_tokens(self, origin: str) -> Tokens:
        known = self._canonical.get(origin)
        if known is None:
            known = self._canonical[origin] = self._rewritten(tokens_of(origin))
        return known

    def _rewritten(self, tokens: Tokens) -> Tokens:
        for _ in range(_REWRITES_BOUND):
            if tokens[:1] == ("builtins",):
                tokens = tokens[1:]
            best = self._rewrite(tokens[0]).longest_prefix(tokens) if tokens else None
            if best is None:
                entered = _entered(tokens)
                if entered == tokens:
                    return tokens
                tokens = entered
            else:
                covered, target = best
                tokens = target + tokens[covered:]
        return tokens


def _entered(tokens: Tokens) -> Tokens:
    """Entering a context manager gives the manager itself, unless a fact says otherwise."""
    for at in range(1, len(tokens) - 2):
        if tokens[at : at + 3] == ("()", "__enter__", "()"):
            return tokens[: at + 1] + tokens[at + 3 :]
    return tokens


def _spoken(tokens: Tokens) -> Tokens:
    return tokens[:-1] if tokens[-1] in ("__iter__", "__enter__") else tokens
