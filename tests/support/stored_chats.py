"""What users do with stored completions, by any version of the official SDK.

Programs that run in an environment of their own share it with the tests of this one.
"""

from typing import Any

import openai

QUESTION: Any = [{"role": "user", "content": "What is the capital of France?"}]


def stored(chats: Any, model: str, run: str) -> list[str]:
    """Store an answer that comes whole and one that is streamed; their ids.

    Args:
        chats: a client's `chat.completions`.
        model: who is asked.
        run: what their metadata name.
    """
    asked = {"model": model, "messages": QUESTION, "max_tokens": 4, "store": True}
    asked |= {"metadata": {"run": run}}
    whole = chats.create(**asked)
    chunks = list(chats.create(**asked, stream=True))
    return [whole.id, chunks[0].id]


def looked_through(chats: Any, kept: list[str], run: str) -> dict[str, Any]:
    """List, page, read, change and delete stored answers to `QUESTION`; what was seen on the way.

    Args:
        chats: a client's `chat.completions`.
        kept: their ids, oldest first.
        run: what their metadata name, and those of no other.
    """
    first = kept[0]
    paged = [one.id for one in chats.list(metadata={"run": run}, order="asc", limit=1)]
    changed = chats.update(first, metadata={"kind": "read"})
    found = [one.id for one in chats.list(metadata={"run": run, "kind": "read"})]
    of_model = chats.list(model=changed.model, metadata={"run": run})
    return {
        "paged": paged == kept,
        "changed": changed.metadata == {"run": run, "kind": "read"},
        "found by metadata": found == [first],
        "found by model": [one.id for one in of_model] == kept[::-1],
        "read": chats.retrieve(first).id == first,
        "messages": [message.content for message in chats.messages.list(first)],
        "deleted": all(chats.delete(one).deleted for one in kept),
        "gone": _is_gone(chats, first),
        "left": len(list(chats.list(metadata={"run": run}))),
    }


SEEN = {
    "paged": True,
    "changed": True,
    "found by metadata": True,
    "found by model": True,
    "read": True,
    "messages": [QUESTION[0]["content"]],
    "deleted": True,
    "gone": True,
    "left": 0,
}
"""What `looked_through` sees where all is well."""


def _is_gone(chats: Any, completion_id: str) -> bool:
    try:
        chats.retrieve(completion_id)
    except openai.NotFoundError:
        return True
    return False
