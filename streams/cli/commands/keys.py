"""Command: keys."""

import json
import os
import secrets
from base64 import b64encode
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from segue.streams.cli.terminal import say
from segue.streams.security.encryption import KEY_BYTES, KeyFile
from segue.topics import codec
from segue.topics.errors import BadInput


@click.group()
def keys() -> None:
    """Create keys that encrypt records, state and objects. SEGUE_ENCRYPTION_KEYS names their file."""


@keys.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--tenant", help="Use the key only for tasks of this tenant.")
@click.option(
    "--id", "key_id", help="The key's id, which every record that it encrypts contains; a date if not given."
)
def add(file: Path, tenant: str | None, key_id: str | None) -> None:
    """Create a key and add it to FILE as the newest, which encrypts from now on. Print its id, never the key.

    FILE is created if it does not exist; only its owner can read it. Copy it to every worker before one of
    them restarts: workers read it when they start, and when they find a key id that they do not know.

    \b
    segue keys add keys.json
    segue keys add keys.json --tenant acme
    """
    written = _written(file)
    taken = {name for group in (written["keys"], *written["tenants"].values()) for name in group}
    key_id = key_id or _dated(taken, tenant)
    if key_id in taken:
        raise BadInput(f"a key {key_id!r} exists already: give another id with --id")
    group: dict[str, str] = written["tenants"].setdefault(tenant, {}) if tenant else written["keys"]
    group[key_id] = b64encode(secrets.token_bytes(KEY_BYTES)).decode()
    _write(file, written)
    say(key_id)


def _written(file: Path) -> dict[str, Any]:
    written: dict[str, Any] = {"keys": {}, "tenants": {}}
    if file.exists():
        KeyFile.read(file)
        written |= json.loads(file.read_bytes())
    return written


def _dated(taken: set[str], tenant: str | None) -> str:
    whose = f"{tenant}-" if tenant and tenant.isascii() and tenant.isalnum() else ""
    day = f"{whose}{datetime.now(UTC):%Y-%m-%d}"
    return next(name for n in count(1) if (name := day if n == 1 else f"{day}.{n}") not in taken)


def _write(file: Path, content: dict[str, Any]) -> None:
    """Validate the content and replace the file in one step, so that no worker reads half of it."""
    if not content["keys"]:
        raise BadInput(
            "the file has no key for tasks without a tenant, which must come first: leave out --tenant"
        )
    try:
        KeyFile.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise BadInput(codec.describe(error)) from None
    new = file.with_name(f"{file.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        json.dump(content, out, indent=2)
    new.replace(file)
