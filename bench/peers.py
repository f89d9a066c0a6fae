"""Peers: other servers that run batches or pass chats on, each in an environment of its own.

They are installed once into ``bench/.peers`` with every version pinned (``bench/peers/*.txt``). A
peer that cannot be installed or started is an error: a comparison is never skipped.
"""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import openai

from bench.processes import Process, answers, free_port, started, wait_until
from bench.results import ROOT

_PINS = ROOT / "bench" / "peers"
_INSTALLED = ROOT / "bench" / ".peers"


@dataclass(frozen=True)
class Peer:
    """A running peer: its base URL, the name it knows the engine's model by, its process."""

    name: str
    base_url: str
    model: str
    process: Process
    api_key: str = "none"

    def sdk(self) -> openai.OpenAI:
        """The official client, as for our own server."""
        return openai.OpenAI(base_url=self.base_url, api_key=self.api_key, max_retries=0)


@contextmanager
def aibrix(folder: Path) -> Iterator[Peer]:
    """AIBrix's metadata service with its echo engine in the same process.

    Without Kubernetes it runs batches only so (``--dry-run``); no request leaves the process,
    which spares it the HTTP call that all others make.
    """
    port, log = free_port(), folder / "aibrix.log"
    command = [str(_installed("aibrix", "3.11", "3.12", "3.13") / "aibrix_metadata")]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dry-run"]
    environment = {"STORAGE_LOCAL_PATH": str(folder / "aibrix")}
    with started(command, log, environment=environment) as process:
        wait_until(lambda: answers(port), process, log)
        yield Peer("AIBrix 0.8.0", f"http://127.0.0.1:{port}/v1", "scripted", process)


@contextmanager
def ogx(folder: Path, engine_url: str, *, is_tuned: bool) -> Iterator[Peer]:
    """OGX with its reference batches over the engine at `engine_url`.

    As it ships it stores each answer as a chat completion too, and asks ten requests at once;
    tuned, it stores nothing twice and asks as many as the ideal client.
    """
    folder = folder / ("ogx-tuned" if is_tuned else "ogx")
    port, log, config = free_port(), folder / "ogx.log", folder / "ogx.yaml"
    config.parent.mkdir(parents=True, exist_ok=True)
    template = (_PINS / "ogx.yaml").read_text()
    config.write_text(
        template.replace("$ENGINE_URL", engine_url)
        .replace("$FOLDER", str(folder))
        .replace("$PORT", str(port))
        .replace("$AT_ONCE", "64" if is_tuned else "10")
        .replace("$STORE", "false" if is_tuned else "true")
    )
    command = [str(_installed("ogx", "3.12", "3.13") / "ogx"), "run", str(config), "--insecure"]
    with started(command, log, environment={"SQLITE_STORE_DIR": str(folder)}) as process:
        wait_until(lambda: answers(port), process, log)
        name = "OGX 1.5.0, tuned" if is_tuned else "OGX 1.5.0"
        yield Peer(name, f"http://127.0.0.1:{port}/v1", "vllm/scripted", process)


@contextmanager
def litellm(folder: Path, engine_url: str) -> Iterator[Peer]:
    """LiteLLM's proxy in front of the engine at `engine_url`, in one process and production mode.

    It checks one key and has no database, which spares it what most of its users have it do.
    """
    port, log, config = free_port(), folder / "litellm.log", folder / "litellm.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    config.write_text((_PINS / "litellm.yaml").read_text().replace("$ENGINE_URL", engine_url))
    command = [str(_installed("litellm", "3.12", "3.13") / "litellm"), "--config", str(config)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    api_key = f"sk-{secrets.token_hex(32)}"
    environment = {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR"}
    environment |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": api_key}
    with started(command, log, environment=environment) as process:
        wait_until(lambda: answers(port), process, log)
        base_url = f"http://127.0.0.1:{port}/v1"
        yield Peer("LiteLLM 1.108.7", base_url, "scripted", process, api_key)


def trl() -> Path:
    """A folder for PYTHONPATH with TRL, to be used with our own PyTorch, transformers and PEFT."""
    folder = _INSTALLED / "trl"
    pins = _PINS / "trl.txt"
    stamp = folder / "installed.txt"
    if not stamp.exists() or stamp.read_text() != pins.read_text():
        print(f"installing trl into {folder.relative_to(ROOT)} …", flush=True)
        uv = str(Path(sys.executable).parent / "uv")
        command = [uv, "pip", "install", "--quiet", "--python", sys.executable]
        _checked([*command, "--target", str(folder), "--no-deps", "--requirement", str(pins)])
        stamp.write_text(pins.read_text())
    return folder


def llamaindex() -> Path:
    """The interpreter of an environment with LlamaIndex's ingestion."""
    return _installed("llamaindex", "3.12", "3.13", "3.11") / "python"


def _installed(name: str, *versions: str) -> Path:
    """The folder of a peer's commands, which it is installed into when it is not there."""
    environment = _INSTALLED / name
    pins = (_PINS / f"{name}.txt").read_text()
    stamp = environment / "installed.txt"
    if not stamp.exists() or stamp.read_text() != pins:
        print(f"installing {name} into {environment.relative_to(ROOT)} …", flush=True)
        uv = str(Path(sys.executable).parent / "uv")
        python = _python(uv, versions)
        _checked([uv, "venv", "--quiet", "--clear", "--python", python, str(environment)])
        # copies, as NLTK reads no file that has a second name
        requirements = [
            "--link-mode",
            "copy",
            "--no-deps",
            "--requirement",
            str(_PINS / f"{name}.txt"),
        ]
        _checked([uv, "pip", "install", "--quiet", "--python", str(environment), *requirements])
        stamp.write_text(pins)
    return environment / "bin"


def _python(uv: str, versions: tuple[str, ...]) -> str:
    """An interpreter of one of `versions`: of pyenv's, or whatever uv finds or can fetch."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for version in versions:
        for python in sorted(pyenv.glob(f"{version}.*/bin/python")):
            return str(python)
    for version in versions:
        asked = subprocess.run(
            [uv, "python", "find", "--no-python-downloads", version],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode == 0:
            return asked.stdout.strip()
    return versions[0]


def _checked(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
