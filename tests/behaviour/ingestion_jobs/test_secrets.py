"""Secrets of jobs: hidden in answers, encrypted in rows, kept where the mask comes back."""

import copy
import logging
from dataclasses import replace

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from tests.support.clock import StandingClock
from tests.support.ingestion_jobs import (
    JOBS,
    KEY,
    RELATIVE,
    STRING,
    finish,
    pages,
    put,
    service,
    storage,
)

from linarite.indexing.failures import IngestionFailed
from linarite.resources.ingestion.definition import resolve
from linarite.resources.ingestion.repository import by_key, find_any_run
from linarite.resources.ingestion.specs import EmbeddedIndexSpec
from linarite.storage.secrets import Secrets
from linarite.storage.tables import ingestion_jobs, metadata


def lose_key(server, job_id):
    """Have the job's definition encrypted with a key that the server does not have."""
    sealed = Secrets(Fernet.generate_key()).seal("{}")
    with server.built.database.transaction() as tx:
        its = ingestion_jobs.c.id == job_id
        tx.execute(sa.update(ingestion_jobs).where(its).values(definition=sealed))


SECRETS = ("the-secret", "dGhlLXNlY3JldA==")
FULL = pages(
    searchServiceConnection=KEY,
    connection=STRING,
    embeddings=[{"connection": KEY, "deploymentName": "d"}],
)


def definition(server, run_id):
    """What the run works with."""
    with server.built.database.reading() as connection:
        run = find_any_run(connection, run_id)
    return service(server).definition(run).model_dump(mode="json", exclude_none=True)


def test_no_answer_and_no_row_has_a_secret(named, caller):
    answer = caller.put(f"{JOBS}/a-job", json=FULL)

    got = caller.get(f"{JOBS}/a-job")
    with named.built.database.reading() as connection:
        rows = [
            str(row)
            for table in (*metadata.sorted_tables, sa.table("workflow_status", sa.column("inputs")))
            for row in connection.execute(sa.select(table))
        ]
    assert any("a-job" in row for row in rows)
    for secret in SECRETS:
        assert secret not in answer.text + got.text + "".join(rows)
    assert got.json()["datasource"]["connection"]["connectionString"] == "***"


def test_no_log_has_a_secret_or_a_token(named, caller, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    tokens = {"mgmt-user-token": "a-token-of-arm", "aml-user-token": "a-token-of-aml"}
    bad = storage(KEY | {"endpoint": "nowhere"})

    for job in (FULL, bad, FULL | {"extra": 1}):
        answer = caller.put(f"{JOBS}/a-job", json=job, headers=tokens)
        for secret in (*SECRETS, *tokens.values()):
            assert secret not in answer.text
    assert caller.get(JOBS, headers=tokens).status_code == 200

    said = "".join(capfd.readouterr())
    ours = [one.getMessage() for one in caplog.records if not one.name.startswith("httpcore")]
    for secret in (*SECRETS, *tokens.values()):
        assert secret not in said + "".join(ours)


def test_what_was_got_can_be_put_back(named, caller):
    finish(named, put(caller, "a-job", FULL))
    got = caller.get(f"{JOBS}/a-job").json()
    got["datasource"]["urls"] = ["https://other.test/"]
    got["datasource"]["containerName"] = "others"

    run_id = put(caller, "a-job", got)

    kept = definition(named, run_id)
    assert kept["datasource"]["urls"] == ["https://other.test/"]
    assert kept["searchServiceConnection"] == KEY
    assert kept["datasource"]["connection"] == STRING
    assert kept["datasource"]["embeddings"][0]["connection"] == KEY


def test_a_new_secret_takes_the_old_ones_place(named, caller):
    finish(named, put(caller, "a-job", FULL))
    got = caller.get(f"{JOBS}/a-job").json()
    got["searchServiceConnection"] |= {"key": "another", "endpoint": "https://other.test"}

    run_id = put(caller, "a-job", got)

    assert definition(named, run_id)["searchServiceConnection"]["key"] == "another"


MASKED = {
    "another endpoint": (
        "searchServiceConnection",
        KEY | {"key": "***", "endpoint": "https://evil.test"},
        "$.searchServiceConnection.key",
    ),
    "another kind": (
        "searchServiceConnection",
        STRING | {"connectionString": "***"},
        "$.searchServiceConnection.connectionString",
    ),
    "another place": (
        "datasource",
        FULL["datasource"] | {"connection": KEY | {"key": "***"}},
        "$.datasource.connection.key",
    ),
    "what was no secret": (
        "datasource",
        storage()["datasource"] | {"embeddings": [{"connection": KEY | {"key": "***"}}] * 2},
        "$.datasource.embeddings[1].connection.key",
    ),
}


@pytest.mark.parametrize(("member", "value", "place"), MASKED.values(), ids=MASKED)
def test_a_secret_stays_only_where_nothing_else_changed(named, caller, member, value, place):
    finish(named, put(caller, "a-job", FULL))

    answer = caller.put(f"{JOBS}/a-job", json=copy.deepcopy(FULL) | {member: value})

    assert answer.status_code == 400
    assert answer.json()["error"]["target"] == place
    assert "***" in answer.json()["error"]["message"]


def test_a_new_job_has_no_secret_to_keep(caller):
    answer = caller.put(f"{JOBS}/new", json=storage(KEY | {"key": "***"}))

    assert answer.status_code == 400
    assert answer.json()["error"]["target"] == "$.datasource.connection.key"


def test_another_resources_secret_is_not_kept(named, caller):
    with named.client(key=named.add_key("elsewhere")) as other:
        finish(named, put(other, "a-job", storage(KEY)))

    answer = caller.put(f"{JOBS}/a-job", json=storage(KEY | {"key": "***"}))

    assert answer.status_code == 400


def test_a_job_whose_key_is_lost_keeps_no_other_from_its_refresh_and_can_be_put_anew(named, caller):
    bodies = {name: storage(KEY, dataRefreshIntervalInHours=1) for name in ("lost", "other")}
    for name, body in bodies.items():
        finish(named, put(caller, name, body))
    jobs = service(named)
    lose_key(named, "lost")

    replace(jobs, clock=StandingClock(jobs.clock.now() + 3600)).start_due()

    counts = {name: len(caller.get(f"{JOBS}/{name}/runs").json()["value"]) for name in bodies}
    assert counts == {"lost": 1, "other": 2}
    masked = caller.put(f"{JOBS}/lost", json=storage(KEY | {"key": "***"}))
    assert masked.status_code == 400
    put(caller, "lost", bodies["lost"])


def test_a_job_whose_key_is_lost_says_so_and_what_to_do(named, caller):
    run_id = put(caller, "locked", storage(KEY))
    lose_key(named, "locked")

    got = caller.get(f"{JOBS}/locked")

    assert got.status_code == 409
    said = got.json()["error"]
    assert said["code"] == "unexpectedEntityState"
    assert "encrypted with another key" in said["message"]
    assert "Put the job again, whole and with its secrets" in said["message"]
    assert caller.get(JOBS).json()["value"] == [{"kind": "SystemCompute", "jobId": "locked"}]
    assert caller.get(f"{JOBS}/locked/runs/{run_id}").status_code == 200
    with pytest.raises(IngestionFailed, match="encrypted with another key"):
        definition(named, run_id)
    finish(named, run_id)
    assert caller.post(f"{JOBS}/locked/retry-failed").status_code == 409
    assert caller.delete(f"{JOBS}/locked").status_code == 204


def test_of_a_deleted_job_whose_key_is_lost_this_servers_own_index_goes(named, caller):
    run_id = put(caller, "locked", storage(KEY))
    lose_key(named, "locked")
    with named.built.database.reading() as connection:
        record = by_key(connection, find_any_run(connection, run_id).job)

    [left] = service(named).definitions_of(record)

    assert resolve(named.built.settings, left).target == EmbeddedIndexSpec("locked-index")


def test_the_row_is_opened_with_the_servers_key_alone(named, caller):
    put(caller, "sealed", storage(KEY, searchServiceConnection=RELATIVE))

    with named.built.database.reading() as connection:
        query = sa.select(ingestion_jobs.c.definition).where(ingestion_jobs.c.id == "sealed")
        sealed = connection.execute(query).scalar_one()

    assert "containerName" not in sealed
    assert "the-secret" in service(named).secrets.open(sealed)
