"""Stored completions as programs written for the SDK 1.66 use them; prints what it saw as JSON.

    python -m tests.end_to_end.sdk_1_66.stored_completions READY_FILE

runs with whichever SDK comes first on the path, as each kind of user makes its client.
"""

import json
import sys
import uuid
from pathlib import Path
from typing import Any

import openai
from tests.support.sdk_variants import VARIANTS, Request, http_client, sdk_client
from tests.support.stored_chats import looked_through, stored

CHAT = "smollm2-135m-instruct"


def _seen(server: dict[str, Any], variant: str, **options: Any) -> dict[str, Any]:
    """What one kind of client saw, and the paths that its lists were asked under."""
    run, lists = uuid.uuid4().hex, set()

    def note(request: Request) -> None:
        if request.method == "GET" and request.url.path.endswith("/chat/completions"):
            lists.add(request.url.path)

    options |= {"http_client": http_client(variant, note)}
    with sdk_client(variant, server, **options) as client:
        chats = client.chat.completions
        seen = looked_through(chats, stored(chats, CHAT, run), run)
    return {"seen": seen, "lists": sorted(lists)}


def main(ready_file: str) -> None:
    """Do it with each kind of client, and with those made for one deployment."""
    server = json.loads(Path(ready_file).read_text())
    seen = {variant: _seen(server, variant) for variant in VARIANTS}
    for variant in VARIANTS:
        if "azure" in variant:
            of_one = _seen(server, variant, azure_deployment=CHAT)
            seen[f"{variant}, of a deployment"] = of_one
    print(json.dumps({"version": openai.__version__, "clients": seen}))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
