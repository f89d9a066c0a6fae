"""A campaign of malformed requests against every operation that is built.

Schemathesis breaks the contract's own description of each operation in ways it finds. None may be
answered by a failure of the server, and what is refused must leave no row and no byte behind.
"""

import copy
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.schemas import OpenApiSchema
from tests.contract.schema import CONTRACT
from tests.support.campaign import Campaign
from tests.support.server import API_VERSION, KEY, Server

EXAMPLES = 25
"""Broken requests an operation; there are 33 operations."""


@pytest.fixture(scope="module")
def campaign(shared_server: Server) -> Iterator[Campaign]:
    one = Campaign(shared_server)
    yield one
    one.close()


def description() -> OpenApiSchema:
    """The contract without what is checked before any operation: the version and the key."""
    contract = copy.deepcopy(CONTRACT)
    for key in ("security", "securityDefinitions", "x-ms-parameterized-host"):
        del contract[key]
    for methods in contract["paths"].values():
        for operation in methods.values():
            operation.pop("security", None)
            operation["parameters"] = [p for p in operation["parameters"] if "$ref" not in p]
    return schemathesis.openapi.from_dict(contract)


def open_upload(campaign: Campaign) -> str:
    sent = {"purpose": "batch", "filename": "a.jsonl", "bytes": 10, "mime_type": "text/plain"}
    return campaign.send("POST", "/openai/uploads", json=sent).json()["id"]


def send_broken(operation: APIOperation, campaign: Campaign, ids: dict[str, str]) -> None:
    """Send what the contract does not allow, to items that exist where a body is to be broken."""
    has_rules = bool(operation.body) or bool(operation.query)
    known = ids if operation.body and operation.path_parameters else None
    mode = GenerationMode.NEGATIVE if has_rules else GenerationMode.POSITIVE

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode, path_parameters=known))
    def send(case: schemathesis.Case) -> None:
        answer = case.call(
            base_url=f"{campaign.server.url}/openai",
            headers={"api-key": KEY},
            params={"api-version": API_VERSION},
        )
        campaign.judge(case.as_curl_command(), answer.status_code)

    send()


def test_broken_requests_are_refused_and_leave_nothing(campaign: Campaign):
    operations = [result.ok() for result in description().get_all_operations()]

    ids = {"upload-id": open_upload(campaign), "job-id": "a-job"}

    for operation in operations:
        send_broken(operation, campaign, ids)

    assert len(campaign.sent) >= 200
    accepted = sum(count for status, count in campaign.statuses.items() if status < 400)
    assert accepted < len(campaign.sent) / 4, campaign.statuses
