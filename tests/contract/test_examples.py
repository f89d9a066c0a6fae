"""The vendor's own examples keep the contract, but for the places listed with a reason.

An example leaves out what it does not talk about, so it is held against the laxer reading of the
definitions: whatever is there must be right.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.contract.checker import OPERATIONS, check_instance
from tests.contract.schema import request_schemas, translate
from tests.contract.wire_classes import WIRE_CLASSES

EXAMPLES = Path(__file__).parent / "examples"

OPERATION = {
    "cancel_batch": "Batch_Cancel",
    "cancel_finetuning_job": "FineTuning_Cancel",
    "delete_file": "Files_Delete",
    "delete_finetuning_job": "FineTuning_Delete",
    "delete_stored_completion": "StoredCompletion_Delete",
    "get_batch": "Batch_Get",
    "get_batches": "Batch_List",
    "get_file": "Files_Get",
    "get_file_content": "Files_GetContent",
    "get_files": "Files_List",
    "get_finetuning_job": "FineTuning_Get",
    "get_finetuning_job_checkpoints": "FineTuning_GetCheckpoints",
    "get_finetuning_job_events": "FineTuning_GetEvents",
    "get_finetuning_jobs": "FineTuning_List",
    "get_ingestion_job": "IngestionJobs_Get",
    "get_ingestion_job_run": "IngestionJobRuns_Get",
    "get_model_base": "Models_Get",
    "get_models": "Models_List",
    "get_stored_completion": "StoredCompletion_Get",
    "get_stored_completion_list": "StoredCompletion_List",
    "get_stored_completion_messages": "StoredCompletion_GetMessages",
    "import_file": "Files_Import",
    "list_ingestion_job_runs": "IngestionJobRuns_List",
    "list_ingestion_jobs": "IngestionJobs_List",
    "post_batch": "Batch_Create",
    "post_finetuning_job": "FineTuning_Create",
    "put_ingestion_job_sc": "IngestionJobs_Create",
    "put_ingestion_job_uc": "IngestionJobs_Create",
    "update_stored_completion": "StoredCompletion_Update",
    "upload_file": "Files_Upload",
    "upload_file_cancel": "UploadFile_Cancel",
    "upload_file_complete": "UploadFile_Complete",
    "upload_file_part": "UploadFile_Part",
    "upload_file_start": "UploadFile_Start",
}

_KIND = "the contract requires `kind`, the real wire says `type` alone; the service answers both"

WRONG: dict[str, dict[str, str]] = {
    "cancel_finetuning_job": {"$.method": _KIND},
    "get_finetuning_job": {"$.method": _KIND},
    "get_finetuning_jobs": {"$.data[0].method": _KIND},
    "post_finetuning_job": {"$.method": _KIND},
    "upload_file_start": {"status": "the example says 201, the contract 200; clients take both"},
}
"""Faults of examples, by place, and why each is the example's fault."""


def example(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


def faults(name: str) -> dict[str, str]:
    """What an example's answer gets wrong, by place."""
    operation = OPERATIONS[OPERATION[name]]
    [(status, answer)] = example(name)["responses"].items()
    if int(status) not in operation.successes:
        return {"status": status}
    schema = operation.successes[int(status)].get("schema", {})
    if "$ref" not in schema:
        return {}
    found = check_instance(translate(schema), answer["body"], request_schemas).faults
    return dict(fault.split(": ", 1) for fault in found)


@pytest.mark.parametrize("name", sorted(OPERATION))
def test_an_example_answers_as_the_contract_says(name):
    assert set(faults(name)) == set(WRONG.get(name, {}))


def test_every_example_is_tried():
    assert {path.stem for path in EXAMPLES.iterdir()} == set(OPERATION)


@pytest.mark.parametrize("name", sorted(OPERATION))
def test_an_example_asks_what_the_wire_class_takes(name):
    for parameter in OPERATIONS[OPERATION[name]].parameters("body").values():
        shape = WIRE_CLASSES[parameter["schema"]["$ref"].rpartition("/")[2]]
        [body] = [g for g in example(name)["parameters"].values() if isinstance(g, dict)]

        assert shape.model_validate(body).model_dump(mode="json", exclude_unset=True) == body
