"""`python -m unstall`."""

from unstall.cli import main

main()
