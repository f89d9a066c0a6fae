"""`linarite serve`: starting, refusing, restarting, ending."""

import os
import signal
import socket
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.support.embedded import engine_host
from tests.support.serving import Serving, is_alive, run_linarite, serving, wait_for

import linarite

OWNER_ONLY = 0o600


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("shared")) as running:
        yield running


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_ready_server_answers_where_its_ready_file_says(shared: Serving) -> None:
    assert shared.get("/readyz").status_code == 200
    assert shared.ready["api_version"] == "2025-02-01-preview"
    assert shared.ready["pid"] == shared.process.pid


def test_the_key_is_shown_once_and_kept_for_its_owner_alone(shared: Serving) -> None:
    kept = shared.data / "api-key"

    assert kept.read_text().strip() == shared.ready["api_key"]
    assert mode(kept) == mode(shared.data / "run" / "server.json") == OWNER_ONLY
    assert shared.log.read_text().count(shared.ready["api_key"]) == 1


def test_the_key_opens_the_api_and_another_does_not(shared: Serving) -> None:
    path = f"{shared.endpoint}/openai/files?api-version=2025-02-01-preview"

    assert httpx.get(path, headers={"api-key": "x" * 40}).status_code == 401
    assert httpx.get(path, headers={"api-key": shared.ready["api_key"]}).status_code != 401


def test_a_second_server_on_the_folder_is_refused(shared: Serving) -> None:
    second = run_linarite("serve", "--port", "0", "--data", shared.data)

    assert second.returncode == 1
    assert f"process {shared.process.pid}" in second.stderr
    assert str(shared.data) in second.stderr


def test_a_port_that_is_taken_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = run_linarite("serve", "--port", port, "--data", tmp_path / "data")

    assert refused.returncode == 1
    assert f"Port {port} of 127.0.0.1 is taken" in refused.stderr
    assert not (tmp_path / "data" / "linarite.sqlite3").exists()


def test_env_points_a_shell_at_the_running_server(shared: Serving) -> None:
    said = run_linarite("env", "--data", shared.data).stdout

    assert f"export AZURE_OPENAI_ENDPOINT={shared.endpoint};" in said
    assert f"export AZURE_OPENAI_API_KEY={shared.ready['api_key']};" in said
    assert "export OPENAI_API_VERSION=2025-02-01-preview;" in said


def test_env_refuses_where_no_server_runs(tmp_path: Path) -> None:
    refused = run_linarite("env", "--data", tmp_path)

    assert (refused.returncode, refused.stdout) == (1, "")
    assert "linarite serve" in refused.stderr
    assert "Serving" not in refused.stdout


def test_a_key_made_beside_the_server_opens_another_resource(shared: Serving) -> None:
    folder = ("--data", shared.data)
    key = run_linarite("keys", "create", "--resource", "team-a", *folder).stdout.strip()
    path = f"{shared.endpoint}/openai/files?api-version=2025-02-01-preview"

    assert httpx.get(path, headers={"api-key": key}).status_code != 401
    assert "team-a" in run_linarite("keys", "list", *folder).stdout
    assert run_linarite("keys", "revoke", "--resource", "team-a", *folder).returncode == 0
    assert "team-a" not in run_linarite("keys", "list", *folder).stdout


def test_a_resource_has_two_keys_at_most(shared: Serving) -> None:
    create = ("keys", "create", "--resource", "team-b", "--data", shared.data)

    assert run_linarite(*create).returncode == run_linarite(*create).returncode == 0
    third = run_linarite(*create)

    assert third.returncode == 1
    assert "--name key1" in third.stderr
    assert run_linarite(*create, "--name", "key2").returncode == 0


@pytest.mark.parametrize("kind", ["api", "worker", "engines"])
def test_a_process_that_dies_is_started_again(shared: Serving, kind: str) -> None:
    before = shared.processes()[kind]

    os.kill(before, signal.SIGKILL)

    wait_for(lambda: shared.processes()[kind] not in {0, before})
    wait_for(lambda: is_alive(shared.processes()[kind]))
    assert shared.get("/readyz").status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["sigterm", "sigint"])
def test_a_stopped_server_ends_cleanly_and_leaves_no_process(
    tmp_path: Path, number: signal.Signals
) -> None:
    with serving(tmp_path) as running:
        pids = running.processes().values()

        assert running.stop(number) == 0

    assert not any(map(is_alive, pids))
    assert not (tmp_path / "ready.json").exists()


def test_a_killed_server_takes_its_processes_along_and_starts_again(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        pids = running.processes().values()
        running.process.kill()
        running.process.wait()
        wait_for(lambda: not any(map(is_alive, pids)))
    (tmp_path / "ready.json").unlink()

    with serving(tmp_path) as again:
        assert again.ready["api_key"] == running.ready["api_key"]
        assert again.log.read_text().count(again.ready["api_key"]) == 1


def test_the_key_of_the_environment_wins_over_the_kept_one(tmp_path: Path) -> None:
    key = "a-key-of-the-operators-own"
    with serving(tmp_path, LINARITE_API_KEY=key) as running:
        assert running.ready["api_key"] == key
        assert running.get("/openai/files?api-version=2025-02-01-preview").status_code != 401
        assert not (running.data / "api-key").exists()


def test_a_key_that_is_too_short_is_refused() -> None:
    refused = run_linarite("serve", LINARITE_API_KEY="short")

    assert refused.returncode == 1
    assert "at least 16 characters" in refused.stderr


def test_an_ephemeral_server_leaves_nothing_behind(tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with serving(tmp_path, "--ephemeral", TMPDIR=str(temporary)) as running:
        assert list(temporary.glob("linarite-*/linarite.sqlite3"))
        running.stop()

    assert list(temporary.iterdir()) == []
    assert not (tmp_path / "data").exists()


def test_a_server_runs_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    with serving(tmp_path, LINARITE_DATABASE_URL=postgres_url) as running:
        assert running.get("/readyz").status_code == 200
        assert not (running.data / "linarite.sqlite3").exists()


def test_a_database_that_does_not_answer_is_named(tmp_path: Path) -> None:
    url = "postgresql://someone:secret@127.0.0.1:1/none"
    refused = run_linarite("serve", "--port", "0", "--data", tmp_path, LINARITE_DATABASE_URL=url)

    assert refused.returncode == 1
    assert "127.0.0.1:1/none" in refused.stderr
    assert "secret" not in refused.stderr


def test_self_signed_tls_is_trusted_through_the_local_authority(tmp_path: Path) -> None:
    with serving(tmp_path, "--tls", "self-signed") as running:
        authority = running.data / "tls" / "ca.pem"
        port = running.endpoint.rpartition(":")[2]

        trusting = ssl.create_default_context(cafile=authority)
        with httpx.Client(verify=trusting) as client:
            assert client.get(f"https://localhost:{port}/readyz").status_code == 200
            assert client.get(f"https://127.0.0.1:{port}/readyz").status_code == 200
        assert str(authority) in running.log.read_text()


def test_a_process_that_cannot_start_ends_the_server_with_its_reason(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("not a certificate")
    files = ("--tls-cert", tmp_path / "cert.pem", "--tls-key", tmp_path / "key.pem")

    refused = run_linarite("serve", "--port", "0", "--data", tmp_path / "data", *files)

    assert refused.returncode == 1
    assert "The api process does not start" in refused.stderr
    assert "PEM" in refused.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--tls", "magic"), "self-signed"),
        (("--tls-cert", "a.pem"), "go together"),
        (("--tls-cert", "a.pem", "--tls-key", "b.pem"), "There is no file a.pem"),
        (("--config", "none.toml"), "There is no settings file none.toml"),
        (("--port", "99999"), "server.port"),
    ],
    ids=["tls", "half a pair", "no file", "no config", "no port"],
)
def test_options_that_make_no_sense_are_refused(
    tmp_path: Path, options: tuple[str, ...], reason: str
) -> None:
    refused = run_linarite("serve", "--data", tmp_path / "data", *options)

    assert refused.returncode == 1
    assert reason in refused.stderr
    assert not (tmp_path / "data").exists()


def test_the_version_is_told() -> None:
    assert run_linarite("--version").stdout == f"Linarite {linarite.__version__}\n"


def test_a_server_beside_a_single_engine_host_is_refused(tmp_path: Path) -> None:
    with engine_host(tmp_path / "data"):
        refused = run_linarite("serve", "--port", "0", "--data", tmp_path / "data")

    assert refused.returncode == 1
    assert "`linarite engines` runs on" in refused.stderr


@pytest.mark.parametrize("kind", ["worker", "api"])
def test_a_single_kind_refuses_a_database_that_was_never_migrated(
    tmp_path: Path, kind: str
) -> None:
    port = ("--port", "0") if kind == "api" else ()
    refused = run_linarite(kind, "--data", tmp_path, *port)

    assert refused.returncode == 1
    assert "linarite serve" in refused.stderr


def test_a_deployment_of_a_model_that_is_not_there_is_refused_with_what_would_help(
    tmp_path: Path,
) -> None:
    settings = tmp_path / "linarite.toml"
    settings.write_text('[[deployments]]\nname = "chat"\nmodel = "no-such-model"\n')

    refused = run_linarite(
        "serve", "--port", "0", "--data", tmp_path / "data", "--config", settings
    )

    assert refused.returncode == 1
    assert "deployments.chat.model: The model 'no-such-model' does not exist" in refused.stderr
    assert "linarite models add" in refused.stderr
    assert "Traceback" not in refused.stderr + refused.stdout


def test_doctor_says_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        sick = run_linarite("doctor", "--data", tmp_path, LINARITE_SERVER__PORT=port)
    well = run_linarite("doctor", "--data", tmp_path, LINARITE_SERVER__PORT=port)

    assert (sick.returncode, well.returncode) == (1, 0)
    assert f"fail  Port {port}" in sick.stdout
    assert "linarite models pull" in well.stdout
