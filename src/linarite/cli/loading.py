"""Settings for a command: what its options say, over the environment, over the settings file."""

import tomllib
from pathlib import Path
from typing import Any

import pydantic

from linarite.cli.refusals import Refused
from linarite.settings import Settings, load, settings_file


def load_settings(config: Path | None, **given: Any) -> Settings:
    """The settings with the options that were given; None and empty ones were not.

    Raises:
        Refused: a setting is wrong; every fault is named.
    """
    try:
        return load(config, **{name: value for name, value in given.items() if value})
    except FileNotFoundError as error:
        raise Refused(f"{str(error)[0].upper()}{str(error)[1:]}.") from None
    except tomllib.TOMLDecodeError as error:
        raise Refused(f"{settings_file(config)} is not TOML: {error}.") from None
    except pydantic.ValidationError as error:
        faults = [
            f"  {'.'.join(str(part) for part in fault['loc']) or 'settings'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise Refused("\n".join(["These settings are wrong:", *faults])) from None
