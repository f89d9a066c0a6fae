"""Where the wire leaves the contract, each with its reason; what is in no table here is a fault.

The contract is the vendor's own and is kept word for word; these tables are its commentary. They
serve the checker of answers and the comparison of wire classes alike.
"""

from typing import Any, NamedTuple

Schema = dict[str, Any]


class Change(NamedTuple):
    """Another schema than the contract's, and why."""

    schema: Schema
    reason: str


STRING_OR_NULL: Schema = {"type": ["string", "null"]}
TIME_OR_NULL: Schema = {"type": ["integer", "null"], "minimum": 0}

LOGPROBS: Schema = {
    "type": "object",
    "additionalProperties": {
        "anyOf": [{"type": "array", "items": {"$ref": "#/$defs/Logprob"}}, {"type": "null"}]
    },
}

GATEWAY_CODES = ["401", "404", "405", "429", "BadRequest", "DeploymentNotFound"]
"""Codes of the service's gateway, which answers before any operation does."""

REPLACED: dict[tuple[str, str], Change] = {
    ("Error", "code"): Change(
        {
            "anyOf": [
                {"$ref": "#/$defs/ErrorCode"},
                {"enum": GATEWAY_CODES, "x-enum-name": "GatewayCode"},
            ]
        },
        "the real gateway answers these words, and clients look for them",
    ),
    ("BatchErrors", "data"): Change(
        {"type": "array", "items": {"$ref": "#/$defs/BatchErrorData"}},
        "an array on the real wire; official clients iterate it",
    ),
    ("BatchErrorData", "line"): Change(
        {"type": ["integer", "null"], "minimum": 1}, "an integer on the real wire"
    ),
    ("Choice", "logprobs"): Change(
        {"anyOf": [LOGPROBS, {"type": "null"}]},
        "OpenAI's form, which clients read; a map from names to tokens has no order",
    ),
}

ADDED: dict[tuple[str, str], Change] = {
    ("File", "expires_at"): Change(TIME_OR_NULL, "later versions answer it with `expires_after`"),
    ("FileList", "first_id"): Change(STRING_OR_NULL, "official clients page files as all lists"),
    ("FileList", "last_id"): Change(STRING_OR_NULL, "official clients page files as all lists"),
    ("FileList", "has_more"): Change({"type": "boolean"}, "older clients page for ever without"),
    ("FineTuningJob", "organization_id"): Change(
        STRING_OR_NULL, "the real wire's spelling of `organisation_id`"
    ),
    ("StoredCompletion", "object"): Change(
        {"type": "string", "enum": ["chat.completion"]}, "official clients read it of list items"
    ),
    ("ChoiceMessage", "refusal"): Change(STRING_OR_NULL, "what the model said in place of content"),
    ("FunctionDefinition", "strict"): Change(
        {"type": ["boolean", "null"]}, "a part of the function as it was given"
    ),
    ("Logprob", "bytes"): Change(
        {"type": ["array", "null"], "items": {"type": "integer"}}, "a part of OpenAI's form"
    ),
    ("Logprob", "top_logprobs"): Change(
        {"type": "array", "items": {"type": "object"}}, "a part of OpenAI's form"
    ),
    ("InputMessage", "content_parts"): Change(
        {"type": ["array", "null"], "items": {"type": "object"}},
        "the whole of a message in parts, under the name that newer clients read",
    ),
    ("InputMessage", "tool_calls"): Change(
        {"type": ["array", "null"], "items": {"type": "object"}},
        "an assistant's message may have no content but these",
    ),
    ("InputMessage", "tool_call_id"): Change(STRING_OR_NULL, "what a tool's message answers"),
    ("Model", "created"): Change(
        {"type": "integer", "minimum": 0}, "official clients read it for `created_at`"
    ),
    ("Model", "owned_by"): Change({"type": "string"}, "official clients read it"),
}

_GIVEN = "a job is answered as it was given, as in the examples; its lists tell id and kind"
_OF_INGESTION: dict[str, tuple[str, tuple[str, ...]]] = {
    "IngestionJob": (_GIVEN, ("jobId",)),
    "IngestionJobSystemCompute": (
        _GIVEN,
        (
            "jobId",
            "searchServiceConnection",
            "datasource",
            "completionAction",
            "dataRefreshIntervalInHours",
        ),
    ),
    "IngestionJobUserCompute": (
        _GIVEN,
        ("jobId", "compute", "target", "datasource", "dataRefreshIntervalInHours"),
    ),
    "EndpointMIConnection": (_GIVEN, ("resourceId",)),
    "SystemComputeStorage": (_GIVEN, ("chunking",)),
    "SystemComputeUrl": (_GIVEN, ("chunking", "crawling")),
    "UserComputeDataset": (_GIVEN, ("chunking", "embeddings")),
    "UserComputeUrl": (_GIVEN, ("chunking", "crawling")),
    "ChunkingSettings": (_GIVEN, ("maxChunkSizeInTokens",)),
    "CrawlingSettings": (
        _GIVEN,
        (
            "maxCrawlDepth",
            "maxCrawlTimeInMins",
            "maxDownloadTimeInMins",
            "maxFileSize",
            "maxRedirects",
            "maxFiles",
        ),
    ),
    "GenericEmbeddingSettings": (_GIVEN, ("connection", "deploymentName", "modelName")),
    "WorkspaceConnectionEmbeddingSettings": (
        _GIVEN,
        ("connectionId", "deploymentName", "modelName"),
    ),
    "ServerlessCompute": (_GIVEN, ("sku", "instanceCount")),
    "CosmosDBIndex": (_GIVEN, ("collectionName", "databaseName")),
    "IngestionJobList": ("only where another page follows", ("nextLink",)),
    "IngestionJobRunList": ("only where another page follows", ("nextLink",)),
    "IngestionJobRun": ("lists tell the state alone", ("error", "warnings", "progress")),
    "IngestionError": ("only where there are any", ("innerErrors",)),
    "IngestionJobStageProgress": (
        "only of stages that count something, or have parts",
        ("totalItems", "processedItems", "subStageProgress"),
    ),
}

OMITTED: dict[tuple[str, str], str] = {
    (name, field): why for name, (why, fields) in _OF_INGESTION.items() for field in fields
} | {
    ("Error", "target"): "only where one place is at fault; the real service leaves it out",
    ("Error", "details"): "only where there are several faults",
    ("Error", "innererror"): "only where there is a finer reason",
    ("InnerError", "innererror"): "the innermost has none",
}
"""Declared fields that an answer may leave out."""

_OF_STORED = frozenset(
    {"tool_choice", "usage", "system_fingerprint", "input_user", "service_tier", "tools"}
)
_WHY_OF_STORED = "null where the request named none, or the engine told none"

NULLABLE: dict[str, tuple[frozenset[str], str]] = {
    "File": (
        frozenset({"bytes", "status_details"}),
        "null until known; details only on error and of exports",
    ),
    "UploadResource": (frozenset({"file"}), "there is no file before the upload is completed"),
    "Batch": (
        frozenset(
            {
                "errors",
                "output_file_id",
                "error_file_id",
                "in_progress_at",
                "expires_at",
                "finalizing_at",
                "completed_at",
                "failed_at",
                "expired_at",
                "cancelling_at",
                "cancelled_at",
                "metadata",
            }
        ),
        "null until entered, as on the real wire",
    ),
    "BatchErrorData": (frozenset({"param", "line"}), "null where a fault has neither"),
    "BatchesList": (frozenset({"first_id", "last_id"}), "an empty page has no first and last"),
    "FineTuningJob": (
        frozenset(
            {
                "fine_tuned_model",
                "validation_file",
                "result_files",
                "finished_at",
                "organisation_id",
                "trained_tokens",
                "error",
                "estimated_finish",
                "suffix",
                "integrations",
            }
        ),
        "null until known, or where nobody asked for it, as on the real wire",
    ),
    "FineTuningJobError": (frozenset({"param"}), "null where no part of the request is at fault"),
    "WandBIntegrationRequest": (frozenset({"name", "entity", "tags"}), "null where not asked for"),
    "Model": (frozenset({"model", "fine_tune"}), "a base model comes from no model and no job"),
    "Deprecation": (frozenset({"fine_tune"}), "a model that cannot be tuned"),
    "StoredCompletion": (_OF_STORED, _WHY_OF_STORED),
    "StoredCompletionResponse": (_OF_STORED, _WHY_OF_STORED),
    "Choice": (frozenset({"logprobs"}), "null where nobody asked for them"),
    "ChoiceMessage": (frozenset({"content", "tool_calls"}), "one of the two is what was said"),
    "FunctionDefinition": (frozenset({"description"}), "null where none was given"),
    "InputMessage": (frozenset({"content", "name"}), "null where none was given"),
    "StoredCompletionList": (
        frozenset({"total", "first_id", "last_id"}),
        "an empty page has no first and last; large sets that meet are not counted",
    ),
    "StoredCompletionMessages": (
        frozenset({"first_id", "last_id"}),
        "an empty page has no first and last",
    ),
}
"""Declared fields that an answer may give as null, which then reads as absent."""

DISCRIMINATOR_VALUES: dict[str, str] = {
    "SupervisedMethod": "supervised",
    "SupervisedMethodRequest": "supervised",
    "DpoMethod": "dpo",
    "DpoMethodRequest": "dpo",
}
"""Values the contract forgot to declare; `type` says the same and is what the wire sends."""

OBJECTS: dict[str, str] = {
    "File": "file",
    "FileDelete": "file",
    "FileList": "list",
    "UploadResource": "upload",
    "UploadPartResource": "upload.part",
    "Batch": "batch",
    "BatchErrors": "list",
    "BatchesList": "list",
    "Model": "model",
    "ModelList": "list",
    "FineTuningJob": "fine_tuning.job",
    "FineTuningJobList": "list",
    "FineTuningJobEvent": "fine_tuning.job.event",
    "FineTuningJobEventList": "list",
    "FineTuningJobCheckpoint": "fine_tuning.job.checkpoint",
    "FineTuningJobCheckpointList": "list",
    "StoredCompletionResponse": "chat.completion",
    "StoredCompletionDelete": "chat.completion.deleted",
    "StoredCompletionList": "list",
    "StoredCompletionMessages": "list",
}
"""The one value that `object` has in each definition, where the contract allows any."""

EXTRA_STATUSES: dict[tuple[str, int], str] = {
    ("Files_GetContent", 206): "a part of the content, asked for by `Range`",
    ("Files_GetContent", 304): "the caller has this content already, by its `ETag`",
}

OPTIONAL_HEADERS: dict[tuple[str, str], str] = {
    ("Batch_List", "deployment-enqueued-tokens"): "only where one deployment is in view",
    ("Batch_List", "deployment-maximum-enqueued-tokens"): "only where one deployment is in view",
}

INFERENCE_ERROR: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string", "minLength": 1},
                "type": STRING_OR_NULL,  # null where the content filter refuses, as at the service
                "param": STRING_OR_NULL,
                "code": STRING_OR_NULL,
            },
        }
    },
}
"""OpenAI's form of an error, which inference answers beside the contract's."""

_UNMADE = "the service makes such files for assistants, of which the contract has no operation"

NEVER_ANSWERED: dict[tuple[str, str], str] = {
    ("FileState", "uploaded"): "kept by the contract for compatibility, never returned",
    ("FileState", "deleting"): "kept by the contract for compatibility, never returned",
    ("Purpose", "assistants_output"): _UNMADE,
    ("FineTuningState", "created"): "kept by the contract for compatibility, never returned",
    ("LifeCycleStatus", "preview"): "whoever serves a model of their own means it for use",
    ("InnerErrorCode", "invalidPayload"): "no error has a finer reason than its own code",
    ("ErrorCode", "unauthorized"): "the gateway's word for it is `401`",
    ("ErrorCode", "contentFilter"): "inference has OpenAI's form for it",
    ("ErrorCode", "conflict"): "every clash so far has a finer word",
    ("ErrorCode", "tooManyRequests"): "the gateway's word for it is `429`",
}
"""Enum values that no answer can have yet; every other one must be seen by some test."""

ONLY_OVER_POST: dict[tuple[str, str], str] = {
    ("TypeDiscriminator", "upload"): "an upload cannot be read, only started, completed, cancelled",
    ("TypeDiscriminator", "upload.part"): "a part cannot be read, only sent",
}
