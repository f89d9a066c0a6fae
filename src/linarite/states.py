"""Lifecycles: which status of a resource may follow which. Every resource draws its own."""

from collections.abc import Mapping
from dataclasses import dataclass

from linarite.errors import UnexpectedEntityState


@dataclass(frozen=True)
class Lifecycle:
    """The states of one resource and the moves between them."""

    name: str
    moves: Mapping[str, frozenset[str]]

    def check(self, old: str, new: str) -> None:
        """Raise UnexpectedEntityState unless `old` may become `new`."""
        if new not in self.moves[old]:
            raise UnexpectedEntityState(f"A {self.name} that is {old} cannot become {new}.")

    def before(self, new: str) -> tuple[str, ...]:
        """The states that may become `new`: what a guarded UPDATE names in its WHERE."""
        return tuple(old for old, nexts in self.moves.items() if new in nexts)

    def is_final(self, state: str) -> bool:
        """Whether nothing follows `state`."""
        return not self.moves[state]

    @property
    def final(self) -> tuple[str, ...]:
        """The states that nothing follows."""
        return tuple(state for state in self.moves if self.is_final(state))
