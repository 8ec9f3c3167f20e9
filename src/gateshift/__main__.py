"""`python -m gateshift`."""

from gateshift.cli import main

main()
