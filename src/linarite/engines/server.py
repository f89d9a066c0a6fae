"""An embedded engine's HTTP process: one model, the OpenAI dialect, a Unix socket.

    python -m linarite.engines.server FOLDER SOCKET SLOTS STRUCTURES_BYTES [deterministic]

The socket appears when the model is loaded. When the stepper ends, whoever waits is answered 503
with `retry-after`, and this process ends too: the host starts a new pair. So it does where this
process ends itself because more than STRUCTURES_BYTES are kept of structures, which only an end
gives back. It is idle then or, at twice as much, lets new requests go to the next pair and answers
those that it has.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import orjson
import uvloop
from aiohttp import web
from tokenizers import Tokenizer

from linarite.engines import dialect, tool_calls
from linarite.engines.answers import Answers, TextPiece
from linarite.engines.capabilities import capabilities
from linarite.engines.connections import KEPT_EMBEDDED_SECONDS
from linarite.engines.dialect import Wanted
from linarite.engines.fingerprints import fingerprint
from linarite.engines.generation import Stepping, exit_now
from linarite.engines.installed import InstalledModel, read_model
from linarite.engines.lifeline import die_with_parent
from linarite.engines.logprobs import TokenTexts
from linarite.engines.process import listen_privately
from linarite.engines.sampling import DETERMINISTIC, Structure
from linarite.engines.structures import Refused, Structures
from linarite.engines.templates import ChatTemplate
from linarite.engines.tokens import encoded
from linarite.engines.tool_calls import CallReader
from linarite.engines.vocabulary import words_of
from linarite.errors import InferenceRefused, LinariteError
from linarite.tool_words import CallForm

_MOST_BODY_BYTES = 64 << 20
_LONG_TEXT = 1 << 16
"""In letters: this many are made tokens of in some ten milliseconds."""
_STALLED_SECONDS = 120.0
_FAREWELL_SECONDS = 1.0
_FLUSH_SECONDS = 0.05
_LOOK_SECONDS = 0.25

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class TextEngine:
    """Answers chats and completions."""

    def __init__(
        self,
        model: InstalledModel,
        stepping: Stepping,
        slots: int,
        *,
        is_deterministic: bool = False,
    ) -> None:
        self.model = model
        self.stepping = stepping
        self.slots = slots
        self._is_deterministic = is_deterministic
        self._fingerprint = fingerprint(
            model, [slots, stepping.processor], is_deterministic=is_deterministic
        )
        self._able = capabilities(is_embedded=True, is_embedding=False)
        self._tokenizer = Tokenizer.from_file(str(model.hf_folder / "tokenizer.json"))
        self._texts = TokenTexts(self._tokenizer, words_of(model.hf_folder))
        self._template = ChatTemplate.find(model.hf_folder)
        self._structures = Structures(model.hf_folder)

    @property
    def structures_bytes(self) -> int:
        """What is kept, about, of the structures that it was asked for so far."""
        return self._structures.kept_bytes

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/chat/completions", self.chat),
            web.post("/v1/completions", self.completion),
        ]

    def close(self) -> None:
        """End what it started."""
        self._structures.close()

    async def chat(self, request: web.Request) -> web.StreamResponse:
        messages, wanted = dialect.read_chat(await _json(request), self._able)
        template = self._template
        if template is None:
            raise dialect.refusal("This model has no chat template; use completions.", "messages")
        calling = wanted.calling
        text = template.render(messages, calling.tools if calling else ())
        prompt = await _aside_if_long(
            [text], lambda: encoded(self._tokenizer, text, adds_special=False)
        )
        structure = await self._structure(wanted, template.form)
        readers = []
        if calling is not None:
            has_form = wanted.form is not None
            readers = [
                CallReader(template.form, calling, has_form=has_form) for _ in range(wanted.count)
            ]
        return await self._answer(request, [prompt], wanted, structure, readers, is_chat=True)

    async def completion(self, request: web.Request) -> web.StreamResponse:
        given, wanted = dialect.read_completion(await _json(request), self._able)
        prompts = await _aside_if_long(given, lambda: [self._tokens(one) for one in given])
        echoes = [self._text(one) if wanted.echo else "" for one in given]
        return await self._answer(request, prompts, wanted, echoes=echoes, is_chat=False)

    def _text(self, given: str | list[int]) -> str:
        return given if isinstance(given, str) else self._tokenizer.decode(given)

    def _tokens(self, given: str | list[int]) -> list[int]:
        tokens = encoded(self._tokenizer, given) if isinstance(given, str) else given
        if any(token >= self._tokenizer.get_vocab_size() for token in tokens):
            raise dialect.refusal("'prompt' holds a token that this model does not know.", "prompt")
        return tokens or list(self.model.eos_token_ids[:1])

    async def _answer(
        self,
        request: web.Request,
        prompts: Sequence[list[int]],
        wanted: Wanted,
        structure: Structure | None = None,
        readers: Sequence[CallReader] = (),
        echoes: Sequence[str] = ("",),
        *,
        is_chat: bool,
    ) -> web.StreamResponse:
        """What is said to each prompt, behind its echo."""
        rooms = [
            dialect.room_for_answer(
                self.model.context_tokens, len(prompt), wanted.max_tokens, is_chat=is_chat
            )
            for prompt in prompts
        ]
        answers = Answers(
            self.stepping,
            self._tokenizer,
            prompts,
            [
                wanted.sampling(
                    max_tokens=room,
                    index=index,
                    eos=self.model.eos_token_ids,
                    structure=structure,
                    is_deterministic=self._is_deterministic,
                )
                for room in rooms
                for index in range(wanted.made)
            ],
            wanted.stops,
            is_batch=_is_batch(request),
            readers=readers,
        )
        kind = ("chatcmpl-", "chat.completion") if is_chat else ("cmpl-", "text_completion")
        head = {
            "id": kind[0] + uuid.uuid4().hex,
            "object": kind[1],
            "created": int(time.time()),
            "model": self.model.id,
            "system_fingerprint": self._fingerprint,
        }
        texts = self._texts if wanted.logprobs else None
        echoes = [echo for echo in echoes for _ in range(wanted.count)]
        if wanted.is_stream:
            return await _stream(request, head, answers, wanted, texts, echoes, is_chat=is_chat)
        pieces = await answers.whole()
        if wanted.made > wanted.count:
            pieces = answers.likeliest(pieces, wanted.count)
        pieces = [
            replace(piece, text=echo + piece.text)
            for echo, piece in zip(echoes, pieces, strict=True)
        ]
        shape = dialect.chat_answer if is_chat else dialect.completion_answer
        return _reply(shape(head, pieces, answers.usage(), texts))

    async def _structure(self, wanted: Wanted, form: CallForm) -> Structure | None:
        """What an answer is held to; calls are written in `form`."""
        asked = None if wanted.form is None else wanted.form.structure
        if wanted.calling is not None:
            asked = tool_calls.asked(wanted.calling, form, asked)
        if asked is None:
            return None
        admitted = await self._structures.admit(asked)
        if isinstance(admitted, Refused):
            raise dialect.refused_structure(wanted, admitted)
        return admitted


async def _stream(
    request: web.Request,
    head: dict[str, Any],
    answers: Answers,
    wanted: Wanted,
    texts: TokenTexts | None,
    echoes: Sequence[str],
    *,
    is_chat: bool,
) -> web.StreamResponse:
    """The answers as server-sent events; the client's leaving stops them."""
    if is_chat:
        head["object"] = "chat.completion.chunk"
    more: dict[str, Any] = {"usage": None} if wanted.include_usage else {}
    response = web.StreamResponse(
        headers={"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
    )

    async def send(choices: list[dict[str, Any]]) -> None:
        await response.write(_event({**head, "choices": choices, **more}))

    lengths = [0] * answers.count  # letters of each text so far
    async with contextlib.aclosing(answers.pieces()) as pieces:
        # Nothing is sent before the first token, so that a failure until then has its status.
        piece = await anext(pieces)
        await response.prepare(request)
        if is_chat:
            opening = [dialect.chat_opening(at, wanted.calling) for at in range(answers.count)]
            await send(opening)
        for index, echo in enumerate(echoes):
            for choice in dialect.completion_pieces(TextPiece(index, echo), None, 0):
                await send([choice])
        try:
            while True:
                made = dialect.chat_pieces if is_chat else dialect.completion_pieces
                for choice in made(piece, texts, lengths[piece.index]):
                    await send([choice])
                lengths[piece.index] += len(piece.text)
                piece = await anext(pieces)
        except StopAsyncIteration:
            pass
        except LinariteError as error:
            failed = InferenceRefused(error.message, kind="server_error", code="serviceUnavailable")
            await response.write(_event(dialect.error_body(failed)))
            return response
    if wanted.include_usage:
        more["usage"] = answers.usage()
        await send([])
    await response.write(b"data: [DONE]\n\n")
    return response


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


@dataclass
class _Presence:
    """Who is being answered, and whether an engine takes leave of them."""

    askers: int = 0
    is_leaving: bool = False

    def leave(self, path: Path) -> None:
        """Let new connections go to the next engine; its socket may lie there soon."""
        if not self.is_leaving:
            path.unlink(missing_ok=True)
        self.is_leaving = True


class EmbeddingEngine:
    """Answers embeddings."""

    def __init__(self, model: InstalledModel, *, is_deterministic: bool = False) -> None:
        from linarite.engines.embedder import TEXTS_PER_RUN, Embedder, Encoder

        self.model = model
        self._able = capabilities(is_embedded=True, is_embedding=True)
        self._tokenizer = Tokenizer.from_file(str(model.hf_folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._words = self._tokenizer.get_vocab_size()
        together = 1 if is_deterministic else TEXTS_PER_RUN
        self._embedder = Embedder(Encoder(model.onnx_file), together)

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v1/embeddings", self.embed)]

    async def embed(self, request: web.Request) -> web.StreamResponse:
        inputs, in_base64 = dialect.read_embedding(
            await _json(request), self._able, self.model.dimensions
        )
        # Thousands of long texts would keep everybody else waiting for a second.
        tokens = await asyncio.to_thread(lambda: [self._tokens(one) for one in inputs])
        vectors = await self._embedder.embed(tokens, is_batch=_is_batch(request))
        total = sum(len(one) for one in tokens)
        return _reply(dialect.embedding_answer(self.model.id, vectors, total, in_base64=in_base64))

    def _tokens(self, given: str | list[int]) -> list[int]:
        tokens = encoded(self._tokenizer, given) if isinstance(given, str) else given
        context = self.model.context_tokens
        if len(tokens) > context:
            raise dialect.refusal(
                f"This model's maximum context length is {context} tokens, however you requested "
                f"{len(tokens)} tokens ({len(tokens)} in your prompt; 0 for the completion). "
                "Please reduce your prompt; or completion length.",
                "input",
                code="context_length_exceeded",
            )
        unknown = next((token for token in tokens if token >= self._words), None)
        if unknown is not None:
            raise dialect.refusal(
                f"'input' holds the token {unknown}; this model knows those below {self._words}. "
                "Token ids must be of the model's own tokenizer: send text instead (in LangChain "
                "check_embedding_ctx_length=False).",
                "input",
            )
        return tokens


def application(
    engine: TextEngine | EmbeddingEngine,
    slots: int,
    stepping: Stepping | None,
    presence: _Presence,
) -> web.Application:
    """The engine's routes, with what its host asks."""
    model = engine.model

    @web.middleware
    async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
        presence.askers += 1
        try:
            return await handler(request)
        finally:
            presence.askers -= 1

    async def part(request: web.Request, response: web.StreamResponse) -> None:
        if presence.is_leaving:
            response.force_close()
            response.headers["connection"] = "close"  # the others are made before this is called

    async def health(request: web.Request) -> web.Response:
        if stepping is not None and stepping.is_stalled(_STALLED_SECONDS):
            return _reply({"status": "stalled"}, status=503)
        return _reply({"status": "ok", "model": model.id, "pid": os.getpid()})

    async def models(request: web.Request) -> web.Response:
        entry = {"id": model.id, "object": "model", "created": 0, "owned_by": "linarite"}
        return _reply({"object": "list", "data": [entry]})

    async def in_use(request: web.Request) -> web.Response:
        counts = stepping.counts if stepping is not None else {}
        return _reply({"total": slots, "in_use": counts})

    app = web.Application(middlewares=[note, _render_errors], client_max_size=_MOST_BODY_BYTES)
    app.on_response_prepare.append(part)
    app.add_routes(engine.routes())
    app.add_routes(
        [web.get("/health", health), web.get("/v1/models", models), web.get("/slots", in_use)]
    )
    return app


@web.middleware
async def _render_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except InferenceRefused as error:
        return _reply(dialect.error_body(error), status=error.status, headers=error.headers)
    except LinariteError as error:
        failed = InferenceRefused(error.message, kind="server_error", code="serviceUnavailable")
        headers = {"retry-after": "1", **error.headers}
        return _reply(dialect.error_body(failed), status=503, headers=headers)
    except web.HTTPException as error:
        refused = InferenceRefused(error.reason or "The request is not valid.")
        return _reply(dialect.error_body(refused), status=error.status)


async def _aside_if_long(given: Sequence[str | list[int]], make: Callable[[], T]) -> T:
    """What `make` makes of texts or tokens; long ones do not hold up the answers to others."""
    if sum(map(len, given)) < _LONG_TEXT:
        return make()
    return await asyncio.to_thread(make)


async def _json(request: web.Request) -> dict[str, Any]:
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise dialect.refusal(
            f"We could not parse the JSON body of your request: {error}"
        ) from error
    if not isinstance(body, dict):
        raise dialect.refusal("The body of the request must be a JSON object.")
    return body


def _is_batch(request: web.Request) -> bool:
    return request.headers.get("x-linarite-priority") == "batch"


def _reply(
    body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    return web.Response(
        body=orjson.dumps(body), status=status, headers=headers, content_type="application/json"
    )


async def serve(
    model: InstalledModel,
    path: Path,
    slots: int,
    structures_bytes: int,
    *,
    is_deterministic: bool = False,
) -> None:
    """Load the model, then listen until SIGTERM, until the stepper ends or has grown too much."""
    stepping: Stepping | None = None
    engine: TextEngine | EmbeddingEngine
    if model.kind == "chat":
        stepping = await Stepping.start(model, slots, is_deterministic=is_deterministic)
        engine = TextEngine(model, stepping, slots, is_deterministic=is_deterministic)
    else:
        engine = EmbeddingEngine(model, is_deterministic=is_deterministic)
    presence = _Presence()
    app = application(engine, slots, stepping, presence)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=5)
    await runner.setup()
    await listen_privately(runner, path)
    stopped = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    if stepping is None or isinstance(engine, EmbeddingEngine):
        await stopped.wait()
    else:
        leaving = asyncio.create_task(
            _leave_when_grown(engine, structures_bytes, presence, path, runner)
        )
        leaving.add_done_callback(lambda _: stopped.set())
        await _until_either_ends(stepping, stopped, presence, path)
        leaving.cancel()
    presence.leave(path)
    await runner.cleanup()
    if stepping is not None:
        stepping.kill()
    if isinstance(engine, TextEngine):
        engine.close()


async def _leave_when_grown(
    engine: TextEngine,
    structures_bytes: int,
    presence: _Presence,
    path: Path,
    runner: web.AppRunner,
) -> None:
    """Return when too much is kept of structures and nobody can be asking any more."""
    while engine.structures_bytes <= structures_bytes * (2 if presence.askers else 1):
        await asyncio.sleep(_LOOK_SECONDS)
    presence.leave(path)
    # A request may come over any connection that was kept, each of which ends with its answer.
    unused = time.monotonic() + KEPT_EMBEDDED_SECONDS + 1
    while presence.askers or (
        runner.server is not None and runner.server.connections and time.monotonic() < unused
    ):
        await asyncio.sleep(_LOOK_SECONDS)


async def _until_either_ends(
    stepping: Stepping, stopped: asyncio.Event, presence: _Presence, path: Path
) -> None:
    listening = asyncio.create_task(stepping.listen())
    waiting = asyncio.create_task(stopped.wait())
    await asyncio.wait([listening, waiting], return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        # Nobody new comes; those who were being answered get their 503 before the process goes.
        presence.leave(path)
        ends = time.monotonic() + _FAREWELL_SECONDS
        while stepping.is_wanted() and time.monotonic() < ends:
            await asyncio.sleep(_FLUSH_SECONDS)
        await asyncio.sleep(_FLUSH_SECONDS)
        exit_now(1)


def main() -> None:
    """Run one engine, with the arguments that this file begins with."""
    die_with_parent()
    folder, path, slots, structures_bytes, *more = sys.argv[1:]
    is_deterministic = more == [DETERMINISTIC]
    model = read_model(Path(folder))
    uvloop.run(
        serve(
            model,
            Path(path),
            int(slots),
            int(structures_bytes),
            is_deterministic=is_deterministic,
        )
    )


if __name__ == "__main__":
    main()
