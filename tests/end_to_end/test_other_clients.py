"""The main job and stored completions through clients other than the newest Python SDK.

Each is a program that runs in an environment of its own: the oldest Python SDK that is supported,
the oldest that knows stored completions, the package for Node, LangChain and LiteLLM.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.embedded import CHAT, EMBEDDING
from tests.support.running_engine import RunningEngine
from tests.support.sdk_variants import VARIANTS
from tests.support.serving import Serving
from tests.support.stored_chats import SEEN

ROOT = Path(__file__).parents[2]
NODE = Path(__file__).parent / "node"


def told(*command: str | Path, **environment: str) -> dict[str, Any]:
    """What a program printed as JSON, once it ended well."""
    done = subprocess.run(
        [*map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


def told_by(program: str, *arguments: str | Path) -> dict[str, Any]:
    """What a Python program printed; it ran with what `make setup` installed for its folder."""
    folder = ROOT / ".venv" / program.partition(".")[0]
    assert folder.is_dir(), f"{folder.name} is not here: make setup"
    # LiteLLM would otherwise fetch a list of prices when it is imported
    environment = {"PYTHONPATH": str(folder), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    module = f"tests.end_to_end.{program}"
    return told(sys.executable, "-m", module, *arguments, **environment)


@pytest.fixture
def ready_file(served: Serving, tmp_path: Path) -> Path:
    """Where a program reads address and key."""
    file = tmp_path / "ready.json"
    file.write_text(json.dumps(served.ready))
    return file


def assert_inference(seen: dict[str, Any]) -> None:
    assert "Paris" in seen["chat"]
    assert seen["streamed"] == seen["chat"]
    assert seen["embedding"] == 384
    assert {CHAT, EMBEDDING} <= set(seen["models"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_oldest_python_sdk_does_the_main_job(ready_file: Path, variant: str):
    seen = told_by("oldest_sdk.main_job", ready_file, variant)

    assert seen["version"].startswith("1.61.")
    both = ["api-key", "authorization"]
    assert seen["auth"] == (both if "azure" in variant else ["authorization"])
    assert seen["files"] == {
        "newest first": True,
        "none twice": True,
        "waited for": "processed",
        "content": "text",
        "deleted": [True, True, True],
    }
    assert seen["upload"] == {"status": "completed", "content": "helloworld"}
    assert seen["batch"] == {"status": "completed", "answered": "one", "newest first": True}
    assert_inference(seen["inference"])
    assert seen["refusals"] == {"status": 404, "request_id": True}


@pytest.mark.parametrize("variant", ["azure", "openai"])
def test_the_package_for_node_does_the_main_job(ready_file: Path, variant: str):
    assert (NODE / "node_modules").is_dir(), "The package for Node is not here: make setup"
    node = Path(sys.executable).with_name("node")

    seen = told(node, NODE / "main_job.mjs", ready_file, variant)

    assert seen["files"] == {
        "waited for": "processed",
        "content": "text",
        "newest first": True,
        "deleted": True,
    }
    assert seen["upload"] == {"status": "completed", "content": "helloworld"}
    assert seen["batch"] == {"status": "completed", "answered": "one", "newest first": True}
    assert_inference(seen["inference"])
    assert seen["stored"] == SEEN | {"found by a client of the deployment": True}
    assert seen["refusals"] == {"not found": True, "request_id": True}


def test_the_sdk_1_66_stores_completions_and_looks_through_them(ready_file: Path):
    seen = told_by("sdk_1_66.stored_completions", ready_file)

    assert seen["version"] == "1.66.0"
    for variant in VARIANTS:
        plain = "/openai/chat/completions" if "azure" in variant else "/openai/v1/chat/completions"
        assert seen["clients"][variant] == {"seen": SEEN, "lists": [plain]}
        if "azure" in variant:
            under = f"/openai/deployments/{CHAT}/chat/completions"
            of_deployment = seen["clients"][f"{variant}, of a deployment"]
            assert of_deployment == {"seen": SEEN, "lists": [under]}


def test_langchain_asks_stores_embeds_and_wants_structure_and_tools(
    ready_file: Path, upstream: RunningEngine
):
    seen = told_by("frameworks.langchain_chats", ready_file)

    inference = seen["inference"]
    assert "Paris" in inference["chat"]
    assert inference["streamed"] == inference["chat"]
    assert inference["usage"] == [True]
    assert seen["stored"] == {"whole, streamed": True, **SEEN}
    assert seen["embedding"] == 384
    city = {"name": "Paris", "country": "France"}
    assert seen["structured"] == {"json_schema": city, "json_mode": city}
    assert seen["with tools"] == [{"name": "add", "args": {"one": 1, "other": 2}}]
    asked = upstream.logged()[-1]["body"]
    assert asked["tools"][0]["function"]["name"] == "add"
    assert asked["tool_choice"] == {"type": "function", "function": {"name": "add"}}


def test_litellm_asks_stores_and_embeds(ready_file: Path):
    seen = told_by("frameworks.litellm_chats", ready_file)

    inference = seen["inference"]
    assert "Paris" in inference["chat"]
    assert inference["streamed"] == inference["chat"]
    assert inference["embedding"] == 384
    assert seen["stored"] == SEEN
    assert seen["refusal"] == {"status": 404}
