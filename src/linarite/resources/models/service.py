"""Models: those installed on this machine, those of the settings file, and other names for them.

Callers never bring a model; the operator does. An alias stands for a model wherever a model id is
read, and what is answered names the model it stands for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from linarite.errors import NotFound
from linarite.resources.models.records import ModelRecord


@dataclass(frozen=True)
class Listing:
    """A name under which a model is listed, and that model."""

    id: str
    model: ModelRecord


@dataclass(frozen=True)
class Models:
    """The models of this server.

    Args:
        installed: looks what lies on this machine now.
        declared: what the settings file names; goes before an installed model of the same id.
        aliases: other names, each for a model or a deployment.
    """

    installed: Callable[[], Sequence[ModelRecord]]
    declared: Sequence[ModelRecord] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)

    def list(self, resource: str) -> Sequence[Listing]:
        """Every model that `resource` can use, then every alias of one."""
        models = self._by_id()
        named = [Listing(model.id, model) for model in models.values()]
        aliased = [
            Listing(alias, models[meant])
            for alias in self.aliases
            if alias not in models and (meant := self.meant(alias)) in models
        ]
        return [*named, *aliased]

    def get(self, resource: str, name: str) -> Listing:
        """The model `name`, which may be an alias.

        Raises:
            NotFound: `resource` can use no such model.
        """
        model = self.find(resource, name)
        if model is None:
            raise NotFound(f"There is no model {name!r}.")
        return Listing(name, model)

    def find(self, resource: str, name: str) -> ModelRecord | None:
        """The model that `name` means to `resource`, if any."""
        models = self._by_id()
        return models.get(name) or models.get(self.meant(name))

    def everyones(self) -> Sequence[ModelRecord]:
        """Every model of this server, which each resource can use."""
        return list(self._by_id().values())

    def meant(self, name: str) -> str:
        """What `name` stands for: itself, unless it is an alias."""
        return self.aliases.get(name, name)

    def _by_id(self) -> dict[str, ModelRecord]:
        return {model.id: model for model in (*self.installed(), *self.declared)}
