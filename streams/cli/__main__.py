"""`python -m streams.cli`: the same as `segue`."""

from streams.cli import main

main(prog_name="segue")
