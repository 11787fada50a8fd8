"""`python -m tinycdp`."""

from tinycdp.cli import main

main()
