"""Runs at the start of every Python under `unstall run`: the `sitecustomize` it hides first, then our hook."""

import os
import sys


def _chain(here: str) -> None:
    """Run the `sitecustomize` that would have been found without ours, each once: others chain on to us as well."""
    import importlib.machinery
    import importlib.util

    ran = vars(sys).setdefault("_unstall_sites", set())
    ran.update((__file__, getattr(sys.modules.get("sitecustomize"), "__file__", None)))
    for folder in [p for p in sys.path if os.path.abspath(p) != here]:
        spec = importlib.machinery.PathFinder.find_spec("sitecustomize", [folder])
        if spec is None or spec.loader is None or spec.origin in ran:
            continue
        ran.add(spec.origin)
        module = importlib.util.module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)
        return


def _hook(here: str) -> None:
    """Load `unstall` from beside this file, wherever the app's own interpreter looks for packages."""
    import importlib
    import importlib.util

    package = os.path.dirname(os.path.dirname(here))
    if importlib.util.find_spec("unstall") is None:
        spec = importlib.util.spec_from_file_location(
            "unstall", os.path.join(package, "__init__.py"), submodule_search_locations=[package]
        )
        if spec is None or spec.loader is None:
            return
        module = importlib.util.module_from_spec(spec)
        sys.modules["unstall"] = module
        spec.loader.exec_module(module)
    importlib.import_module("unstall.runtime.inject").install()


_here = os.path.dirname(os.path.abspath(__file__))
if os.environ.get("UNSTALL_DISABLE") != "1":
    try:
        _hook(_here)
    except Exception as error:
        sys.stderr.write(f"unstall: not watching: {error}\n")
# Last, and outside any guard: what it raises is the user's to see, as it would be without us.
_chain(_here)
