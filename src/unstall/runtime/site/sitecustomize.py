"""Runs at the start of every Python under `unstall run`: the `sitecustomize` it hides first, then our hook."""

import os
import sys


def _chain(here: str) -> None:
    """Run the `sitecustomize` that would have been found without ours."""
    import importlib.machinery
    import importlib.util

    others = [p for p in sys.path if os.path.abspath(p) != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


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
