"""The main job through the oldest Python SDK that is supported, and through the one for Node."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.embedded import CHAT, EMBEDDING
from tests.support.sdk_variants import VARIANTS
from tests.support.serving import Serving

ROOT = Path(__file__).parents[2]
OLDEST_SDK = ROOT / ".venv" / "openai-oldest"
NODE = Path(__file__).parent / "node"


def told(*command: str | Path, **environment: str) -> dict[str, Any]:
    """What a program printed as JSON, once it ended well."""
    done = subprocess.run(
        [*map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


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
    assert OLDEST_SDK.is_dir(), "The oldest SDK is not here: make setup"
    program = ("-m", "tests.end_to_end.oldest_sdk.main_job", ready_file, variant)
    seen = told(sys.executable, *program, PYTHONPATH=str(OLDEST_SDK))

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
    assert seen["refusals"] == {"not found": True, "request_id": True}
