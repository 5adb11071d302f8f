"""What a container's ``started`` and ``ready`` are in the pod's status.

container      startup result   startup worker   ->  started
not running    any              any                  no
running        Success          any                  yes
running        other            any                  no
running        none yet         there is one         no
running        none             there is none        yes

started        readiness result readiness worker ->  ready, and what else happens
no             any              any                  no
yes            Success          any                  yes
yes            other, none yet  there is one         no, and it is triggered to probe at once
yes            none             there is none        yes
"""

from __future__ import annotations

from unstall.kubelet.wishes import Value


def is_started(running: bool, startup: Value | None, has_startup: bool) -> bool:
    """``startup`` is the cached value about this container, ``has_startup`` whether there is a worker."""
    if not running:
        return False
    return startup is Value.SUCCESS if startup is not None else not has_startup


def is_ready(started: bool, readiness: Value | None, has_readiness: bool) -> tuple[bool, bool]:
    """Whether the container is ready, and whether its readiness worker is triggered now."""
    if not started:
        return False, False
    ready = readiness is Value.SUCCESS or not has_readiness
    return ready, not ready
