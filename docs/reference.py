"""Writes the pages that are generated: settings.md, commands.md and engines.md.

`make docs` runs it; a test fails when a page is not what it would write.
"""

import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from linarite.cli.main import app
from linarite.engines.capabilities import PARAMETERS, TABLE, WITHOUT_EFFECT, Capabilities, Parameter
from linarite.settings import Settings

HERE = Path(__file__).parent
_SETTINGS_HEAD = """\
# Settings

Settings come from the command line, then the environment, then `linarite.toml` in the folder
where the server starts (or the file that `--config` or `LINARITE_CONFIG` names); the first that
says something counts. In the environment a name is upper-case with `LINARITE_` before it and `__`
between section and setting: `LINARITE_SERVER__PORT=9000`. Lists and tables are JSON there.

This page is generated from the settings themselves by `make docs`.
"""
_COMMANDS_HEAD = """\
# Commands

This page is generated from the commands themselves by `make docs`.
"""


_ENGINES_HEAD = """\
# What engines can do

The embedded engine runs a model on this machine; an upstream is any OpenAI-compatible server, and
what it is sent is its own to refuse. `most answers` is the largest `n`.

This page is generated from the table that requests are held against, by `make docs`.
"""
_PARAMETERS_HEAD = """\
A request whose parameter needs what its engine cannot do is refused with 400; the answer names the
parameter and the kind of engine that has it. A value that asks for nothing (`logprobs: false`, no
tools) is no such request. `logprobs` needs `top logprobs` where it is a number above 0, as in
completions. `dimensions` that are the model's own number pass on the embedded embedding engine.
What is in neither of these tables the embedded engine honours, or refuses as unknown, and so it
does with a parameter of another operation; an upstream is sent it as it came.
"""
_NO_EFFECT_HEAD = """\
These change no answer, and the embedded engine lets them by:
"""


def settings_page() -> str:
    """docs/settings.md."""
    sections = [_SETTINGS_HEAD, "## Top level\n", *_table(Settings, skip_sections=True)]
    for name, field in Settings.model_fields.items():
        if named := _named_sections(field.annotation):
            sections += _page_of_named(name, field, named)
        section = _section(field.annotation)
        if section is None:
            continue
        is_list = get_origin(field.annotation) is tuple
        title = f"`[[{name}]]`" if is_list else f"`[{name}]`"
        about = _first_line(section).partition(": ")[2] or _first_line(section)
        sections += [f"\n## {title}\n", f"{about[:1].upper()}{about[1:]}\n", *_table(section)]
        for inner_name, inner in section.model_fields.items():
            if (nested := _section(inner.annotation)) is not None:
                heading = f"\n### `{name}.{inner_name}`\n"
                sections += [heading, f"{_first_line(nested)}\n", *_table(nested)]
    return "\n".join(sections) + "\n"


def _page_of_named(name: str, field: FieldInfo, named: list[type[BaseModel]]) -> Iterator[str]:
    """The tables that bear names: one kind of them, or several that `kind` tells apart."""
    about = (field.description or "").partition(": ")[2]
    yield f"\n## `[{name}.NAME]`\n"
    yield f"{about[:1].upper()}{' '.join(about[1:].replace('``', '`').split())}"
    for section in named:
        if len(named) > 1:
            [kind] = get_args(section.model_fields["kind"].annotation)
            yield f'\n### `kind = "{kind}"`\n'
            yield f"{_first_line(section)}"
        if section.model_fields.keys() - {"kind"}:
            yield from ("", *_table(section))


def commands_page() -> str:
    """docs/commands.md."""
    group: Any = typer.main.get_command(app)
    parts = [_COMMANDS_HEAD, *_commands(group, "linarite")]
    return "\n".join(parts) + "\n"


def engines_page() -> str:
    """docs/engines.md."""
    told = ("name", "examples")
    names = [field.name for field in fields(Capabilities) if field.name not in told]
    head = "| | " + " | ".join(able.name for able in TABLE) + " |"
    rows = [head, "|---" * (len(TABLE) + 1) + "|"]
    for name in names:
        cells = [_cell(getattr(able, name)) for able in TABLE]
        rows.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    parts = [_ENGINES_HEAD, *rows, "", _PARAMETERS_HEAD, *_parameters(), "", _NO_EFFECT_HEAD]
    parts += [f"- `{param}`: {told}." for param, told in WITHOUT_EFFECT.items()]
    return "\n".join(parts) + "\n"


def _parameters() -> Iterator[str]:
    yield "| parameter | of | needs | " + " | ".join(able.name for able in TABLE) + " |"
    yield "|---|---|---" + "|---" * len(TABLE) + "|"
    for one in PARAMETERS:
        about = [f"`{one.name}`", ", ".join(one.operations), one.needs.replace("_", " ")]
        cells = [_said_of(one, able) for able in TABLE]
        yield f"| {' | '.join([*about, *cells])} |"


def _said_of(parameter: Parameter, able: Capabilities) -> str:
    """Nothing of an engine that has none of the parameter's operations."""
    if not any(getattr(able, operation) for operation in parameter.operations):
        return ""
    return "yes" if getattr(able, parameter.needs) else "400"


def _cell(value: bool | int) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return str(value)


def _commands(group: Any, path: str) -> Iterator[str]:
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
            continue
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option"]
        usage = f"{path} {name}"
        usage += "".join(f" {(p.metavar or p.name or '').upper()}" for p in arguments)
        yield f"## `{usage}`\n"
        yield f"{(command.help or '').strip()}\n"
        rows = [(f"`{(p.metavar or p.name or '').upper()}`", p.help or "") for p in arguments]
        rows += [(_flags(p), p.help or "") for p in options if not p.hidden]
        if rows:
            yield "| | |\n|---|---|"
            yield from (f"| {name} | {about} |" for name, about in rows)
            yield ""


def _flags(option: Any) -> str:
    return ", ".join(f"`{flag}`" for flag in [*option.opts, *option.secondary_opts])


def _table(section: type[BaseModel], *, skip_sections: bool = False) -> list[str]:
    rows = ["| setting | default | |", "|---|---|---|"]
    for name, field in section.model_fields.items():
        if skip_sections and (_section(field.annotation) or _named_sections(field.annotation)):
            continue
        if name == "kind" and len(get_args(field.annotation)) == 1:
            continue  # stands above the table
        about = " ".join((field.description or "").replace("``", "`").split())
        rows.append(f"| `{name}` | {_default(field)} | {about} |")
    return rows


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.default
    if value is None or value in ((), {}):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int):
        return f"`{value:_}`"
    return f"`{value}`"


def _section(annotation: Any) -> type[BaseModel] | None:
    """The section that a setting's type is, or is a list or an option of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (tuple, Union, UnionType):
        found = (_section(argument) for argument in get_args(annotation))
        return next((one for one in found if one is not None), None)
    return None


def _named_sections(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a setting gives names to."""
    if get_origin(annotation) is not dict:
        return []
    value = get_args(annotation)[1]
    if get_origin(value) is Annotated:
        value = get_args(value)[0]
    kinds = get_args(value) or (value,)
    return [one for one in kinds if isinstance(one, type) and issubclass(one, BaseModel)]


def _first_line(section: type[BaseModel]) -> str:
    return (section.__doc__ or "").partition("\n")[0].replace("``", "`")


PAGES = {"settings.md": settings_page, "commands.md": commands_page, "engines.md": engines_page}

if __name__ == "__main__":
    for page, write in PAGES.items():
        (HERE / page).write_text(write(), encoding="utf-8")
    sys.stdout.write(f"wrote {', '.join(PAGES)}\n")
