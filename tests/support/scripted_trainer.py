"""A trainer that learns nothing and tells what its script says: ``python -m … SCRIPT FOLDER``.

It keeps to what a training command promises: one copy a folder, a log of whole lines, checkpoints
in place before they are told, a state that it goes on from, 75 after SIGTERM. SCRIPT is JSON:

    epochs, steps_per_epoch   how much there is to do (2 of 5)
    seconds                   how long a step takes (0)
    adapter                   the PEFT folder that every checkpoint is a copy of
    state_every               steps between states (1)
    messages                  [[level, text], …] before the plan
    fail                      {code, message, param} instead of a plan
    fail_at                   the step after which `fail` is told instead
    wait_at                   the step before which it waits for FOLDER/go; 0: before the plan, one
                              more than there are: before its end
    deaths                    {moment: how often}: kill -9 of itself there, once told; moments are
                              start, step N, torn N, checkpoint N (before it is told), end
    exit                      an exit code to end with at once, telling nothing in its log
"""

import fcntl
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any


class Trainer:
    """One run of the trainer."""

    def __init__(self, script: dict[str, Any], folder: Path) -> None:
        self.script = script
        self.folder = folder
        self.spec = json.loads((folder / "spec.json").read_text())
        self.log = folder / "log.jsonl"
        self.stopping = False
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def run(self) -> int:
        script = self.script
        if "exit" in script:
            sys.stderr.write("Leaving.\n")
            return int(script["exit"])
        self._cut_torn_line()
        if self._has_ended():
            return 0
        self._die("start")
        step = self._state()
        if step == 0:
            for level, text in script.get("messages", ()):
                self._tell("message", level=level, message=text)
        if "fail" in script and "fail_at" not in script:
            self._tell("failed", **script["fail"])
            return 0
        if script.get("wait_at") == 0 and not self._wait(0):
            return 75
        per_epoch = script.get("steps_per_epoch", 5)
        epochs = self.spec["hyperparameters"]["n_epochs"] or script.get("epochs", 2)
        steps = epochs * per_epoch
        self._tell("plan", hyperparameters=self._plan(epochs), steps=steps, examples=10)
        while step < steps:
            step += 1
            if not self._wait(step):
                return 75
            self._step(step, steps, is_last=step % per_epoch == 0)
            if step == script.get("fail_at"):
                self._tell("failed", **script["fail"])
                return 0
            if step % per_epoch == 0:
                self._checkpoint(step, step // per_epoch)
            if step % script.get("state_every", 1) == 0:
                self._keep_state(step)
        if script.get("wait_at") == steps + 1 and not self._wait(steps + 1):
            return 75
        self._die("end")
        self._tell("succeeded", trained_tokens=steps * 1_044)
        return 0

    def _plan(self, epochs: int) -> dict[str, float]:
        wanted = self.spec["hyperparameters"]
        plan = {
            "n_epochs": epochs,
            "batch_size": wanted["batch_size"] or 1,
            "learning_rate_multiplier": wanted["learning_rate_multiplier"] or 1.0,
        }
        if self.spec["method"] == "dpo":
            plan |= {"beta": wanted["beta"] or 0.1, "l2_multiplier": 0.5}
        return plan

    def _wait(self, step: int) -> bool:
        """Take the time of a step; False when it is to stop."""
        until = time.monotonic() + self.script.get("seconds", 0)
        while time.monotonic() < until or (
            step == self.script.get("wait_at") and not (self.folder / "go").exists()
        ):
            if self.stopping:
                break
            time.sleep(0.01)
        return not self.stopping

    def _step(self, step: int, steps: int, *, is_last: bool) -> None:
        self._die(f"torn {step}", torn=True)
        metrics = {"train_loss": 2 / (1 + step), "train_mean_token_accuracy": step / steps}
        if self.spec["validation_file"]:
            metrics |= {"valid_loss": 3 / (1 + step), "valid_mean_token_accuracy": 0.5}
        if is_last and self.spec["validation_file"]:
            metrics |= {"full_valid_loss": 2.5, "full_valid_mean_token_accuracy": 0.25}
        if self.spec["method"] == "dpo":
            metrics |= {"train_reward_margin": 0.1 * step, "train_reward_accuracy": 1.0}
        left = (steps - step) * self.script.get("seconds", 0)
        finish_at = int(time.time() + left)
        self._tell("step", step=step, epoch=1, metrics=metrics, finish_at=finish_at)
        self._die(f"step {step}")

    def _checkpoint(self, step: int, epoch: int) -> None:
        name = f"checkpoints/step-{step}"
        final = self.folder / name
        part = self.folder / "checkpoints" / f".step-{step}.part"
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(self.script["adapter"], part)
        shutil.rmtree(final, ignore_errors=True)
        part.rename(final)
        self._die(f"checkpoint {step}")
        self._tell("checkpoint", step=step, epoch=epoch, folder=name)

    def _state(self) -> int:
        path = self.folder / "state.json"
        return int(json.loads(path.read_text())["step"]) if path.exists() else 0

    def _keep_state(self, step: int) -> None:
        part = self.folder / ".state.part"
        part.write_text(json.dumps({"step": step}))
        part.replace(self.folder / "state.json")

    def _die(self, moment: str, *, torn: bool = False) -> None:
        """Be killed at this moment, as often as the script says."""
        often = self.script.get("deaths", {}).get(moment, 0)
        deaths = self.folder / f"deaths-{moment.replace(' ', '-')}"
        died = len(deaths.read_text()) if deaths.exists() else 0
        if died >= often:
            return
        deaths.write_text("x" * (died + 1))
        if torn:
            with self.log.open("ab") as log:
                log.write(b'{"kind": "step", "at": 17')
        os.kill(os.getpid(), signal.SIGKILL)

    def _cut_torn_line(self) -> None:
        if self.log.exists():
            text = self.log.read_bytes()
            with self.log.open("r+b") as log:
                log.truncate(text.rfind(b"\n") + 1)

    def _has_ended(self) -> bool:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return bool(lines) and json.loads(lines[-1])["kind"] in {"succeeded", "failed"}

    def _tell(self, kind: str, **fields: Any) -> None:
        line = json.dumps({"kind": kind, "at": int(time.time()), **fields})
        with self.log.open("a") as log:
            log.write(line + "\n")


def main() -> int:
    script, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 76
        return Trainer(script, folder).run()


if __name__ == "__main__":
    sys.exit(main())
