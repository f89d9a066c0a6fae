"""A server whose installation lacks what training needs says so before a job is taken."""

import sys

import pytest
from tests.support.files import error_of
from tests.support.tuning import JOBS, create, tuning_server

from linarite.training import extra


@pytest.mark.parametrize("package", ["torch", "peft"])
def test_a_job_is_refused_with_what_to_install(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)  # as Python notes what is not there
    with (
        tuning_server(tmp_path, fine_tuning={"command": None}) as (server, _),
        server.client() as client,
    ):
        refused = create(client)

        assert error_of(refused) == (503, "serviceUnavailable", extra.MESSAGE)
        assert "pip install 'linarite[train]'" in refused.text
        assert client.get(JOBS).json()["data"] == []
