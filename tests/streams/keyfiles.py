"""Files of keys, for tests."""

import json
from base64 import b64encode
from pathlib import Path


def key(seed: int) -> str:
    return b64encode(bytes([seed]) * 32).decode()


def key_file(path: Path, *ids: str, **tenants: str) -> Path:
    """Each id is a key of its own, drawn from the id; a tenant has one."""
    written = {
        "keys": {name: key(sum(name.encode()) % 256) for name in ids},
        "tenants": {tenant: {name: key(sum(name.encode()) % 256)} for tenant, name in tenants.items()},
    }
    path.write_text(json.dumps(written))
    return path
