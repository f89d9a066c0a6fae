"""Ingestion jobs: from documents and web pages to an index that can be asked."""
