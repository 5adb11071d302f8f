"""What people call a request: its method, and its path as the app's author wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def route_of(scope: Mapping[str, Any]) -> str:
    """``GET /items/{id}`` where the framework has routed the request, else its path."""
    kind = scope.get("type")
    if kind == "lifespan":
        return "lifespan"
    template = _template(scope)
    path = template if isinstance(template, str) else scope.get("path", "")
    if isinstance(template, str) and scope.get("app_root_path", "") != scope.get("root_path", ""):
        path = str(scope.get("root_path", "")).removeprefix(str(scope.get("app_root_path", ""))) + template
    method = "WEBSOCKET" if kind == "websocket" else scope.get("method", "")
    return f"{method} {path}"[:300]


def _template(scope: Mapping[str, Any]) -> Any:
    """What is known of the route: FastAPI's, Litestar's, or only the endpoint, as plain Starlette leaves it."""
    fastapi = scope.get("fastapi")
    included = fastapi.get("effective_route_context") if isinstance(fastapi, dict) else None
    route = scope.get("route")
    if included is not None and getattr(included, "original_route", None) is route:
        # An included router keeps its routes without the prefix of the inclusion; this has both.
        route = getattr(included, "starlette_route", None) or included
    found = getattr(route, "path", None) or scope.get("path_template")
    endpoint = scope.get("endpoint")
    if found or endpoint is None:
        return found
    for candidate in getattr(scope.get("router"), "routes", ()):
        if getattr(candidate, "endpoint", None) is endpoint:
            return getattr(candidate, "path", None)
    return None
