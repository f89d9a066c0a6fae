"""Every answer that a test's server gives, noted on its way out, whatever client asked for it.

Plain ASGI around the app. A body is kept up to a bound, for contents may be gigabytes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_KEPT_BYTES = 4 << 20


@dataclass
class Answer:
    """One answer: what was asked for, and what went out."""

    method: str
    path: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    is_whole: bool = False
    """Whether the answer ended well and its body was kept to the end."""


class Recording:
    """The app behind it, with each answer handed to `note` once it is out.

    Args:
        app: what answers.
        note: gets every answer; what it raises ends the connection.
    """

    def __init__(self, app: ASGIApp, note: Callable[[Answer], None]) -> None:
        self._app = app
        self._note = note

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = Answer(scope["method"], scope["path"])

        async def send_noted(message: Message) -> None:
            _add(answer, message)
            if answer.is_whole:
                self._note(answer)
            await send(message)

        await self._app(scope, receive, send_noted)


def _add(answer: Answer, message: Message) -> None:
    if message["type"] == "http.response.start":
        answer.status = message["status"]
        answer.headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in message["headers"]
        }
    elif message["type"] == "http.response.body":
        room = _KEPT_BYTES - len(answer.body)
        answer.body += message.get("body", b"")[:room]
        ended = not message.get("more_body", False)
        answer.is_whole = ended and len(answer.body) < _KEPT_BYTES
