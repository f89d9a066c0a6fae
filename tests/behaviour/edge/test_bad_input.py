"""A campaign of malformed requests against every operation that is built.

Schemathesis breaks the contract's own description of each operation in ways it finds; a table adds
what no schema thinks of. None may be answered by a failure of the server, and what is refused must
leave no row and no byte behind.
"""

import copy
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
import schemathesis
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.schemas import OpenApiSchema
from tests.contract.deviations import NOT_BUILT
from tests.contract.schema import CONTRACT
from tests.support.server import API_VERSION, KEY, Server

EXAMPLES = 25
"""Broken requests an operation; there are 16 operations."""


@dataclass
class Campaign:
    """What was sent to one server, and whether it changed anything it should not have."""

    server: Server
    statuses: Counter[int] = field(default_factory=Counter)
    sent: set[str] = field(default_factory=set)
    _left: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._left = self.possessions()

    def judge(self, sent: str, status: int) -> None:
        """Note a request and its answer; a refused one must have left nothing behind."""
        self.sent.add(sent)
        self.statuses[status] += 1
        assert status < 500, f"{status} to {sent[:2000]}"
        left = self.possessions()
        if status >= 400:
            assert left == self._left, f"{status} left something behind: {sent[:2000]}"
        self._left = left

    def possessions(self) -> dict[str, int]:
        """How many rows each table has, and how many files lie in the blob folder."""
        found = {"blobs on disk": sum(p.is_file() for p in self._blob_folder.rglob("*"))}
        with self.server.built.database.reading() as connection:
            for name in sa.inspect(connection).get_table_names():
                query = sa.select(sa.func.count()).select_from(sa.table(name))
                found[name] = connection.execute(query).scalar_one()
        return found

    @property
    def _blob_folder(self) -> Any:
        return self.server.settings.data / "blobs"


@pytest.fixture(scope="module")
def campaign(shared_server: Server) -> Campaign:
    return Campaign(shared_server)


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


def send_broken(operation: APIOperation, campaign: Campaign) -> None:
    """Send what the contract does not allow; of operations with nothing but ids, odd ids."""
    has_rules = bool(operation.body) or bool(operation.query)
    mode = GenerationMode.NEGATIVE if has_rules else GenerationMode.POSITIVE

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def send(case: schemathesis.Case) -> None:
        answer = case.call(
            base_url=f"{campaign.server.url}/openai",
            headers={"api-key": KEY},
            params={"api-version": API_VERSION},
        )
        campaign.judge(case.as_curl_command(), answer.status_code)

    send()


def test_broken_requests_are_refused_and_leave_nothing(campaign: Campaign):
    operations = [
        operation
        for operation in (result.ok() for result in description().get_all_operations())
        if operation.definition.raw["operationId"] not in NOT_BUILT
    ]

    for operation in operations:
        send_broken(operation, campaign)

    assert len(campaign.sent) >= 200
    accepted = sum(count for status, count in campaign.statuses.items() if status < 400)
    assert accepted < len(campaign.sent) / 4, campaign.statuses
