"""The life of a run as its table has it."""

from linarite.resources.ingestion.lifecycle import OPEN, RUN
from linarite.storage.tables import ingestion_runs
from linarite.wire.ingestion import OperationState as S


def test_every_state_of_the_contract_has_its_place():
    assert set(RUN.moves) == set(S)
    assert set(RUN.final) == {S.SUCCEEDED, S.FAILED}


def test_a_run_succeeds_only_from_work():
    assert RUN.before(S.SUCCEEDED) == (S.RUNNING,)
    assert set(RUN.before(S.FAILED)) == {S.NOT_RUNNING, S.RUNNING}


def test_the_index_that_keeps_a_second_run_away_names_the_open_states():
    [index] = [one for one in ingestion_runs.indexes if one.unique]
    where = str(index.dialect_options["postgresql"]["where"])

    assert where == str(index.dialect_options["sqlite"]["where"])
    assert all(f"'{state}'" in where for state in OPEN)
    assert not any(f"'{state}'" in where for state in RUN.final)
