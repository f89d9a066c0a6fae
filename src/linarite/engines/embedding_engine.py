"""An embedded engine's side of embeddings: a request read, answered, told."""

import asyncio

from aiohttp import web
from tokenizers import Tokenizer

from linarite.engines import dialect
from linarite.engines.bodies import is_batch, json_object, reply
from linarite.engines.capabilities import capabilities
from linarite.engines.installed import InstalledModel
from linarite.engines.tokens import encoded


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
            await json_object(request), self._able, self.model.dimensions
        )
        # Thousands of long texts would keep everybody else waiting for a second.
        tokens = await asyncio.to_thread(lambda: [self._tokens(one) for one in inputs])
        vectors = await self._embedder.embed(tokens, is_batch=is_batch(request))
        total = sum(len(one) for one in tokens)
        return reply(dialect.embedding_answer(self.model.id, vectors, total, in_base64=in_base64))

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
