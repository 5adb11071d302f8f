"""The project's files while fixes are made to them in memory, and what is true of all of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from unstall.errors import BadInput
from unstall.source.edits import SourceFile, read_file
from unstall.source.layout import line_length
from unstall.source.project import find_sources
from unstall.source.trees import Function, Tree, last_name_of, root_name

FRAMEWORKS = frozenset(["litestar", "sanic", "quart", "aiohttp", "blacksheep", "robyn", "falcon", "tornado", "django"])
_LOOP_OBJECTS = frozenset(
    ["Event", "Lock", "Queue", "Semaphore", "Condition", "Future", "BoundedSemaphore", "LifoQueue", "PriorityQueue"]
)
_MAKERS = {
    # A word that a file has to have, which is looked for fast, and what it then has to match to be parsed.
    "contextvar": ("ContextVar", re.compile(r"\b(?:contextvars\.)?ContextVar\b")),
    "thread-local": (
        "threading",
        re.compile(r"\bthreading\.local\b|\bfrom\s+threading\s+import\b.*\blocal\b"),
    ),
    "loop": ("asyncio", re.compile(rf"\.\s*(?:{'|'.join(sorted(_LOOP_OBJECTS))})\s*\(")),
}


_IMPORTS = re.compile(
    r"^[ \t]*(?:from\b[^\n]*\bimport[ \t]*\([^)]*\)|(?:from|import)\b(?:[^\n\\]|\\\r?\n)*)", re.MULTILINE
)
_WORDS = re.compile(r"\w+|\*")


class Texts:
    """Files below ``root`` by their path, read when asked for; ``changed`` are those with another text than on disk."""

    def __init__(self, root: Path, paths: list[str]) -> None:
        self.root = root
        self.paths = paths
        self.files: dict[str, SourceFile] = {}
        self.unreadable: dict[str, str] = {}
        self.changed: dict[str, str] = {}
        self._trees: dict[str, Tree] = {}
        self._words: dict[str, frozenset[str]] = {}
        self.bound: dict[ast.AST, str] = {}
        """Why code must stay in the loop's thread, by its node; kept because many spots lead through the same code."""
        self.shared: dict[ast.AST, str] = {}
        """What of it two requests could change at the same time, likewise."""

    def file(self, path: str) -> SourceFile:
        """A file as it is on disk. Raises `BadInput`."""
        if path not in self.files:
            self.files[path] = read_file(self.root / path, path)
        return self.files[path]

    def text(self, path: str) -> str:
        """A file's text with the fixes made so far."""
        return self.changed.get(path) or self.file(path).text

    def tree(self, path: str) -> Tree | None:
        """A file's syntax; None where it cannot be read or parsed."""
        if path not in self._trees:
            if path in self.unreadable:
                return None
            try:
                self._trees[path] = Tree(path, self.text(path))
            except (BadInput, SyntaxError, ValueError, RecursionError) as error:
                self.unreadable[path] = str(error)
                return None
        return self._trees[path]

    def change(self, texts: dict[str, str]) -> None:
        """Keep these texts in place of the files'."""
        for path, text in texts.items():
            self.changed[path] = text
            self._trees.pop(path, None)

    def tops(self) -> frozenset[str]:
        """The project's own top-level names, by which its imports are told from third parties'."""
        return frozenset(
            part.removesuffix(".py") for path in self.paths for part in path.split("/")[:-1] + [path.split("/")[-1]]
        )

    # --- frameworks -------------------------------------------------------------------------------------

    @cached_property
    def line_length(self) -> int | None:
        """How long the project's own formatter lets a line be; None where nobody says."""
        return line_length(self.root)

    @cached_property
    def starlette(self) -> bool:
        """True where some file of the project imports FastAPI or Starlette."""
        return any(re.search(r"^\s*(?:from|import)\s+(?:fastapi|starlette)\b", text, re.M) for _, text in self.every())

    def serves(self, tree: Tree) -> bool:
        """True where routes in this file are FastAPI's or Starlette's, which run plain functions in threads."""
        mine = imported(tree)
        if mine & FRAMEWORKS:
            return False
        return bool(mine & {"fastapi", "starlette"})

    # --- names the whole project speaks of ----------------------------------------------------------------

    def every(self) -> Iterator[tuple[str, str]]:
        """Path and text of every file that can be read."""
        for path in self.paths:
            try:
                yield path, self.text(path)
            except BadInput:
                continue

    @cached_property
    def everywhere(self) -> list[str]:
        """Paths of all Python files, tests included: what speaks of a function may be a test."""
        return find_sources(self.root, tests=True)[0]

    @cached_property
    def context_variables(self) -> frozenset[str]:
        """Names that hold a ``ContextVar``."""
        return self._made("contextvar", lambda call: last_name_of(call.func) == "ContextVar")

    @cached_property
    def thread_locals(self) -> frozenset[str]:
        """Names that hold a ``threading.local``."""
        return self._made("thread-local", lambda call: last_name_of(call.func) == "local")

    @cached_property
    def loop_objects(self) -> frozenset[str]:
        """Names that hold an object of asyncio, which only the loop's own thread may touch."""
        return self._made("loop", lambda c: root_name(c.func) == "asyncio" and last_name_of(c.func) in _LOOP_OBJECTS)

    def _made(self, kind: str, wanted: object) -> frozenset[str]:
        assert callable(wanted)
        names: set[str] = set()
        word, pattern = _MAKERS[kind]
        for path, text in self.every():
            if word not in text or not pattern.search(text):
                continue
            tree = self.tree(path)
            for node in tree.nodes if tree is not None else ():
                if (
                    isinstance(node, ast.Assign | ast.AnnAssign)
                    and isinstance(node.value, ast.Call)
                    and wanted(node.value)
                ):
                    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                    names.update(last_name_of(t) for t in targets)
        return frozenset(names - {""})

    def references(self, home: Tree, name: str) -> Iterator[tuple[Tree, ast.AST]]:
        """Every place, tests included, where the function ``name`` of the module ``home`` may be spoken of."""
        stem = _stem(home.path)
        for path in self.everywhere:
            # Elsewhere it is spoken of as an attribute, or after an import of that name or of all names.
            words = self._in_imports(path)
            if path != home.path and not {name, "*"} & words and f".{name}" not in self._text(path):
                continue
            tree = self.tree(path)
            if tree is None:
                continue
            names = {name} if path == home.path else _taken_from(tree, stem, name)
            for node in tree.loads:
                if (
                    isinstance(node, ast.Name)
                    and node.id in names
                    or isinstance(node, ast.Attribute)
                    and node.attr == name
                    and root_name(node) in _module_names(tree)
                ):
                    yield tree, node

    def imported_elsewhere(self, path: str, name: str) -> bool:
        """True where another file takes this name from the module at ``path``."""
        stem = _stem(path)
        taking = re.compile(
            rf"\bfrom\s+[\w.]*\b{re.escape(stem)}\s+import\b[^\n]*(?:\b{re.escape(name)}\b|\*|\()|\b{re.escape(stem)}\.{re.escape(name)}\b"
        )
        return any(
            other != path and stem in self._in_imports(other) and taking.search(self._text(other))
            for other in self.everywhere
        )

    def _text(self, path: str) -> str:
        """A file's text, empty where it cannot be read."""
        try:
            return self.text(path)
        except BadInput:
            return ""

    def _in_imports(self, path: str) -> frozenset[str]:
        """The words of a file's import statements."""
        if path not in self._words:
            found = " ".join(_IMPORTS.findall(self._text(path)))
            self._words[path] = frozenset(_WORDS.findall(found))
        return self._words[path]

    def called_in(self, tree: Tree, function: Function, depth: int = 3) -> list[Function]:
        """A function and those of the same file that it calls by name, a few calls deep."""
        found, level = [function], [function]
        for _ in range(depth):
            names = {name for f in level for name in tree.called_by(f)}
            level = [f for name in sorted(names) for f in tree.by_name.get(name, ()) if f not in found]
            level = [f for f in level if isinstance(f, ast.FunctionDef)]
            found += level
        return found


def _stem(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").rpartition("/")[2]


def imported(tree: Tree) -> set[str]:
    """The top-level names of everything this file imports."""
    names: set[str] = set()
    for node in tree.imports:
        if isinstance(node, ast.Import):
            names.update(a.name.partition(".")[0] for a in node.names)
        elif not node.level:
            names.add((node.module or "").partition(".")[0])
    return names


def _module_names(tree: Tree) -> set[str]:
    """Names that an import binds, so that ``name.f`` may be a function of that module."""
    return {a.asname or a.name.partition(".")[0] for node in tree.imports for a in node.names}


def _taken_from(tree: Tree, stem: str, name: str) -> set[str]:
    """What a file calls the function ``name`` that it imports from a module of that name, or from its package."""
    names: set[str] = set()
    for node in tree.imports:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if alias.name == name:
                    names.add(alias.asname or name)
                elif alias.name == "*" and (node.module or "").rpartition(".")[2] == stem:
                    names.add(name)
    return names
