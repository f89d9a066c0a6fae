"""What the pages for users show about chats and clients, run as it is printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.end_to_end.test_other_clients import NODE, ROOT
from tests.support.serving import Serving

PRINTED_ADDRESS, PRINTED_KEY = "http://127.0.0.1:8080", "…"
TUTORIAL = ("docs/tutorial.md", "README.md", "docs/how-to/stored-completions.md")
CLIENTS = ("docs/how-to/clients.md",)
HELD = ("docs/how-to/structured-output.md", "docs/how-to/tools.md")


def blocks(page: str, language: str) -> str:
    """All that a page shows in one language, as one program."""
    text, *_ = (ROOT / page).read_text(encoding="utf-8").split("\n## Distil")  # it wants many chats
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE))


@pytest.fixture
def environment(served: Serving) -> dict[str, str]:
    """What `eval $(linarite env)` makes of it."""
    return {
        "PATH": os.environ["PATH"],
        "AZURE_OPENAI_ENDPOINT": served.endpoint,
        "AZURE_OPENAI_API_KEY": served.ready["api_key"],
        "OPENAI_API_VERSION": served.ready["api_version"],
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "PYTHONPATH": str(ROOT / ".venv" / "frameworks"),
    }


def run(program: list[str | Path], folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [*map(str, program)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("pages", [TUTORIAL, CLIENTS, HELD], ids=["tutorial", "clients", "held"])
def test_what_is_shown_in_python_runs(
    served: Serving, environment: dict[str, str], tmp_path: Path, pages: tuple[str, ...]
):
    shown = "\n".join(blocks(page, "python") for page in pages)
    shown = shown.replace(PRINTED_ADDRESS, served.endpoint)
    shown = shown.replace(PRINTED_KEY, served.ready["api_key"])
    folder = tmp_path
    if pages == TUTORIAL:  # whose answers may be as long as they like
        shown = shown.replace("messages=[{", "max_tokens=4, messages=[{")
        folder = served.data.parent  # where the server was started

    run([sys.executable, "-W", "error", "-c", shown], folder, environment)


def test_what_is_shown_for_node_runs(environment: dict[str, str]):
    node = Path(sys.executable).with_name("node")
    shown = blocks("docs/how-to/clients.md", "js")

    run([node, "--input-type=module", "-e", shown], NODE, environment)
