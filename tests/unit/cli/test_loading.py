"""What a user reads whose settings cannot be used."""

from pathlib import Path

import pytest

from linarite.cli.loading import load_settings
from linarite.cli.refusals import Refused


def test_a_file_that_is_not_toml_is_named_with_the_place(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text("[server\nport = 1\n")

    with pytest.raises(Refused, match=r"wrong\.toml is not TOML: .*line 1"):
        load_settings(file)


def test_a_setting_that_is_unknown_is_named(tmp_path: Path) -> None:
    file = tmp_path / "linarite.toml"
    file.write_text("[server]\nprot = 1\n")

    with pytest.raises(Refused, match=r"server\.prot"):
        load_settings(file)
