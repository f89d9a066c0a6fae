"""From what a job comes to to the parts that its runs work with.

The libraries of each kind of part are loaded when a job first wants it, and only then: together
they take seconds and hundreds of megabytes, and an installation may be without them.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from linarite.clock import Clock
from linarite.errors import DeploymentNotFound, InvalidPayload
from linarite.indexing.containers.container import Container
from linarite.indexing.failures import IngestionFailed
from linarite.indexing.targets.target import OF_A_JOB, Target
from linarite.outbound import opened
from linarite.resources.deployments.service import Deployments
from linarite.resources.indexes.service import Indexes
from linarite.resources.inference.service import Inference
from linarite.resources.ingestion import definition
from linarite.resources.ingestion.pages import SitePages
from linarite.resources.ingestion.parts import Parts
from linarite.resources.ingestion.specs import (
    BlobContainerSpec,
    ByIdentity,
    ByKey,
    ByString,
    CosmosIndexSpec,
    DeploymentEmbeddingSpec,
    EmbeddedIndexSpec,
    EmbeddingSpec,
    EndpointEmbeddingSpec,
    FolderSpec,
    OwnContainerSpec,
    PineconeIndexSpec,
    Resolved,
    SearchIndexSpec,
    TargetSpec,
)
from linarite.settings import OutboundSettings, Settings
from linarite.storage.blobs import BlobStore
from linarite.storage.database import Database
from linarite.wire.ingestion import IngestionJob

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

    from linarite.indexing.embedding.embedder import Embedder


@dataclass(frozen=True)
class Assembly:
    """What parts are made of.

    Args:
        settings: where the operator's names are.
        database, blobs, clock: the server's own.
        deployments: what embeds.
        inference: knows how deployments' engines are asked.
        indexes: the embedded ones.
        host_socket: where this machine's engine host listens.
    """

    settings: Settings
    database: Database
    blobs: BlobStore
    clock: Clock
    deployments: Deployments
    inference: Inference
    indexes: Indexes
    host_socket: Path

    @contextmanager
    def open(self, resource: str, job: IngestionJob) -> Iterator[Parts]:
        """The parts of a job while the block lasts; see `OpenParts`."""
        from linarite.indexing.chunking import Cutting
        from linarite.indexing.cracking.cracker import Cracker, cracker_version

        try:
            resolved = definition.resolve(self.settings, job)
        except InvalidPayload as refusal:  # the operator has changed an entry since
            raise IngestionFailed(refusal.message) from refusal
        with ExitStack() as stack:
            embedder = self._embedder(stack, resource, resolved.embedding)
            cutting = Cutting(
                None if embedder is None else embedder.tokenizer, _chunk_tokens(resolved, embedder)
            )
            embedded_by = "" if embedder is None else embedder.name
            made_by = (cracker_version(), cutting.fingerprint, embedded_by)
            container = self._container(stack, resource, resolved)
            pages = None
            if resolved.crawl is not None:
                whose = f"{resource}/{job.job_id}"
                pages = SitePages(container, resolved.crawl, self.settings.outbound, whose)
            yield Parts(
                container=pages or container,
                target=self._target(stack, resource, str(job.job_id), resolved.target),
                cracker=stack.enter_context(Cracker(cutting)),
                embedder=embedder,
                place=_place(resolved.target),
                fingerprint=hashlib.sha256("\0".join(made_by).encode()).hexdigest(),
                document_bytes=self.settings.ingestion.document_bytes,
                parallel=resolved.parallel,
                pages=pages,
                cleans_up=resolved.clean_up,
                is_own=isinstance(resolved.target, EmbeddedIndexSpec),
                tidy=partial(self._tidy, resource, resolved.target),
            )

    def _container(self, stack: ExitStack, resource: str, resolved: Resolved) -> Container:
        match resolved.container:
            case BlobContainerSpec() as spec:
                return self._blob_container(stack, spec, creates=resolved.crawl is not None)
            case FolderSpec(path=path):
                from linarite.indexing.containers.folder import FolderContainer

                return FolderContainer(path, creates=resolved.crawl is not None)
            case OwnContainerSpec(container=name):
                from linarite.indexing.containers.own import OwnContainer

                return OwnContainer(
                    self.database,
                    self.blobs,
                    self.clock,
                    resource=resource,
                    name=name,
                    creates=resolved.crawl is not None,
                )

    def _blob_container(
        self, stack: ExitStack, spec: BlobContainerSpec, *, creates: bool
    ) -> Container:
        from linarite.indexing.containers import blob_access
        from linarite.indexing.containers.blob import BlobContainer

        outbound, access = self.settings.outbound, spec.access
        match access:
            case ByString():
                client = blob_access.by_connection_string(
                    access.connection_string, spec.container, outbound, is_named=access.is_named
                )
            case ByKey():
                client = blob_access.by_key(
                    access.endpoint,
                    access.key,
                    spec.container,
                    outbound,
                    is_named=access.is_named,
                )
            case ByIdentity():
                client = blob_access.by_identity(
                    access.endpoint,
                    spec.container,
                    outbound,
                    hosts=outbound.identity_hosts,
                    is_named=access.is_named,
                )
        container = BlobContainer(
            client, prefix=spec.prefix, is_single=spec.is_single, creates=creates
        )
        return stack.enter_context(closing(container))

    def _embedder(
        self, stack: ExitStack, resource: str, spec: EmbeddingSpec | None
    ) -> "Embedder | None":
        match spec:
            case None:
                return None
            case DeploymentEmbeddingSpec(deployment=name):
                from linarite.resources.ingestion.deployed import DeployedEmbedder

                try:
                    target = self.deployments.look_up(resource, name)
                except DeploymentNotFound as gone:
                    raise IngestionFailed(gone.message) from gone
                embedder = DeployedEmbedder(self.inference, target, self.host_socket)
                return stack.enter_context(embedder)
            case EndpointEmbeddingSpec():
                return self._endpoint_embedder(stack, spec)

    def _endpoint_embedder(self, stack: ExitStack, spec: EndpointEmbeddingSpec) -> "Embedder":
        from linarite.indexing.embedding import endpoint

        access = spec.access
        credential = access.key if isinstance(access, ByKey) else _own_identity(stack)
        if spec.deployment is None:
            where = endpoint.openai_model(access.endpoint, credential, spec.model or "")
        else:
            where = endpoint.azure_deployment(
                access.endpoint, credential, spec.deployment, spec.model
            )
        return stack.enter_context(endpoint.endpoint_embedder(where, self._reach(access)))

    def _target(self, stack: ExitStack, resource: str, job_id: str, spec: TargetSpec) -> Target:
        whose = f"{resource}/{job_id}"  # what is elsewhere other resources' jobs may use, too
        match spec:
            case EmbeddedIndexSpec(index=index):
                from azure.core.credentials import AzureKeyCredential

                from linarite.indexing.search.in_process import ENDPOINT
                from linarite.indexing.targets.azure_search import AzureSearchTarget

                made_by = f"{OF_A_JOB}{job_id}"
                transport = stack.enter_context(self.indexes.transport(resource, made_by))
                key = AzureKeyCredential("none is asked for")
                return AzureSearchTarget(ENDPOINT, key, transport, index, made_by)
            case SearchIndexSpec():
                return self._search_target(stack, spec, f"{OF_A_JOB}{whose}")
            case CosmosIndexSpec():
                from linarite.indexing.targets.cosmos import cosmos_target

                return stack.enter_context(
                    cosmos_target(spec.connection_string, spec.database, spec.collection, whose)
                )
            case PineconeIndexSpec():
                from linarite.indexing.targets.pinecone import Serverless, pinecone_target

                create = None if spec.create is None else Serverless(*spec.create)
                return stack.enter_context(
                    pinecone_target(
                        spec.key,
                        f"{resource}.{spec.namespace}",
                        host=spec.host,
                        index=spec.index,
                        create=create,
                    )
                )

    def _tidy(self, resource: str, spec: TargetSpec) -> None:
        if isinstance(spec, EmbeddedIndexSpec):  # others see to that
            self.indexes.tidy(resource, spec.index)

    def _search_target(self, stack: ExitStack, spec: SearchIndexSpec, made_by: str) -> Target:
        from azure.core.credentials import AzureKeyCredential

        from linarite.indexing.azure_transport import guarded_transport
        from linarite.indexing.targets.azure_search import AzureSearchTarget

        access = spec.access
        credential = (
            AzureKeyCredential(access.key) if isinstance(access, ByKey) else _own_identity(stack)
        )
        transport = stack.enter_context(guarded_transport(self._reach(access)))
        return AzureSearchTarget(access.endpoint, credential, transport, spec.index, made_by)

    def _reach(self, access: ByKey | ByIdentity) -> OutboundSettings:
        """What may be connected to: where the operator named the address, that too."""
        outbound = self.settings.outbound
        return opened(outbound, access.endpoint) if access.is_named else outbound


def _chunk_tokens(resolved: Resolved, embedder: "Embedder | None") -> int:
    longest = None if embedder is None else embedder.max_tokens
    return resolved.chunk_tokens if longest is None else min(resolved.chunk_tokens, longest)


def _place(spec: TargetSpec) -> str:
    """Tells a target apart from others; no secret is in it."""
    match spec:
        case EmbeddedIndexSpec():
            return f"embedded {spec.index}"
        case SearchIndexSpec():
            return f"search {spec.access.endpoint} {spec.index}"
        case CosmosIndexSpec():
            host = spec.connection_string.rpartition("@")[2].partition("/")[0]
            return f"cosmos {host} {spec.database} {spec.collection}"
        case PineconeIndexSpec():
            return f"pinecone {spec.host or spec.index} {spec.namespace}"
    assert_never(spec)


def _own_identity(stack: ExitStack) -> "TokenCredential":
    from azure.identity import DefaultAzureCredential

    return stack.enter_context(closing(DefaultAzureCredential()))
