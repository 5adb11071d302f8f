"""The wrappers and the loops' watch of this process: put in place once, however many pytest sessions ask."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from unstall import catalogue
from unstall.pytest_plugin import primitives
from unstall.pytest_plugin.loops import Loops
from unstall.pytest_plugin.patches import Patches
from unstall.source.settings import find_settings

if TYPE_CHECKING:
    from unstall.catalogue import Catalogue
    from unstall.pytest_plugin.libraries import Libraries


class Watch:
    """What is in place in this process."""

    def __init__(self) -> None:
        self.patches = Patches()
        self.loops = Loops()
        self.rows: Catalogue | None = None
        self._table: dict[str, Any] = {}
        self._libraries: Libraries | None = None
        self._users = 0

    def install(self, root: Path, notes: bool = False) -> None:
        """Wrap, unless that is done; the catalogue is extended by ``[tool.unstall]`` at or above ``root``."""
        if self.rows is not None:
            return
        from unstall.pytest_plugin.libraries import Libraries

        self.rows = catalogue.load()
        found = find_settings(root)
        if found is not None:
            self._table = found[1]
            said = [tuple(self._table.get(key, ())) for key in ("extend-blocking", "allow", "offload")]
            self.rows = self.rows.extended(*said) if any(said) else self.rows
        self.loops.install(self.patches)
        primitives.install(self.patches)
        self.patches.aliases()
        self._libraries = Libraries(self.rows, self.patches, notes)
        self._libraries.install()

    def selects(self, rule: str) -> bool:
        """True where ``select`` and ``ignore`` of ``[tool.unstall]`` leave this rule in."""
        select, ignore = self._table.get("select", ()), self._table.get("ignore", ())
        return (not select or rule.startswith(tuple(select))) and not rule.startswith(tuple(ignore))

    def enter(self) -> None:
        """One more session uses what is in place."""
        self._users += 1

    def leave(self) -> None:
        """A session is over: with the last one everything is put back."""
        self._users -= 1
        if self._users <= 0 and self.rows is not None:
            assert self._libraries is not None
            self._libraries.uninstall()
            self.patches.undo()
            self.rows, self._libraries, self._users = None, None, 0


WATCH = Watch()
