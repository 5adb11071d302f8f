"""The interpreter the benchmark's apps run in: this package, and libraries that the package does not need itself.

Made once beside the repository's other environments; where the libraries are installed already, that is used.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

LIBRARIES = ("bcrypt", "numpy", "sqlalchemy")
HOME = Path(__file__).parents[1]


def interpreter() -> str:
    """The path of a Python that can import all of them; they are installed at the first call."""
    if all(importlib.util.find_spec(name) for name in LIBRARIES):
        return sys.executable
    folder = HOME / ".matrix" / "bench"
    python = folder / "bin" / "python"
    if not python.exists():
        uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(folder)], check=True)
        subprocess.run(
            [uv, "pip", "install", "-q", "--python", str(python), "-e", f"{HOME}[all]", *LIBRARIES], check=True
        )
    return str(python)
