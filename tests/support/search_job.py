"""What a program does with Azure's search client, whichever version of it is on the path."""

from typing import Any

from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.search.documents import SearchClient
from azure.search.documents.indexes import SearchIndexClient
from azure.search.documents.indexes.models import (
    HnswAlgorithmConfiguration,
    SearchableField,
    SearchField,
    SearchFieldDataType,
    SearchIndex,
    SemanticConfiguration,
    SemanticField,
    SemanticPrioritizedFields,
    SemanticSearch,
    SimpleField,
    VectorSearch,
    VectorSearchProfile,
)
from azure.search.documents.models import VectorizedQuery

INDEX = SearchIndex(
    name="hotels",
    fields=[
        SimpleField(name="id", type=SearchFieldDataType.String, key=True),
        SearchableField(name="name", type=SearchFieldDataType.String, sortable=True),
        SearchableField(name="about", type=SearchFieldDataType.String, analyzer_name="en.lucene"),
        SimpleField(name="stars", type=SearchFieldDataType.Int32, filterable=True, sortable=True),
        SearchField(
            name="groups",
            type=SearchFieldDataType.Collection(SearchFieldDataType.String),
            filterable=True,
        ),
        SearchField(
            name="vector",
            type=SearchFieldDataType.Collection(SearchFieldDataType.Single),
            searchable=True,
            vector_search_dimensions=3,
            vector_search_profile_name="usual",
        ),
    ],
    vector_search=VectorSearch(
        algorithms=[HnswAlgorithmConfiguration(name="hnsw")],
        profiles=[VectorSearchProfile(name="usual", algorithm_configuration_name="hnsw")],
    ),
    semantic_search=SemanticSearch(
        configurations=[
            SemanticConfiguration(
                name="default",
                prioritized_fields=SemanticPrioritizedFields(
                    title_field=SemanticField(field_name="name"),
                    content_fields=[SemanticField(field_name="about")],
                ),
            )
        ]
    ),
)
HOTELS = [
    {"id": "1", "name": "Sea view", "about": "Rooms by the sea.", "stars": 3, "vector": [1, 0, 0]},
    {
        "id": "2",
        "name": "Old mill",
        "about": "A mill in the woods.",
        "stars": 5,
        "vector": [0, 1, 0],
    },
    {
        "id": "3",
        "name": "Woods",
        "about": "Sleeping in trees.",
        "stars": 4,
        "vector": [0, 0.9, 0.4],
    },
]


def main_job(endpoint: str, key: str, **options: Any) -> dict[str, Any]:
    """Make an index, fill it, ask it in every way, and remove it; what was seen."""
    indexes = SearchIndexClient(endpoint, AzureKeyCredential(key), **options)
    documents = SearchClient(endpoint, "hotels", AzureKeyCredential(key), **options)
    with indexes, documents:
        made = indexes.create_or_update_index(INDEX)
        indexes.create_or_update_index(indexes.get_index("hotels"))
        seen = {"made": made.name, "fields": len(indexes.get_index("hotels").fields)}
        uploaded = documents.upload_documents([{**one, "groups": ["all"]} for one in HOTELS])
        seen["uploaded"] = [one.status_code for one in uploaded]
        merged = documents.merge_documents([{"id": "2", "groups": ["all", "few"]}, {"id": "9"}])
        seen["merged"] = [one.succeeded for one in merged]
        seen |= _asked(documents)
        seen["count"] = documents.get_document_count()
        seen["statistics"] = _document_count(indexes.get_index_statistics("hotels"))
        seen["document"] = documents.get_document("1", selected_fields=["name"])["name"]
        seen["refused"] = [
            _refusal(documents, filter="nothing eq 1"),
            _refusal(documents, facets=["x"]),
        ]
        seen["deleted"] = [one.status_code for one in documents.delete_documents([{"id": "1"}])]
        indexes.delete_index("hotels")
        try:
            documents.get_document_count()
        except ResourceNotFoundError as error:
            seen["gone"] = error.status_code
    return seen


def _asked(documents: SearchClient) -> dict[str, Any]:
    near = VectorizedQuery(vector=[0, 1, 0], k_nearest_neighbors=2, fields="vector")

    def ids(text: str | None = None, **options: Any) -> list[str]:
        return [found["id"] for found in documents.search(text, **options)]

    counted = documents.search("*", include_total_count=True, top=1)
    return {
        "words": ids("trees sea", order_by=["stars desc"]),
        "vector": ids(vector_queries=[near]),
        "hybrid": ids("sleep", vector_queries=[near])[:1],
        "semantic": ids("mill", query_type="semantic", semantic_configuration_name="default"),
        "filtered": ids("*", filter="groups/any(g: search.in(g, 'few,none')) and stars gt 3"),
        "counted": [len(list(counted)), counted.get_count()],
    }


def _document_count(statistics: Any) -> int:
    told = dict(statistics)  # by the names of the client in the older, of the wire in the newer
    return int(told.get("document_count", told.get("documentCount", -1)))


def _refusal(documents: SearchClient, **options: Any) -> int | None:
    try:
        list(documents.search("*", **options))
    except HttpResponseError as error:
        return error.status_code
    return None


SEEN: dict[str, Any] = {
    "made": "hotels",
    "fields": 6,
    "uploaded": [201, 201, 201],
    "merged": [True, False],
    "words": ["3", "1"],
    "vector": ["2", "3"],
    "hybrid": ["3"],
    "semantic": ["2"],
    "filtered": ["2"],
    "counted": [1, 3],
    "count": 3,
    "statistics": 3,
    "document": "Sea view",
    "refused": [400, 400],
    "deleted": [200],
    "gone": 404,
}
"""What every version sees."""
