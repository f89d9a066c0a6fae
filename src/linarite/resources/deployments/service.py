"""Deployments: names under which models answer, made by callers or declared by the operator.

A deployment is ready as soon as it has a row, for engines start when they are first asked; it is
`failed` when its model is not there any more. What the API made belongs to one resource. What the
settings file declares, and every model under its own name, belongs to everyone and cannot be
changed over the API.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from linarite import ids
from linarite.clock import Clock
from linarite.errors import (
    DeploymentNotFound,
    Forbidden,
    InvalidPayload,
    ItemDoesAlreadyExist,
    NotFound,
    QuotaExceeded,
)
from linarite.resources.deployments import repository
from linarite.resources.deployments.records import (
    Deployed,
    DeploymentRecord,
    RateWindow,
    Target,
)
from linarite.resources.models.records import EVERYONE, ModelRecord
from linarite.resources.models.service import Models
from linarite.settings import DeploymentEntry
from linarite.storage.database import Database, Transaction
from linarite.wire.deployments import (
    ArmDeploymentPatch,
    ArmDeploymentRequest,
    DeploymentCreation,
    DeploymentUpdate,
    ScaleSettings,
)

DEFAULT_TOKEN_LIMIT = DeploymentEntry.model_fields["enqueued_token_limit"].default
_DECLARED = (
    "model",
    "enqueued_token_limit",
    "requests_per_minute",
    "tokens_per_minute",
    "deterministic",
)
"""What the settings file says of a deployment."""
_REMEMBER_SECONDS = 1.0
_REMEMBERED = 10_000


@dataclass(frozen=True)
class Deployments:
    """The deployments of every resource.

    Args:
        database: where they stand.
        models: what can be deployed.
        clock: the time of creation and change.
        declared: what the settings file deploys.
        most: how many deployments one resource may make.
    """

    database: Database
    models: Models
    clock: Clock
    declared: Sequence[DeploymentEntry] = ()
    most: int = 1000
    _known: dict[tuple[str, str], tuple[Target, float]] = field(default_factory=dict)

    def check_declared(self) -> None:
        """Raise InvalidPayload when the settings file deploys a model that is not there."""
        self._wanted()

    def sync(self) -> None:
        """Make everyone's deployments those of the settings file and the installed models.

        Runs at every start, in any number of processes; what did not change stays as it is.

        Raises:
            InvalidPayload: the settings deploy a model that is not there.
        """
        wanted = self._wanted()
        with self.database.reading() as connection:
            if not _is_other(repository.declared(connection), wanted):
                return  # most starts change nothing, and need not wait for a writer
        try:
            self._make_declared(wanted)
        except IntegrityError:  # another process was at it at the same moment
            self._make_declared(wanted)
        self._known.clear()

    def _make_declared(self, wanted: Mapping[str, DeploymentRecord]) -> None:
        with self.database.transaction() as tx:
            present = repository.declared(tx)
            for name in present.keys() - wanted.keys():
                repository.delete(tx, EVERYONE, name)
            for name, record in wanted.items():
                if name not in present:
                    repository.insert(tx, record)
                elif changes := _difference(present[name], record):
                    changes["updated_at"] = record.updated_at
                    repository.update(tx, EVERYONE, name, changes)

    def list(self, resource: str) -> Sequence[Deployed]:
        """What `resource` can use, oldest first."""
        models = {listing.id: listing.model for listing in self.models.list(resource)}
        records = self._visible(resource)
        everyones = {model.id for model in self.models.everyones()}
        if not everyones <= {record.id for record in records}:
            self._deploy_new_models()
            records = self._visible(resource)
        return [
            Deployed(record, models.get(record.model) or self._model_of(record))
            for record in records
        ]

    def get(self, resource: str, name: str) -> Deployed:
        """The deployment `name`.

        Raises:
            NotFound: `resource` cannot use any of that name.
        """
        record = self._find(resource, name)
        if record is None and self.models.find_everyones(name) is not None:
            self._deploy_new_models()
            record = self._find(resource, name)
        if record is None:
            _not_found(name)
        return Deployed(record, self._model_of(record))

    def create(self, resource: str, body: DeploymentCreation) -> Deployed:
        """Deploy a model under `body.id`, or under a name that is made.

        Raises:
            InvalidPayload: there is no such model, or it cannot be deterministic.
            ItemDoesAlreadyExist: the name is taken.
            QuotaExceeded: `resource` has made as many as it may.
        """
        model = self._model(resource, body.model)
        record = replace(
            self._new(resource, body.id or ids.deployment_id(), model),
            enqueued_token_limit=body.enqueued_token_limit or DEFAULT_TOKEN_LIMIT,
            requests_per_minute=body.requests_per_minute,
            tokens_per_minute=body.tokens_per_minute,
            deterministic=body.deterministic,
            **_scaling(body.scale_settings),
        )
        _check_determinism(record, model)
        self._insert(record, model)
        return Deployed(record, model)

    def update(self, resource: str, name: str, body: DeploymentUpdate) -> Deployed:
        """Change what `body` names; a new model answers from the next request on.

        Raises:
            NotFound, Forbidden: there is no such deployment, or it is everyone's.
            InvalidPayload: there is no such model, or it cannot be deterministic.
        """
        changes: dict[str, Any] = _scaling(body.scale_settings)
        model = None if body.model is None else self._model(resource, body.model)
        if model is not None:
            changes["model"] = model.id
        for field_name in ("enqueued_token_limit", "deterministic"):
            if (value := getattr(body, field_name)) is not None:
                changes[field_name] = value
        for limit in body.model_fields_set & {"requests_per_minute", "tokens_per_minute"}:
            changes[limit] = getattr(body, limit)
        return self._change(resource, name, changes, model)

    def put(self, resource: str, name: str, body: ArmDeploymentRequest) -> tuple[Deployed, bool]:
        """Make the deployment `name` what `body` says; tells also whether it is new.

        Raises:
            Forbidden: it is everyone's.
            InvalidPayload: there is no such model.
            QuotaExceeded: `resource` has made as many as it may.
        """
        model = self._model(resource, body.properties.model.name, "$.properties.model.name")
        record = replace(
            self._new(resource, name, model),
            sku=body.sku.name,
            capacity=body.sku.capacity or 1,
            arm=_arm_only(body),
        )
        try:
            self._insert(record, model)
        except ItemDoesAlreadyExist:
            kept = ("model", "sku", "capacity", "arm")
            changes = {key: getattr(record, key) for key in kept}
            return self._change(resource, name, changes, model), False
        return Deployed(record, model), True

    def patch(self, resource: str, name: str, body: ArmDeploymentPatch) -> Deployed:
        """Change the price tier or the tags.

        Raises:
            NotFound, Forbidden: there is no such deployment, or it is everyone's.
        """
        changes: dict[str, Any] = {}
        if body.sku is not None:
            changes["sku"] = body.sku.name
            if body.sku.capacity is not None:
                changes["capacity"] = body.sku.capacity
        return self._change(resource, name, changes, tags=body.tags)

    def delete(self, resource: str, name: str) -> ModelRecord | None:
        """Remove the deployment `name`; requests that are under way end as they would have.

        Returns:
            Its model, if that is there and no other deployment has it.

        Raises:
            NotFound, Forbidden: there is no such deployment, or it is everyone's.
        """
        with self.database.transaction() as tx:
            record = repository.find(tx, resource, name)
            if record is None or not repository.delete(tx, resource, name):
                _refuse_change(tx, name)
            is_served = bool(repository.all_of_model(tx, record.model))
            repository.forget_windows(tx, self.clock.now())
        self._known.clear()
        return None if is_served else self._model_of(record)

    def resolve(self, connection: sa.Connection, resource: str, name: str) -> Target:
        """Where a request of `resource` for `name` goes; an alias stands for a deployment.

        A model that came while the server runs is there before its deployment has a row.

        Raises:
            DeploymentNotFound: `resource` can use no deployment of that name.
        """
        record = self._stored(connection, resource, name) or self._unstored(name)
        model = None if record is None else self._model_of(record)
        if record is None or model is None:
            raise DeploymentNotFound
        return Target(record, model)

    def meant(self, resource: str, name: str) -> str:
        """What `name` stands for to `resource`: itself, unless it is but an alias.

        A deployment or model that has the name goes before the alias, as requests go.
        """
        meant = self.models.meant(name)
        if meant == name or self._find(resource, name) is not None:
            return name
        model = self.models.find(resource, name)
        return name if model is not None and model.id == name else meant

    def spend(self, deployment: DeploymentRecord, tokens: int) -> tuple[RateWindow, bool]:
        """Count a request that may come to so many tokens, if the deployment's limits let it.

        The count is every process's: it stands in the database.

        Returns:
            The minute that the deployment is in, and whether the request was counted.
        """
        with self.database.transaction() as tx:
            return repository.spend(tx, deployment, tokens, self.clock.now())

    def spend_more(self, deployment: DeploymentRecord, tokens: int) -> RateWindow | None:
        """Count more tokens of a request that was let in, whatever the limits.

        Returns:
            The minute that the deployment is in; None where that of the request is over.
        """
        with self.database.transaction() as tx:
            return repository.spend_more(tx, deployment, tokens, self.clock.now())

    def of_model(self, connection: sa.Connection, model_id: str) -> Sequence[DeploymentRecord]:
        """Every deployment of the model of that id, whoever's; while there is one, it must stay."""
        return repository.all_of_model(connection, model_id)

    def look_up(self, resource: str, name: str) -> Target:
        """What `resolve` tells, by a connection of its own; `recall` knows it for a second.

        Raises:
            DeploymentNotFound: `resource` can use no deployment of that name.
        """
        with self.database.reading() as connection:
            target = self.resolve(connection, resource, name)
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[resource, name] = (target, time.monotonic() + _REMEMBER_SECONDS)
        return target

    def recall(self, resource: str, name: str) -> Target | None:
        """What `look_up` told within the last second, at no cost; a change here forgets it."""
        target, until = self._known.get((resource, name), (None, 0.0))
        return target if until > time.monotonic() else None

    def _stored(
        self, connection: sa.Connection, resource: str, name: str
    ) -> DeploymentRecord | None:
        record = repository.find(connection, resource, name)
        meant = self.models.meant(name)
        if record is None and meant != name:
            record = repository.find(connection, resource, meant)
            record = record or repository.of_model(connection, resource, meant)
        return record

    def _unstored(self, name: str) -> DeploymentRecord | None:
        model = self.models.find_everyones(name)
        return None if model is None else self._new(EVERYONE, model.id, model)

    def _visible(self, resource: str) -> Sequence[DeploymentRecord]:
        with self.database.reading() as connection:
            return repository.visible(connection, resource)

    def _find(self, resource: str, name: str) -> DeploymentRecord | None:
        with self.database.reading() as connection:
            return repository.find(connection, resource, name)

    def _deploy_new_models(self) -> None:
        """Deploy the models that came since the start; what went stays until the next one."""
        models = self.models.everyones()
        with suppress(IntegrityError), self.database.transaction() as tx:  # or another was first
            present = repository.declared(tx)
            for model in models:
                if model.id not in present:
                    repository.insert(tx, self._new(EVERYONE, model.id, model))

    def _wanted(self) -> dict[str, DeploymentRecord]:
        wanted = {
            model.id: self._new(EVERYONE, model.id, model) for model in self.models.everyones()
        }
        for entry in self.declared:
            model = self._model(EVERYONE, entry.model, f"deployments.{entry.name}.model")
            record = self._new(EVERYONE, entry.name, model)
            said = {key: getattr(entry, key) for key in _DECLARED if key != "model"}
            wanted[entry.name] = replace(record, **said)
            target = f"deployments.{entry.name}.deterministic"
            _check_determinism(wanted[entry.name], model, target)
        return wanted

    def _new(self, resource: str, name: str, model: ModelRecord) -> DeploymentRecord:
        now = self.clock.now()
        return DeploymentRecord(name, resource, model.id, DEFAULT_TOKEN_LIMIT, now, now)

    def _model(self, resource: str, name: str, target: str = "$.model") -> ModelRecord:
        found = self.models.find(resource, name)
        if found is None:
            raise _no_model(name, target)
        return found

    def _hold(self, tx: Transaction, model: ModelRecord) -> None:
        """Raise InvalidPayload if the model was deleted since it was found; it stays otherwise."""
        if not self.models.hold(tx, model):
            raise _no_model(model.id)

    def _insert(self, record: DeploymentRecord, model: ModelRecord) -> None:
        try:
            with self.database.transaction() as tx:
                self._hold(tx, model)
                if repository.find(tx, record.resource, record.id) is not None:
                    _taken(record.id)
                if repository.count(tx, record.resource) >= self.most:
                    raise QuotaExceeded(f"A resource has at most {self.most} deployments.")
                repository.insert(tx, record)
        except IntegrityError:  # another transaction was first
            _taken(record.id)
        self._known.clear()  # it may have the name of an alias

    def _change(
        self,
        resource: str,
        name: str,
        changes: Mapping[str, Any],
        model: ModelRecord | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Deployed:
        """Change a deployment; `model` is its new one and `tags` its new ones, if it gets any."""
        values = {**changes, "updated_at": self.clock.now()}
        present = model
        if model is None and changes.get("deterministic"):  # looked for before a writer waits
            former = self._find(resource, name)
            present = None if former is None else self._model_of(former)
        with self.database.transaction() as tx:
            if model is not None:
                self._hold(tx, model)
            if tags is not None and (held := repository.hold(tx, resource, name)) is not None:
                values["arm"] = {**held.arm, "tags": tags}
            if not repository.update(tx, resource, name, values):
                _refuse_change(tx, name)
            record = repository.find(tx, resource, name)
            assert record is not None  # it was updated in this very transaction
            _check_determinism(record, present)
        self._known.clear()
        return Deployed(record, self._model_of(record))

    def _model_of(self, record: DeploymentRecord) -> ModelRecord | None:
        """Its model as its owner sees it: the operator may deploy anyone's tuned model for all."""
        return self.models.find(record.resource, record.model)


def _check_determinism(
    record: DeploymentRecord, model: ModelRecord | None, target: str = "$.deterministic"
) -> None:
    if record.deterministic and model is not None and model.upstream is not None:
        raise InvalidPayload(
            f"A deployment of {model.id!r} cannot be deterministic: its answers come from an "
            "upstream, which promises nothing of the kind. Models on the embedded engine can.",
            target=target,
        )


def _no_model(name: str, target: str = "$.model") -> InvalidPayload:
    return InvalidPayload(
        f"The model {name!r} does not exist; GET /openai/models lists those that do.",
        target=target,
    )


def _scaling(settings: ScaleSettings | None) -> dict[str, Any]:
    if settings is None:
        return {}
    said: dict[str, Any] = {"scale_type": settings.scale_type.value}
    return said if settings.capacity is None else {**said, "capacity": settings.capacity}


def _arm_only(body: ArmDeploymentRequest) -> dict[str, Any]:
    said = body.model_dump(by_alias=True, exclude_none=True)
    properties = said["properties"]
    model = properties.pop("model")
    only = {"format": model.get("format"), "version": model.get("version"), **properties}
    return {key: value for key, value in {**only, "tags": body.tags}.items() if value is not None}


def _difference(old: DeploymentRecord, new: DeploymentRecord) -> dict[str, Any]:
    return {key: getattr(new, key) for key in _DECLARED if getattr(old, key) != getattr(new, key)}


def _is_other(
    present: Mapping[str, DeploymentRecord], wanted: Mapping[str, DeploymentRecord]
) -> bool:
    """Whether everyone's deployments are not yet what they should be."""
    return present.keys() != wanted.keys() or any(
        _difference(present[name], record) for name, record in wanted.items()
    )


def _refuse_change(tx: Transaction, name: str) -> NoReturn:
    if repository.find(tx, EVERYONE, name) is None:
        _not_found(name)
    raise Forbidden(
        f"The deployment {name!r} is declared by the operator of this server, in its settings or "
        "by an installed model; it cannot be changed over the API."
    )


def _not_found(name: str) -> NoReturn:
    raise NotFound(f"There is no deployment {name!r}.")


def _taken(name: str) -> NoReturn:
    raise ItemDoesAlreadyExist(f"There is a deployment {name!r} already.", target="$.id")
