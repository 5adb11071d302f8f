"""A cause with how sure it is and why, in the words of the screen and of the JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

CERTAIN, LIKELY, UNKNOWN = "certain", "likely", "unknown"

# cause -> (what happened, what to do next). The order is the order of the documentation.
CAUSES: dict[str, tuple[str, str]] = {
    "loop-blocked": (
        "the event loop was blocked, so nobody answered the probe",
        "find the call with `unstall check`; to have its line next time, start the app with `unstall run --`",
    ),
    "loop-blocked-readiness": (
        "the event loop was blocked and the pod left its service; nothing was restarted",
        "find the call with `unstall check`; to have its line next time, start the app with `unstall run --`",
    ),
    "slow-start": (
        "the start takes longer than its probe allows",
        "give the startup probe more failures: failureThreshold x periodSeconds must exceed the slowest start",
    ),
    "threadpool-exhausted": (
        "all threads were busy, so a `def` health endpoint waited for one; the loop was free",
        "make the health endpoint `async def`, and bound or shorten the calls that fill the thread pool",
    ),
    "cpu-throttled": (
        "the CPU limit stopped the process, so the probe waited",
        "raise or remove the CPU limit, or allow the probe a longer timeoutSeconds",
    ),
    "probe-misconfigured": (
        "the probe asks for something the app does not have",
        "correct the probe's path, port or scheme",
    ),
    "health-says-no": (
        "the app answered that it is not healthy",
        "ask dependencies in the readiness probe only: a restart does not mend a database",
    ),
    "oom": (
        "the kernel killed it at its memory limit",
        "raise the memory limit, or find what grows",
    ),
    "crash": (
        "the program ended by itself",
        "read the last lines of its log: kubectl logs --previous",
    ),
    "sigterm-not-by-probe": (
        "something other than a probe sent SIGTERM and the server shut down cleanly",
        "look for who signals it: a supervisor, a memory guard, max-requests, or a person in the container",
    ),
    "deleted": (
        "the pod was deleted: no probe restarted it",
        "nothing, where a rollout, a drain or a person did it on purpose",
    ),
    "job-failed": (
        "the job's program ended with an error",
        "read the last lines of its log: kubectl logs job/NAME",
    ),
    "image-pull": (
        "the image cannot be pulled",
        "correct the image's name or tag, or its imagePullSecrets",
    ),
    "config-error": (
        "the container cannot be created as it is described",
        "create or correct what the message names",
    ),
    "node-restart": (
        "the node or its container runtime restarted",
        "nothing in the app: see kubectl describe node",
    ),
    "kubelet-restart": (
        "the node's kubelet was away and came back; the container was not restarted",
        "nothing in the app: see kubectl describe node",
    ),
    "healthy": ("nothing was restarted", "nothing"),
    "unknown": (
        "the records cannot tell",
        "look again within the hour of the next restart, while its events live",
    ),
}


@dataclass(frozen=True, slots=True)
class Opinion:
    """A cause, how sure it is, and why. ``candidates`` are the causes the records leave open where it is
    unknown; ``also`` are causes of earlier ends or of trouble beside this one."""

    cause: str
    confidence: str = CERTAIN
    evidence: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    next: str = ""

    def because(self, *more: str) -> Opinion:
        """The same with more evidence; empty sentences are left out."""
        kept = tuple(text for text in more if text and text not in self.evidence)
        return replace(self, evidence=self.evidence + kept)


def unknown(candidates: Iterable[str], *evidence: str) -> Opinion:
    """The records leave several causes open; the likeliest first."""
    return Opinion("unknown", UNKNOWN, evidence, tuple(candidates))
