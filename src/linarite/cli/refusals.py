"""How a command says no."""


class Refused(Exception):
    """The command cannot do it; the message says why and what would help."""
