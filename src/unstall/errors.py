"""The errors people can meet, each with what failed, where, and what to do next.

UnstallError
├── BadInput            a flag, file, app or manifest that cannot be used (exit status 2)
│   ├── AppNotFound     the app could not be imported or started
│   ├── BadManifest     Kubernetes would refuse it, or there is no probe in it
│   └── BadFile         a result, record or baseline that cannot be read
├── MissingExtra        an optional dependency is not installed
└── OutOfOrder          the kubelet was told something that cannot be (a fault of its driver)
"""

from __future__ import annotations


class UnstallError(Exception):
    """Base of all errors raised on purpose.

    ``message`` says what happened and where, ``hint`` what to change.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n  {self.hint}"


class BadInput(UnstallError):
    """Something given by the user cannot be used; the hint names the flag or key to change."""


class AppNotFound(BadInput):
    """The application under test could not be imported or never opened its port."""


class BadManifest(BadInput):
    """A manifest that Kubernetes would refuse or that lacks what was asked of it."""


class BadFile(BadInput):
    """A file of ours (result, record, baseline) that is damaged or of a newer schema."""


class MissingExtra(UnstallError):
    """A command needs an optional dependency: says which extra to install."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} is not installed", f"install it with: pip install 'unstall[{extra}]'")


class OutOfOrder(UnstallError):
    """The kubelet machine was told something that cannot be: time went back, or an answer nobody asked for."""
