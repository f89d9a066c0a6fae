"""What an export came to, in words: how many examples, and what was left out for which reason."""

from collections import Counter
from dataclasses import dataclass, field

from linarite.resources.stored_completions.training_lines import LeftOut, Reason
from linarite.training.data import LEAST_EXAMPLES

_SHOWN = 200


@dataclass
class Report:
    """Counted while the export runs.

    Args:
        kind: what its lines are called.
    """

    kind: str
    examples: int = 0
    looked_at: Counter[str] = field(default_factory=Counter)
    """How many stored completions, by what they are called."""
    left_out: Counter[Reason] = field(default_factory=Counter)
    pairs_left_out: Counter[Reason] = field(default_factory=Counter)
    first_choices: int = 0
    """Of how many answers with several choices the first was taken."""
    is_cut: bool = False
    """Whether the limit ended it."""
    _first_fault: str = ""

    def leave_out(self, completion_id: str, why: LeftOut, *, of_pair: bool = False) -> None:
        """Count a completion, or a pair, that is left out."""
        (self.pairs_left_out if of_pair else self.left_out)[why.reason] += 1
        if why.reason == Reason.INVALID and not self._first_fault:
            self._first_fault = f"{completion_id}: {why.detail[:_SHOWN]}"

    def told(self) -> str:
        """All of it."""
        kinds = " and ".join(f"{count} {kind}" for kind, count in self.looked_at.items())
        parts = [
            f"{self.kind}: {self.examples}, from {kinds or 'no'} stored completions.",
            "The limit was reached." if self.is_cut else "",
            _counted("Left out", self.left_out),
            _counted("Pairs left out", self.pairs_left_out),
            f"The first that is invalid is {self._first_fault}" if self._first_fault else "",
            f"Of {self.first_choices} with several choices the first was taken."
            if self.first_choices
            else "",
            f"A tuning job needs at least {LEAST_EXAMPLES} examples."
            if self.examples < LEAST_EXAMPLES
            else "",
        ]
        return " ".join(filter(None, parts))


def _counted(what: str, reasons: Counter[Reason]) -> str:
    told = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()) if count)
    return f"{what}: {told}." if told else ""
