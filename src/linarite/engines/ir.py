"""F16 GGUF → the form the embedded engine runs (OpenVINO IR), in a process of its own.

    python -m linarite.engines.ir GGUF FOLDER ROTATIONS.json

The library's GGUF reader builds the graph. It keeps the rotary speeds as 16-bit numbers, which at
position 4,000 is a third of a radian off, and knows no Llama 3 scaling: the exact speeds are put
in its place. It names no operation after the layer it computes: that is added, for adapters find
their layers by these names. The process ends with the memory that the work took.
"""

import json
import math
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from linarite.engines.refusals import UPSTREAM_HINT, UnusableModel

_LAYER_WEIGHT = re.compile(r"model\.layers\[(\d+)\]\.(self_attn|mlp)\.(\w+)\.weight")
_LAYERS_PER_BLOCK = 7
_FARTHEST_WEIGHT = 6
"""Operations between a weight and its multiplication: conversions, transpositions."""


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
        _name_layers(graph)
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


def _name_layers(graph: Any) -> None:
    """Call each multiplication by a layer's weight as the adapters' loader looks for it."""
    named: dict[str, set[str]] = {}
    for node in graph.get_ops():
        layer = _layer_of(node) if node.get_type_name() == "MatMul" else None
        if layer is not None:
            block, part, name = layer
            node.set_friendly_name(
                f"__module.model.layers.{block}.{part}.{name}/ov_ext::linear/MatMul"
            )
            named.setdefault(block, set()).add(name)
    if not named or any(len(names) != _LAYERS_PER_BLOCK for names in named.values()):
        raise SystemExit("The graph does not hold its layers where they are expected.")


def _layer_of(multiplication: Any) -> tuple[str, str, str] | None:
    """Block, part and name of the layer whose weight is multiplied by, if it is one."""
    node = multiplication.input_value(1).get_node()
    for _ in range(_FARTHEST_WEIGHT):
        found = _LAYER_WEIGHT.match(node.get_friendly_name())
        if found is not None:
            return found[1], found[2], found[3]
        if node.get_input_size() == 0:
            return None
        node = node.input_value(0).get_node()
    return None


if __name__ == "__main__":
    _write(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(Path(sys.argv[3]).read_text()))
