"""Imports an app in a process of its own and tells its routes as JSON on standard output.

Run as ``python -m unstall.lab.inspect_app module:attribute [--factory]`` in the app's folder. The answer is
``{"routes": [[method, path], ...]}`` or ``{"error": ..., "hint": ..., "traceback": ...}``.
"""

from __future__ import annotations

import difflib
import importlib
import json
import sys
import traceback
from typing import Any

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class NoSuchApp(Exception):
    """The module has no such attribute; the text is the hint."""


def find_app(target: str, factory: bool) -> Any:
    """Import ``module:attribute``, as uvicorn would, calling it where it is a factory.

    Raises:
        NoSuchApp: the module has no such attribute; carries the hint.
        Exception: whatever the import raises.
    """
    module_name, _, attribute = target.partition(":")
    found: Any = importlib.import_module(module_name)
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise NoSuchApp(_did_you_mean(found, module_name, name))
        found = getattr(found, name)
    return found() if factory else found


def _did_you_mean(found: Any, module_name: str, name: str) -> str:
    apps = [key for key, thing in vars(found).items() if _looks_like_app(thing)]
    near = apps or difflib.get_close_matches(name, [key for key in vars(found) if not key.startswith("_")])
    return f"did you mean {module_name}:{near[0]}?" if near else "give it as module:attribute"


def _looks_like_app(thing: Any) -> bool:
    return not isinstance(thing, type) and hasattr(thing, "routes") and callable(thing)


def routes_of(app: Any) -> list[list[str]]:
    """Method and path of each route: from the OpenAPI document where there is one, else the route table."""
    found: list[list[str]] = []
    if callable(getattr(app, "openapi", None)):
        for path, methods in app.openapi().get("paths", {}).items():
            found += [[method.upper(), path] for method in methods if method.upper() in METHODS]
    found += _table(getattr(app, "routes", []), "")
    return [list(pair) for pair in dict.fromkeys(map(tuple, found))]


def _table(routes: Any, prefix: str) -> list[list[str]]:
    found: list[list[str]] = []
    for route in routes:
        path = prefix + (getattr(route, "path", None) or "")
        methods = getattr(route, "methods", None)
        if methods and path:
            found += [[method, path] for method in sorted(methods) if method != "HEAD"]
        elif getattr(route, "routes", None):
            found += _table(route.routes, path)
    return found


def main(arguments: list[str]) -> dict[str, Any]:
    """Import, look, answer; an app that cannot be imported is an answer too."""
    sys.path.insert(0, "")
    target = arguments[0]
    try:
        app = find_app(target, "--factory" in arguments)
        return {"routes": routes_of(app)}
    except NoSuchApp as error:
        return {"error": f"no app at {target}", "hint": str(error)}
    except ModuleNotFoundError as error:
        if error.name and target.partition(":")[0].startswith(error.name):
            return {
                "error": f"no module {error.name!r} for {target}",
                "hint": "run it in the folder of the app",
            }
        return _failed(target, error)
    except BaseException as error:
        return _failed(target, error)


def _failed(target: str, error: BaseException) -> dict[str, Any]:
    first = (str(error).splitlines() or [""])[0]
    return {
        "error": f"{target} cannot be imported: {type(error).__name__}: {first}",
        "traceback": traceback.format_exc(),
    }


if __name__ == "__main__":
    answer = sys.stdout
    sys.stdout = sys.stderr  # what the app prints at import is not the answer
    result = main(sys.argv[1:])
    answer.write("\n" + json.dumps(result) + "\n")
    answer.flush()
