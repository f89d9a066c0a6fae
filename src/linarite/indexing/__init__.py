"""From documents to an index: containers, cracking, chunks, embeddings, targets, search."""
