"""The ids this server gives, in the forms that the real service uses on the wire."""

import base64
import secrets
import uuid


def file_id() -> str:
    """``file-<32 hex>``, for files that a caller brought."""
    return f"file-{uuid.uuid4().hex}"


def output_file_id() -> str:
    """``file-<uuid>``, for files that the service made."""
    return f"file-{uuid.uuid4()}"


def job_id() -> str:
    """``ftjob-<32 hex>``."""
    return f"ftjob-{uuid.uuid4().hex}"


def checkpoint_id() -> str:
    """``ftchkpt-<32 hex>``."""
    return f"ftchkpt-{uuid.uuid4().hex}"


def event_id() -> str:
    """``ftevent-<32 hex>``, for messages."""
    return f"ftevent-{uuid.uuid4().hex}"


def metrics_event_id() -> str:
    """``ftevent-`` and 16 hex digits twice, as the real service makes them for metrics."""
    return f"ftevent-{secrets.token_hex(8) * 2}"


def upload_id(purpose: str) -> str:
    """``<purpose>-<32 hex>``."""
    return f"{purpose}-{uuid.uuid4().hex}"


def part_id() -> str:
    """``uplprt-<32 hex>``."""
    return f"uplprt-{uuid.uuid4().hex}"


def block_id() -> str:
    """Base64 of 16 random bytes: the id of an upload's part as a storage block."""
    return base64.b64encode(secrets.token_bytes(16)).decode("ascii")


def batch_id() -> str:
    """``batch_<uuid>``."""
    return f"batch_{uuid.uuid4()}"


def completion_id() -> str:
    """``chatcmpl-<32 hex>``, for stored answers of engines whose own ids may come again."""
    return f"chatcmpl-{uuid.uuid4().hex}"


def deployment_id() -> str:
    """``deployment-<32 hex>``, for deployments whose caller chose no name."""
    return f"deployment-{uuid.uuid4().hex}"


def run_id() -> str:
    """A uuid: one run of an ingestion job."""
    return str(uuid.uuid4())


def blob_id() -> str:
    """32 hex digits: the row that names stored bytes."""
    return uuid.uuid4().hex


def request_id() -> str:
    """A uuid: one HTTP request."""
    return str(uuid.uuid4())
