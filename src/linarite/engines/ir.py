"""F16 GGUF → the form the embedded engine runs (OpenVINO IR), in a process of its own.

    python -m linarite.engines.ir GGUF FOLDER ROTATIONS.json

The library's GGUF reader builds the graph. It keeps the rotary speeds as 16-bit numbers, which at
position 4,000 is a third of a radian off, and knows no Llama 3 scaling: the exact speeds are put
in its place. The process ends with the memory that the work took.
"""

import json
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from linarite.engines.refusals import UPSTREAM_HINT, UnusableModel


def convert(gguf: Path, folder: Path, rotations: Sequence[float]) -> None:
    """Write ``openvino_model.xml`` and ``.bin`` into `folder`.

    Raises:
        UnusableModel: the engine's library cannot read this model.
    """
    folder.mkdir(parents=True)
    speeds = gguf.with_suffix(".rotations.json")
    speeds.write_text(json.dumps(list(rotations)))
    command = [sys.executable, "-m", "linarite.engines.ir", str(gguf), str(folder), str(speeds)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    speeds.unlink()
    if ended.returncode != 0:
        reason = (ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"])[-1]
        raise UnusableModel(f"The embedded engine cannot read this model: {reason} {UPSTREAM_HINT}")


def _write(gguf: Path, folder: Path, rotations: Sequence[float]) -> None:
    import openvino
    import openvino_genai

    # The reader saves beside the file it read, under fixed names.
    with tempfile.TemporaryDirectory(dir=gguf.parent) as scratch:
        source = Path(scratch) / "model.gguf"
        source.hardlink_to(gguf)
        openvino_genai.LLMPipeline(str(source), "CPU", enable_save_ov_model=True)
        graph = openvino.Core().read_model(source.with_name("openvino_model.xml"))
        _set_rotations(graph, rotations)
        out = Path(scratch) / "out"
        out.mkdir()
        openvino.save_model(graph, out / "openvino_model.xml", compress_to_fp16=False)
        for file in out.iterdir():
            shutil.move(file, folder / file.name)


def _set_rotations(graph: Any, rotations: Sequence[float]) -> None:
    import numpy
    from openvino import opset13

    half = len(rotations)
    found = [
        node
        for node in graph.get_ops()
        if node.get_type_name() == "Constant"
        and list(node.output(0).shape) == [1, half, 1]
        and math.isclose(float(node.get_data().ravel()[0]), 1.0)
    ]
    if len(found) != 1:
        raise SystemExit("The graph does not hold its rotary speeds where they are expected.")
    exact = opset13.constant(numpy.array(rotations, numpy.float32).reshape(1, half, 1))
    constant = found[0]
    for reader in constant.output(0).get_target_inputs():
        node = reader.get_node()
        if node.get_type_name() == "Convert":
            for after in node.output(0).get_target_inputs():
                after.replace_source_output(exact.output(0))
        else:
            reader.replace_source_output(exact.output(0))


if __name__ == "__main__":
    _write(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(Path(sys.argv[3]).read_text()))
