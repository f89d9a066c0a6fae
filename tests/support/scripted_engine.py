"""A model that answers what it is told, at no cost, in the OpenAI dialect.

    python -m tests.support.scripted_engine --port 0 --ready-file F [--log F] [--delay-ms N] ...

The ready file holds ``{"base_url": "http://127.0.0.1:PORT/v1", "port": PORT, "pid": PID}``.
Words in double brackets anywhere in the last message (or the prompt, or an embedding's input)
steer one answer; several may stand together:

    [[fail 429]]            answer 429 (any status) in OpenAI's form, every time
    [[fail 500 x2]]         ... only the first two times this text is asked
    [[retry-after 3]]       together with fail: send `retry-after: 3`
    [[drop]]  [[drop x1]]   close the connection without an answer (x1: only the first time)
    [[cut]]                 streaming: close after the first piece of text
    [[pace 20]]             streaming: so many ms before each piece of text
    [[stall]]               streaming: say no more after the first piece of text
    [[hang]]                never answer (until the client goes away)
    [[delay 250]]           answer after 250 ms
    [[say some words]]      the text of the answer
    [[backwards sdrow]]     the same, from its end: the request does not have it in so many words
    [[tokens 40]]           an answer of 40 words
    [[call f {"a": 1}]]     the answer of a chat is a call of the tool `f`, in the older form where
                            the chat has `functions`
    [[garbage]]             answer 200 with a body that is not JSON

Asked for moderations it judges each input by what it says: ``violence=0.6`` gives that category
that score, ``sexual!`` flags it, and all others have nothing. ``fail=500`` has it answer that.

While it runs, `POST /script` with ``{"delay_ms": 5, "every": "[[fail 503]]"}`` changes the delay
and appends words to every text; `GET /requests` tells what was asked: ``{"total", "in_flight",
"most_in_flight", "cancelled", "by_text": {text: n}}``; `POST /reset` forgets it. With `--log`
each request appends one JSON line (`text, path, batch, stream, pid, headers, body`) before it is
answered, in one write, so that a test that kills processes can count afterwards.
`--no-count` turns the book-keeping off for benchmarks.
"""

import argparse
import asyncio
import base64
import json
import os
import re
import signal
import struct
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import uvloop
from aiohttp import web

_WORD = re.compile(r"\[\[([a-z-]+)(?: (?!x\d+\]\])([^\]]*?))?(?: x(\d+))?\]\]")
_EMBEDDING_SIZE = 8
_SCORE = re.compile(r"([a-z/-]+)=([0-9.]+[0-9])")
_FLAG = re.compile(r"([a-z/-]+)!")
_ANSWERED = ("/completions", "/embeddings", "/moderations")
_CATEGORIES = ("harassment", "hate", "illicit", "self-harm", "sexual", "violence")


@dataclass
class Script:
    """What the engine was told, and what it saw."""

    model: str = "scripted"
    delay_ms: float = 0.0
    every: str = ""
    slots: int | None = None
    limit: int | None = None
    counting: bool = True
    log: int | None = None
    by_text: Counter[str] = field(default_factory=Counter)
    words_used: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    most_in_flight: int = 0
    cancelled: int = 0

    def words(self, text: str) -> dict[str, str]:
        """The steering words of `text` that hold for this asking, by name."""
        found: dict[str, str] = {}
        for match in _WORD.finditer(text + self.every):
            name, value, times = match.groups()
            if times is not None:
                key = f"{match.group(0)} {text}"
                self.words_used[key] += 1
                if self.words_used[key] > int(times):
                    continue
            found[name] = value or ""
        return found

    def note(self, text: str, request: web.BaseRequest, body: dict[str, Any]) -> None:
        if self.counting:
            self.by_text[text] += 1
        if self.log is not None:
            line = {
                "text": text,
                "path": request.path,
                "batch": request.headers.get("x-linarite-priority") == "batch",
                "stream": bool(body.get("stream")),
                "pid": os.getpid(),
                "headers": {str(name).lower(): value for name, value in request.headers.items()},
                "body": body,
            }
            os.write(self.log, orjson.dumps(line) + b"\n")


def _text_of(path: str, body: dict[str, Any]) -> str:
    """The text that carries the steering words: the last message, the prompt or the input."""
    if path.endswith("/chat/completions"):
        messages = body.get("messages") or [{}]
        content = messages[-1].get("content") or ""
        if isinstance(content, list):
            content = " ".join(part.get("text", "") for part in content)
        return str(content)
    if path.endswith("/moderations"):
        return "\n".join(body["input"])
    value = body.get("prompt", body.get("input", ""))
    return value if isinstance(value, str) else json.dumps(value)


def _answer_text(text: str, words: dict[str, str]) -> str:
    if "say" in words:
        return words["say"]
    if "backwards" in words:
        return words["backwards"][::-1]
    if "tokens" in words:
        return " ".join("word" for _ in range(int(words["tokens"])))
    return "Answer to: " + text[:60]


def _error(status: int, words: dict[str, str]) -> web.Response:
    headers = {"retry-after": words["retry-after"]} if "retry-after" in words else None
    body = {
        "error": {
            "message": f"The script says {status}.",
            "type": "scripted",
            "param": None,
            "code": str(status),
        }
    }
    return web.json_response(body, status=status, headers=headers)


def _usage(text: str, answer: str) -> dict[str, int]:
    asked, said = len(text.split()) or 1, len(answer.split())
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def _chat_answer(
    script: Script, text: str, answer: str, call: dict[str, Any] | None, *, is_older: bool
) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer, "refusal": None}
    reason = "stop"
    if call is not None:
        reason = "function_call" if is_older else "tool_calls"
        message |= {"content": None, reason: call["function"] if is_older else [call]}
    choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": script.model,
        "choices": [choice],
        "usage": _usage(text, answer),
    }


def _call(told: str) -> dict[str, Any]:
    """A call of a tool: its name and its arguments, as the script tells them."""
    name, _, arguments = told.partition(" ")
    function = {"name": name, "arguments": arguments}
    return {"id": "call_scripted", "type": "function", "function": function}


def _call_deltas(message: dict[str, Any]) -> list[dict[str, Any]]:
    """The call of a message as a stream tells it: its name, its arguments a letter a piece."""
    if older := message.get("function_call"):
        return [{"function_call": piece} for piece in _pieces(older)]
    deltas = []
    for call in message.get("tool_calls") or ():
        begun, *more = _pieces(call["function"])
        pieces = [{**call, "function": begun}, *({"function": piece} for piece in more)]
        deltas += [{"tool_calls": [{"index": 0, **piece}]} for piece in pieces]
    return deltas


def _pieces(function: dict[str, Any]) -> list[dict[str, Any]]:
    begun = {**function, "arguments": ""}
    return [begun, *({"arguments": letter} for letter in function["arguments"])]


def _completion_answer(script: Script, text: str, answer: str) -> dict[str, Any]:
    choice = {"index": 0, "text": answer, "finish_reason": "stop", "logprobs": None}
    return {
        "id": "cmpl-scripted",
        "object": "text_completion",
        "created": int(time.time()),
        "model": script.model,
        "choices": [choice],
        "usage": _usage(text, answer),
    }


def _embedding_answer(script: Script, body: dict[str, Any]) -> dict[str, Any]:
    value = body.get("input", "")
    inputs = value if isinstance(value, list) and value and not _is_tokens(value) else [value]
    data = []
    for index, one in enumerate(inputs):
        vector = [float(len(str(one)) % (place + 2)) for place in range(_EMBEDDING_SIZE)]
        packed = base64.b64encode(struct.pack(f"<{_EMBEDDING_SIZE}f", *vector)).decode()
        as_base64 = body.get("encoding_format") == "base64"
        shown: object = packed if as_base64 else vector
        data.append({"object": "embedding", "index": index, "embedding": shown})
    tokens = sum(len(str(one).split()) for one in inputs)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "model": script.model, "data": data, "usage": usage}


def _moderation_answer(body: dict[str, Any]) -> dict[str, Any]:
    results = []
    for text in body["input"]:
        scores = dict.fromkeys(_CATEGORIES, 0.0)
        scores |= {name: float(score) for name, score in _SCORE.findall(text)}
        flagged = set(_FLAG.findall(text))
        categories = {name: name in flagged for name in [*scores, *sorted(flagged)]}
        results.append(
            {"flagged": bool(flagged), "categories": categories, "category_scores": scores}
        )
    return {"id": "modr-scripted", "model": body["model"], "results": results}


def _is_tokens(value: list[Any]) -> bool:
    return all(isinstance(one, int) for one in value)


def _drop(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _answer(script: Script, request: web.BaseRequest) -> web.StreamResponse:
    body = orjson.loads(await request.read())
    text = _text_of(request.path, body)
    script.note(text, request, body)
    words = script.words(text) if script.every or "[[" in text else {}
    delay = float(words["delay"]) if "delay" in words else script.delay_ms
    if delay:
        await asyncio.sleep(delay / 1000)
    if "hang" in words:
        await asyncio.Event().wait()
    if "drop" in words:
        return _drop(request)
    if "fail" in words:
        return _error(int(words["fail"]), words)
    if "garbage" in words:
        return web.Response(text="<html>not json", content_type="application/json")
    return await _say(script, request, body, text, words)


async def _say(
    script: Script,
    request: web.BaseRequest,
    body: dict[str, Any],
    text: str,
    words: dict[str, str],
) -> web.StreamResponse:
    if request.path.endswith("/embeddings"):
        answer = _embedding_answer(script, body)
    elif request.path.endswith("/moderations"):
        if failing := re.search(r"fail=(\d+)", text):
            return _error(int(failing[1]), words)
        answer = _moderation_answer(body)
    else:
        said = _answer_text(text, words)
        chat = request.path.endswith("/chat/completions")
        call = _call(words["call"]) if chat and "call" in words else None
        if chat:
            answer = _chat_answer(script, text, said, call, is_older="functions" in body)
        else:
            answer = _completion_answer(script, text, said)
        if body.get("stream"):
            return await _stream(request, body, answer, "" if call else said, words)
    return web.Response(body=orjson.dumps(answer), content_type="application/json")


async def _stream(
    request: web.BaseRequest,
    body: dict[str, Any],
    answer: dict[str, Any],
    said: str,
    words: dict[str, str],
) -> web.StreamResponse:
    """The same answer as server-sent events, a word a piece."""
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    chat = answer["object"] == "chat.completion"
    head = {key: answer[key] for key in ("id", "created", "model")}
    head["object"] = "chat.completion.chunk" if chat else "text_completion"

    async def send(choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> None:
        chunk = {**head, "choices": choices} | ({"usage": usage} if usage else {})
        await response.write(b"data: " + orjson.dumps(chunk) + b"\n\n")

    if chat:
        first = {"role": "assistant", "content": ""}
        await send([{"index": 0, "delta": first, "finish_reason": None}])
    pace = float(words.get("pace", 0))
    for piece in re.findall(r"\S+\s*", said):
        if pace:
            await asyncio.sleep(pace / 1000)
        piece_of = {"delta": {"content": piece}} if chat else {"text": piece}
        await send([{"index": 0, **piece_of, "finish_reason": None}])
        if "cut" in words:
            _drop(request)
            return response
        if "stall" in words:
            await asyncio.Event().wait()
    choice = answer["choices"][0]
    for delta in _call_deltas(choice["message"]) if chat else ():
        await send([{"index": 0, "delta": delta, "finish_reason": None}])
    end: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
    await send([{"index": 0, **end, "finish_reason": choice["finish_reason"]}])
    if (body.get("stream_options") or {}).get("include_usage"):
        await send([], answer["usage"])
    await response.write(b"data: [DONE]\n\n")
    return response


def _asked(script: Script) -> web.Response:
    return web.json_response(
        {
            "total": script.by_text.total(),
            "in_flight": script.in_flight,
            "most_in_flight": script.most_in_flight,
            "cancelled": script.cancelled,
            "by_text": dict(script.by_text),
        }
    )


async def _steer(script: Script, request: web.BaseRequest) -> web.Response:
    for name, value in (await request.json()).items():
        if name not in {"delay_ms", "every", "slots", "limit", "model"}:
            return web.json_response({"error": f"no such setting: {name}"}, status=400)
        setattr(script, name, value)
    return web.json_response({})


async def _handle(script: Script, request: web.BaseRequest) -> web.StreamResponse:
    path = request.path
    if request.method == "POST" and path.endswith(_ANSWERED):
        if script.limit is not None and script.in_flight >= script.limit:
            return _error(429, {"retry-after": "1"})
        script.in_flight += 1
        script.most_in_flight = max(script.most_in_flight, script.in_flight)
        try:
            return await _answer(script, request)
        except asyncio.CancelledError:
            script.cancelled += 1
            raise
        finally:
            script.in_flight -= 1
    if path == "/requests":
        return _asked(script)
    if path == "/script":
        return await _steer(script, request)
    if path == "/reset":
        script.by_text.clear()
        script.words_used.clear()
        script.most_in_flight = script.in_flight
        script.cancelled = 0
        return web.json_response({})
    if path == "/health":
        return web.json_response({"status": "ok"})
    if path == "/slots" and script.slots is not None:
        return web.json_response({"total": script.slots, "in_use": script.in_flight})
    if path.endswith("/models"):
        model = {"id": script.model, "object": "model", "created": 0, "owned_by": "scripted"}
        return web.json_response({"object": "list", "data": [model]})
    return _error(404, {})


async def serve(args: argparse.Namespace) -> None:
    """Answer until SIGTERM or SIGINT."""
    script = Script(
        model=args.model,
        delay_ms=args.delay_ms,
        every=args.every,
        slots=args.slots,
        limit=args.limit,
        counting=not args.no_count,
    )
    if args.log:
        script.log = os.open(args.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return await _handle(script, request)

    server = web.Server(handler, handler_cancellation=True, access_log=None)
    runner = web.ServerRunner(server, shutdown_timeout=0.2)
    await runner.setup()
    if args.socket:
        await web.UnixSite(runner, args.socket).start()
        ready = {"socket": args.socket, "pid": os.getpid()}
    else:
        site = web.TCPSite(runner, "127.0.0.1", args.port, backlog=4096)
        await site.start()
        port = runner.addresses[0][1]
        ready = {"base_url": f"http://127.0.0.1:{port}/v1", "port": port, "pid": os.getpid()}
    if args.ready_file:
        part = Path(f"{args.ready_file}.part")
        part.write_text(json.dumps(ready))
        part.replace(args.ready_file)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    await stop.wait()
    await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description="A model that answers what it is told.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--socket", help="listen on this Unix socket instead of a port")
    parser.add_argument("--ready-file")
    parser.add_argument("--log", help="append one JSON line a request to this file")
    parser.add_argument("--model", default="scripted")
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--every", default="", help="steering words added to every text")
    parser.add_argument("--slots", type=int, help="serve /slots with this total")
    parser.add_argument("--limit", type=int, help="answer 429 beyond so many in flight")
    parser.add_argument("--no-count", action="store_true")
    uvloop.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
