"""Jobs broken in every small way: each is refused with its place, and leaves nothing behind."""

import json

import pytest
from tests.contract.samples import mutations
from tests.contract.schema import request_schemas
from tests.support.campaign import Campaign
from tests.support.ingestion_jobs import JOBS, KEY, dataset, finish, put, storage

JSON = {"content-type": "application/json"}
SCHEMAS = request_schemas()
WHOLE = {
    "IngestionJobSystemCompute": storage(
        KEY,
        searchServiceConnection=KEY,
        chunking={"maxChunkSizeInTokens": 100},
        embeddings=[{"connection": KEY, "deploymentName": "d", "modelName": "m"}],
        completionAction="keepAllAssets",
        dataRefreshIntervalInHours=1,
        jobId="a-job",
    ),
    "IngestionJobUserCompute": dataset(
        compute={"kind": "ServerlessCompute", "sku": "s", "instanceCount": 2},
        target={"kind": "AzureAISearch", "connectionId": "search"},
        chunking={"maxChunkSizeInTokens": 100},
        embeddings=[{"connectionId": "embedder", "deploymentName": "d", "modelName": "m"}],
        dataRefreshIntervalInHours=1,
        jobId="a-job",
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whatever_is_broken_in_a_job_is_noticed(named, name):
    with named.client() as client:
        finish(named, put(client, "a-job", WHOLE[name]))
    campaign = Campaign(named)
    taken = []

    for how, broken in mutations({"$ref": f"#/$defs/{name}"}, SCHEMAS, WHOLE[name]):
        if broken == WHOLE[name]:  # of a choice only the first kind is broken
            continue
        content = json.dumps(broken)
        answer = campaign.send("PUT", f"{JOBS}/a-job", content=content, headers=JSON)
        if answer.status_code == 200:
            taken.append(how)
            finish(named, answer.headers["operation-location"].partition("?")[0][-36:])
        else:
            assert answer.status_code == 400, how
            assert answer.json()["error"]["target"].startswith("$"), how
    campaign.close()

    assert len(campaign.sent) > 100
    # what may be absent may be null
    assert [how for how in taken if ": null for" not in how] == []
