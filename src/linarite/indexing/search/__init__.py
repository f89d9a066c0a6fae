"""The embedded index: documents, vectors and their search, in Azure AI Search's REST dialect.

    dialect → index_operations → rules → definition
            → document_operations → documents | searching → query → words | filters | schema
    both operations → calls → store

Nothing here is imported before somebody asks for an index: the store's libraries are large.
"""

MOST_BYTES = 16 << 20
"""The longest body of a request, as in the service."""
