"""Command: completion."""

import click
from click.shell_completion import get_completion_class

from segue.streams.cli.terminal import say


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash:  eval "$(segue completion bash)"                           in ~/.bashrc
    zsh:   eval "$(segue completion zsh)"                            in ~/.zshrc
    fish:  segue completion fish > ~/.config/fish/completions/segue.fish
    """
    from segue.streams.cli import main

    kind = get_completion_class(shell)
    assert kind is not None
    say(kind(main, {}, "segue", "_SEGUE_COMPLETE").source())
