"""Minutes of deployments as they pass, by a clock that the tests set, on both databases."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.support.tuned import TunedInMemory

from linarite.engines.place import ModelPlace
from linarite.engines.tokens import Tokens
from linarite.errors import RateLimited
from linarite.http.metrics import Metrics
from linarite.resources.deployments.service import Deployments
from linarite.resources.inference.limits import RateLimits
from linarite.resources.models.records import ModelRecord
from linarite.resources.models.service import Models
from linarite.settings import DeploymentEntry
from linarite.storage.database import Database
from linarite.wire.deployments import DeploymentCreation

MODEL = ModelRecord("model", "chat")
BODY = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 10}


class Clock:
    seconds = 1_000

    def now(self):
        return self.seconds


class System:
    """Two processes' limits over one database and one clock."""

    def __init__(self, database):
        self.clock = Clock()
        entry = DeploymentEntry(name="chat", model="model", requests_per_minute=2)
        models = Models(lambda: [MODEL], (), {}, TunedInMemory())
        self.deployments = Deployments(database, models, self.clock, [entry])
        self.deployments.sync()
        self.one, self.other = self.process(), self.process()

    def process(self):
        place = ModelPlace("model", upstream=None, folder=None)
        return RateLimits(self.deployments, lambda model: place, Metrics(), Tokens())

    def ask(self, process, name="chat"):
        target = self.deployments.look_up("default", name)
        asked = process.admit("/chat/completions", "Chat", "v1", target, BODY)
        return {name.removeprefix("x-ratelimit-"): int(n) for name, n in asyncio.run(asked).items()}

    def refused(self, process, name="chat"):
        """How many seconds to wait."""
        with pytest.raises(RateLimited) as refusal:
            self.ask(process, name)
        told = refusal.value.headers
        assert told["retry-after-ms"] == told["retry-after"] + "000"
        return int(told["retry-after"])


@pytest.fixture
def system(database_url: str) -> Iterator[System]:
    database = Database(database_url)
    database.migrate()
    yield System(database)
    database.close()


def test_a_minute_begins_with_its_first_request(system):
    system.clock.seconds = 1_033
    first = system.ask(system.one)
    system.clock.seconds += 59

    second = system.ask(system.one)

    assert first == {"limit-requests": 2, "remaining-requests": 1, "reset-requests": 60}
    assert second == {"limit-requests": 2, "remaining-requests": 0, "reset-requests": 1}


def test_another_begins_when_it_is_over(system):
    for _ in range(2):
        system.ask(system.one)
    system.clock.seconds += 20
    assert system.refused(system.one) == 40
    system.clock.seconds += 40

    assert system.ask(system.one)["remaining-requests"] == 1
    assert system.ask(system.other)["remaining-requests"] == 0


def test_a_process_learns_of_what_another_counted(system):
    for _ in range(2):
        system.ask(system.one)
    system.clock.seconds += 5

    assert [system.refused(system.other) for _ in range(2)] == [55, 55]


def test_a_clock_that_is_a_little_slow_counts_into_the_same_minute(system):
    system.ask(system.one)
    system.clock.seconds -= 3

    told = system.ask(system.other)

    assert (told["remaining-requests"], told["reset-requests"]) == (0, 60)


def test_a_minute_far_in_the_future_shuts_nobody_out(system):
    system.clock.seconds += 1_000_000
    for _ in range(2):
        system.ask(system.one)
    system.clock.seconds -= 1_000_000

    assert system.ask(system.one)["remaining-requests"] == 1


def test_a_deployment_that_is_made_again_begins_anew(system):
    body = DeploymentCreation(id="own", model="model", requests_per_minute=1)
    system.deployments.create("default", body)
    system.ask(system.one, "own")
    system.refused(system.one, "own")
    system.deployments.delete("default", "own")
    system.clock.seconds += 1

    system.deployments.create("default", body)

    assert system.ask(system.one, "own")["remaining-requests"] == 0
    assert system.refused(system.other, "own") == 60
