"""LlamaIndex's IngestionPipeline as its guides set it up: ``llamaindex_peer.py OPTIONS``, as JSON.

It reads a folder with the reader it has for each format, cuts by its sentence splitter, embeds by
its OpenAI client, keeps a docstore of hashes and stores into LanceDB. As it ships it keeps a cache
of what its steps made, too, by which nothing is embedded twice; tuned it does without. It prints
the seconds from the first file read to all persisted, without its imports, and how many chunks
there are.
"""

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import lancedb
from llama_index.core import SimpleDirectoryReader
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.readers.file import HTMLTagReader
from llama_index.vector_stores.lancedb import LanceDBVectorStore


def main(options: dict[str, Any]) -> None:
    """Ingest once."""
    out = Path(options["out"])
    embedding = OpenAIEmbedding(
        model_name=options["model"],
        api_base=options["base_url"],
        api_key=options["api_key"],
        embed_batch_size=options["texts"],
        timeout=600.0,
    )
    splitter = SentenceSplitter(
        chunk_size=options["chunk_tokens"], chunk_overlap=options["overlap_tokens"]
    )
    pipeline = IngestionPipeline(
        transformations=[splitter, embedding],
        docstore=SimpleDocumentStore(),
        docstore_strategy=DocstoreStrategy.UPSERTS,
        vector_store=LanceDBVectorStore(uri=str(out / "lance"), mode="overwrite"),
        disable_cache=not options["is_as_shipped"],
    )
    began = time.perf_counter()
    reader = SimpleDirectoryReader(
        options["folder"],
        recursive=True,
        exclude_hidden=False,
        filename_as_id=True,
        file_extractor={".html": HTMLTagReader(tag="body")},
    )
    pipeline.run(documents=reader.load_data())
    pipeline.persist(str(out / "pipeline"))
    seconds = time.perf_counter() - began
    [table] = lancedb.connect(out / "lance").table_names()
    chunks = lancedb.connect(out / "lance").open_table(table).count_rows()
    print(json.dumps({"seconds": seconds, "chunks": chunks}))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(json.loads(sys.argv[1]))
