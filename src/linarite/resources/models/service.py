"""Models: installed on this machine, of the settings file, tuned from those; and other names.

Callers never bring a base model; the operator does. What was tuned belongs to the resource whose
job tuned it. An alias stands for a model wherever a model id is read, and what is answered names
the model it stands for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from linarite.engines.place import ModelPlace
from linarite.errors import NotFound
from linarite.resources.models.records import ModelRecord
from linarite.storage.database import Transaction


@dataclass(frozen=True)
class Listing:
    """A name under which a model is listed, and that model."""

    id: str
    model: ModelRecord


class Tuned(Protocol):
    """Who knows the tuned models and checkpoints; what they have from their base is not said."""

    def records(self, resource: str) -> Sequence[ModelRecord]:
        """Those of one resource, or of all for `EVERYONE`."""

    def record(self, resource: str, name: str) -> ModelRecord | None:
        """The one that `name` means among them: a model's name, a checkpoint's, or its id."""

    def hold(self, tx: Transaction, model_id: str) -> bool:
        """Whether that one is still there; it then is until `tx` ends."""


class NothingTuned:
    """A server on which no job has made a model."""

    def records(self, resource: str) -> Sequence[ModelRecord]:
        """As `Tuned.records`."""
        return ()

    def record(self, resource: str, name: str) -> ModelRecord | None:
        """As `Tuned.record`."""
        return None

    def hold(self, tx: Transaction, model_id: str) -> bool:
        """As `Tuned.hold`."""
        return False


@dataclass(frozen=True)
class Models:
    """The models of this server.

    Args:
        installed: looks what lies on this machine now.
        declared: what the settings file names; goes before an installed model of the same id.
        aliases: other names, each for a model or a deployment.
        tuned: knows what was tuned.
    """

    installed: Callable[[], Sequence[ModelRecord]]
    declared: Sequence[ModelRecord] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    tuned: Tuned = field(default_factory=NothingTuned)

    def list(self, resource: str) -> Sequence[Listing]:
        """Every model that `resource` can use, base models first, then every alias of one."""
        bases = self._by_id()
        found = (one for one in self.tuned.records(resource) if one.id not in bases)
        tuned = {one.id: _on_base(one, bases.get(one.base or "")) for one in found}
        models = {**bases, **tuned}
        named = [Listing(model.id, model) for model in models.values()]
        aliased = [
            Listing(alias, models[meant])
            for alias in self.aliases
            if alias not in models and (meant := self.meant(alias)) in models
        ]
        return [*named, *aliased]

    def get(self, resource: str, name: str) -> Listing:
        """The model `name`, which may be an alias, or another name of a checkpoint.

        Raises:
            NotFound: `resource` can use no such model.
        """
        model = self.find(resource, name)
        if model is None:
            raise NotFound(f"There is no model {name!r}.")
        return Listing(name if name in self.aliases else model.id, model)

    def find(self, resource: str, name: str) -> ModelRecord | None:
        """The model that `name` means to `resource`, if any; `EVERYONE` means them all."""
        bases = self._by_id()
        meant = self.meant(name)
        base = bases.get(name) or bases.get(meant)
        if base is not None:
            return base
        tuned = self.tuned.record(resource, name) or self.tuned.record(resource, meant)
        return None if tuned is None else _on_base(tuned, bases.get(tuned.base or ""))

    def hold(self, tx: Transaction, model: ModelRecord) -> bool:
        """Whether a model is still there; a tuned one then is until `tx` ends."""
        return model.base is None or self.tuned.hold(tx, model.id)

    def find_everyones(self, name: str) -> ModelRecord | None:
        """The base model that `name` means, which each resource can use, if any."""
        bases = self._by_id()
        return bases.get(name) or bases.get(self.meant(name))

    def everyones(self) -> Sequence[ModelRecord]:
        """Every base model of this server, which each resource can use."""
        return list(self._by_id().values())

    def meant(self, name: str) -> str:
        """What `name` stands for: itself, unless it is an alias."""
        return self.aliases.get(name, name)

    def _by_id(self) -> dict[str, ModelRecord]:
        installed = {model.id: model for model in self.installed()}
        declared = {one.id: _with_files(one, installed.get(one.id)) for one in self.declared}
        return installed | declared


def _with_files(declared: ModelRecord, installed: ModelRecord | None) -> ModelRecord:
    """A model of the settings, with what its files on this machine say of it."""
    if installed is None:
        return declared
    if declared.upstream is not None:
        takes_adapters = declared.upstream.adapters and installed.tunable
        return replace(declared, path=installed.path, tunable=True) if takes_adapters else declared
    if declared.path is None or declared.path != installed.path:
        return declared
    context_tokens = declared.context_tokens or installed.context_tokens
    return replace(declared, context_tokens=context_tokens, tunable=installed.tunable)


def _on_base(tuned: ModelRecord, base: ModelRecord | None) -> ModelRecord:
    """A tuned model with what it has from its base; of one that is gone it has nothing."""
    if base is None:
        return tuned
    place = ModelPlace(base.id, base.path, base.upstream, base.tokenizer)
    upstream = base.upstream
    if upstream is not None and not upstream.adapters:
        upstream = None  # it would answer as the base does; the files here do not
    return replace(
        tuned,
        kind=base.kind,
        upstream=upstream and upstream.model_copy(update={"model": tuned.id}),
        context_tokens=base.context_tokens,
        tokenizer=place.tokenizer_folder(),
        tunable=base.tunable,
    )
