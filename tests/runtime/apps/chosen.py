"""An app that is watched by its own choice, with a health port of its own."""

from __future__ import annotations

import os

from healthy import app as plain

from unstall import watch

app = watch(plain, health_port=int(os.environ["CHOSEN_PORT"]))
