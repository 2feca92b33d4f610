"""The logs of a rehearsal, played again in another process: for what is always the same in one.

That is the order of sets of strings, which goes by a seed of the process, and what modules made of the time
or of chance when they were imported. The other process imports the app, and is told the logs by its input.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from segue.processors.app.app import App
from segue.streams.testing.determinism_check import ADVICE, ensure_same
from segue.streams.testing.replay import Replay
from segue.topics import codec
from segue.topics.errors import BadInput, NotDurable
from segue.topics.flow import Decision, Publish, Received
from segue.topics.records import Record

PATIENCE_S = 60
"""To import the app and play its logs."""


class Played(NamedTuple):
    """What a task asked for, and why its log does not fit the workflow, if it does not."""

    asked: list[tuple[str, str, str]]
    unfit: str | None


def replay_elsewhere(app: App, logs: Mapping[str, list[Received]]) -> None:
    """Raises `NotDurable` where a task asks for something else there."""
    there = _played_there(_place(app), logs)
    for task, log in logs.items():
        ensure_same(task, _decision(played(app, log)), _decision(there[task]))
        if there[task].unfit is not None:
            raise NotDurable(
                f"task {task!r} is not deterministic: in another process {there[task].unfit}. {ADVICE}"
            )


def played(app: App, log: list[Received]) -> Played:
    replay = Replay(app, log)
    asked = [
        (publish.topic, publish.key, codec.encode(publish.value).decode())
        for step in replay
        for publish in step.asked
        if isinstance(publish.value, Record)
    ]
    return Played(asked, replay.parked.message if replay.parked else replay.different_ending)


def _decision(played: Played) -> Decision:
    return Decision(
        [Publish(topic, key, codec.decode(topic, said.encode())) for topic, key, said in played.asked]
    )


class Place(NamedTuple):
    """Where another process finds an app: `root` is the folder that its module's name counts from."""

    module: str
    attribute: str
    root: Path


def _place(app: App) -> Place:
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is None or name == "__main__":
            continue
        for attribute, value in list(vars(module).items()):
            if value is app:
                inner = name if Path(file).name != "__init__.py" else f"{name}.__init__"
                return Place(name, attribute, Path(file).parents[inner.count(".")])
    raise BadInput(
        f"app {app.name!r} must be a module's variable, so that another process can import it: app = App(…)"
    )


def _played_there(place: Place, logs: Mapping[str, list[Received]]) -> dict[str, Played]:
    told = {task: [[r.topic, (r.value or b"").decode()] for r in log] for task, log in logs.items()}
    ran = subprocess.run(
        [sys.executable, "-m", __name__, place.module, place.attribute],
        input=json.dumps(told),
        env=os.environ | {"PYTHONHASHSEED": _other_seed(), "PYTHONPATH": _path(place.root)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    if ran.returncode:
        raise BadInput(f"module {place.module!r} can't be replayed in another process:\n{ran.stderr}")
    answers: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return {task: Played([tuple(each) for each in asked], unfit) for task, (asked, unfit) in answers.items()}


def _other_seed() -> str:
    return "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"


def _path(root: Path) -> str:
    return os.pathsep.join(filter(None, [*sys.path, str(root)]))


def main(module: str, attribute: str) -> None:
    """In the other process. Whatever the app prints comes before the answer."""
    app: App = getattr(import_module(module), attribute)
    told: dict[str, list[tuple[str, str]]] = json.load(sys.stdin)
    print()
    print(json.dumps({task: played(app, list(map(_received, log))) for task, log in told.items()}))


def _received(record: tuple[str, str]) -> Received:
    topic, value = record
    return Received(topic, 0, 0, None, value.encode(), (), 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
