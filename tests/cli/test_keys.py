"""Keys are made into a file, and only there."""

import json
from pathlib import Path

from click.testing import CliRunner, Result

from segue.streams.cli import main
from segue.streams.security.encryption import Keys


def add(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["keys", "add", *arguments])


def test_the_last_key_that_was_added_is_the_newest_and_none_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    told = [add(str(file)), add(str(file)), add(str(file), "--tenant", "acme"), add(str(file), "--id", "x")]
    ids = [result.output.strip() for result in told]
    keys = Keys(file)
    assert (keys.newest(None), keys.newest("acme"), keys.newest("other")) == (ids[3], ids[2], ids[3])
    assert ids[1] == f"{ids[0]}.2"
    written = json.loads(file.read_text())
    every = [key for group in (written["keys"], *written["tenants"].values()) for key in group.values()]
    assert len(set(every)) == 4
    assert not any(key in result.output for key in every for result in told)
    assert file.stat().st_mode & 0o077 == 0


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    first = add(str(file), "--tenant", "acme")
    assert (first.exit_code, first.output) == (
        2,
        "segue: the file has no key for tasks without a tenant, which must come first: leave out --tenant\n",
    )
    assert not file.exists()
    add(str(file), "--id", "x")
    before = file.read_text()
    assert "a key 'x' exists already" in add(str(file), "--id", "x").output
    assert "String should match pattern" in add(str(file), "--tenant", "a/b").output
    assert file.read_text() == before
