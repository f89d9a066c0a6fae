"""An embedded engine's side of chats and completions: a request read, answered, told."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import orjson
from aiohttp import web
from tokenizers import Tokenizer

from linarite.engines import dialect, tool_calls
from linarite.engines.answers import Answers, TextPiece
from linarite.engines.bodies import is_batch, json_object, reply
from linarite.engines.capabilities import capabilities
from linarite.engines.dialect import Wanted
from linarite.engines.fingerprints import fingerprint
from linarite.engines.generation import Stepping
from linarite.engines.installed import InstalledModel
from linarite.engines.logprobs import TokenTexts
from linarite.engines.sampling import Structure
from linarite.engines.structures import Refused, Structures
from linarite.engines.templates import ChatTemplate
from linarite.engines.tokens import encoded
from linarite.engines.tool_calls import CallReader
from linarite.engines.vocabulary import words_of
from linarite.errors import InferenceRefused, LinariteError
from linarite.tool_words import CallForm

_LONG_TEXT = 1 << 16
"""In letters: this many are made tokens of in some ten milliseconds."""

T = TypeVar("T")


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
        messages, wanted = dialect.read_chat(await json_object(request), self._able)
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
        given, wanted = dialect.read_completion(await json_object(request), self._able)
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
            is_batch=is_batch(request),
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
        return reply(shape(head, pieces, answers.usage(), texts))

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


async def _aside_if_long(given: Sequence[str | list[int]], make: Callable[[], T]) -> T:
    """What `make` makes of texts or tokens; long ones do not hold up the answers to others."""
    if sum(map(len, given)) < _LONG_TEXT:
        return make()
    return await asyncio.to_thread(make)
