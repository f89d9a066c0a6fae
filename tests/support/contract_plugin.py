"""A pytest plugin: a test fails for the answers in its time that break the contract.

With ``--whole-contract``, for runs of all tests, the run fails unless every enum value that the
service can answer was seen, and every built operation succeeded, in some test. Under xdist each
worker hands what it saw to the controller, which judges.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.contract_answers import ANSWERS


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption(
        "--whole-contract",
        action="store_true",
        help="fail unless the tests saw every value that the contract's answers can have",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test that got a faulty answer, unless it failed by itself."""
    try:
        yield
    finally:
        faults = ANSWERS.take_faults()
    if faults:
        pytest.fail("Answers that break the contract:\n" + "\n".join(faults), pytrace=False)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand over what this worker saw, or judge what all of them saw."""
    worker_output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if worker_output is not None:
        worker_output["contract_seen"] = [list(seen) for seen in ANSWERS.seen]
    elif session.config.getoption("whole_contract") and ANSWERS.unseen():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what a worker of xdist saw; one that died hands over nothing, and xdist tells of it."""
    seen = getattr(node, "workeroutput", {}).get("contract_seen", ())
    ANSWERS.seen |= {(name, value, method) for name, value, method in seen}


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Name what no test saw."""
    if config.getoption("whole_contract") and (unseen := ANSWERS.unseen()):
        terminalreporter.section("values of the contract that no test saw", red=True)
        for line in unseen:
            terminalreporter.line(line)
