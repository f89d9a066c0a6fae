"""Stored completions of the embedded model through the official SDK, in each of its variants."""

import uuid
from typing import Any

import openai
import pytest
from tests.end_to_end.conftest import Sdk
from tests.support.embedded import CHAT
from tests.support.sdk_variants import VARIANTS
from tests.support.stored_chats import QUESTION, SEEN, looked_through, stored

OF_AZURE = [variant for variant in VARIANTS if "azure" in variant]


def test_completions_are_stored_found_changed_and_deleted(client: Any):
    run = uuid.uuid4().hex
    asked = {"model": CHAT, "messages": QUESTION, "max_tokens": 4, "temperature": 0, "store": True}
    chats = client.chat.completions

    whole = chats.create(**asked, metadata={"run": run, "kind": "whole"})
    chunks = list(chats.create(**asked, metadata={"run": run, "kind": "streamed"}, stream=True))

    streamed, first = chats.list(metadata={"run": run}, limit=1)
    assert (first.id, streamed.id) == (whole.id, chunks[0].id)
    assert first.choices[0].message.content == whole.choices[0].message.content
    assert first.choices[0].message == streamed.choices[0].message
    assert first.usage == streamed.usage
    assert first.usage.total_tokens == whole.usage.total_tokens
    assert first.system_fingerprint == whole.system_fingerprint
    assert first.temperature == 0

    [message] = chats.messages.list(whole.id)
    assert (message.role, message.content) == ("user", QUESTION[0]["content"])

    updated = chats.update(whole.id, metadata={"kind": "other"})
    assert updated.metadata == {"run": run, "kind": "other"}
    [found] = chats.list(model=CHAT, metadata={"run": run, "kind": "other"})
    assert found.id == whole.id

    assert chats.delete(whole.id).deleted
    with pytest.raises(openai.NotFoundError):
        chats.retrieve(whole.id)


def test_stored_completions_are_paged_read_and_changed(client: Any):
    run, chats = uuid.uuid4().hex, client.chat.completions

    assert looked_through(chats, stored(chats, CHAT, run), run) == SEEN


@pytest.mark.parametrize("sdk", OF_AZURE, indirect=True)
def test_a_client_made_for_a_deployment_sees_them_too(sdk: Sdk):
    run, chats = uuid.uuid4().hex, sdk.make(azure_deployment=CHAT).chat.completions

    assert looked_through(chats, stored(chats, CHAT, run), run) == SEEN
    assert f"GET /openai/deployments/{CHAT}/chat/completions" in sdk.asked
