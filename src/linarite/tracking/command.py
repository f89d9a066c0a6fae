"""``python -m linarite.tracking``: tell Weights & Biases of one run, as the parent process says.

The two speak in lines of JSON. This one asks, and the parent answers once it has something; what
is never sent unasked can fill no pipe, and what is asked for by number is told once.

    parent  {"run": …, "attempt": …, "api_key": …}
    child   {"kind": "loaded"}
    child   {"kind": "begun", "url": …}
    child   {"kind": "wants", "after": 0}
    parent  {"steps": [[1, {…}], [2, {…}]]}
    child   {"kind": "wants", "after": 2}
    parent  {"end": {"exit_code": 0, "summary": {…}}}
    child   {"kind": "ended"}

Instead of any line the child may say ``{"kind": "failed", "message": …}``, its last. It ends at
once, and without ending the run, when the parent is gone: another goes on with it.
"""

import json
import os
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from linarite.tracking.run import Attempt, Run


class Parent:
    """The process that started this one, at the other ends of standard input and output."""

    def __init__(self) -> None:
        self._voice = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)  # what wandb prints is not for the parent
        self._lines: SimpleQueue[str] = SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def hear(self) -> dict[str, Any]:
        """What it says next."""
        said: dict[str, Any] = json.loads(self._lines.get())
        return said

    def tell(self, kind: str, **fields: Any) -> None:
        """Tell it something."""
        self._voice.write(json.dumps({"kind": kind, **fields}) + "\n")

    def _listen(self) -> None:
        for line in sys.stdin:
            self._lines.put(line)
        os._exit(1)


def main() -> int:
    """Run the command.

    Returns:
        The exit status; how it went was told to the parent.
    """
    parent = Parent()
    asked = parent.hear()
    attempt = {**asked["attempt"], "folder": Path(asked["attempt"]["folder"])}

    import wandb  # late: it loads for seconds, and the parent may be gone by then

    parent.tell("loaded")
    try:
        _track(parent, Run(**asked["run"]), Attempt(**attempt), asked["api_key"])
    except (wandb.Error, OSError, ValueError, RuntimeError) as error:
        parent.tell("failed", message=f"{type(error).__name__}: {error}")
    os._exit(0)  # what wandb does at exit would end the run once more, for as long as it likes


def _track(parent: Parent, run: Run, attempt: Attempt, api_key: str | None) -> None:
    import wandb

    begun = wandb.init(
        id=run.id,
        project=run.project,
        name=run.name,
        entity=run.entity,
        tags=run.tags,
        config=dict(run.config),
        dir=attempt.folder,
        mode=attempt.mode,
        resume="allow" if attempt.mode == "online" else None,
        settings=_settings(attempt, api_key),
    )
    parent.tell("begun", url=begun.url)
    after = begun.starting_step - 1
    while True:
        parent.tell("wants", after=after)
        answer = parent.hear()
        if "end" in answer:
            break
        for step, metrics in answer["steps"]:
            begun.log(metrics, step=step, commit=True)
            after = step
    begun.summary.update(answer["end"]["summary"])
    begun.finish(exit_code=answer["end"]["exit_code"])
    parent.tell("ended")


def _settings(attempt: Attempt, api_key: str | None) -> Any:
    """Tell of the run alone, not of this machine, its code or its processes."""
    import wandb

    return wandb.Settings(
        api_key=api_key,
        base_url=attempt.base_url,
        init_timeout=attempt.connect_seconds,
        finish_timeout=attempt.finish_seconds,
        finish_timeout_raises=True,
        console="off",
        silent=True,
        disable_git=True,
        disable_code=True,
        save_code=False,
        host="linarite",
        program="linarite",
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
    )
