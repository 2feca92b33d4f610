"""`python -m segue.streams.cli`: the same as `segue`."""

from segue.streams.cli import main

main(prog_name="segue")
