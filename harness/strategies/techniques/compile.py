"""`torch.compile`: blocks, or the whole model, become code made for them."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Any, Literal

from harness.machine.cache_folder import cache_folder
from harness.machine.packages import not_installed
from harness.strategies import Place, Setting, Unsupported
from harness.strategies.compilation import compiled, counts
from harness.strategies.techniques import Adapted, techniques
from harness.strategies.techniques.channels_last import layout

if TYPE_CHECKING:
    from torch import nn
    from torch.fx import GraphModule

Scope = Literal["blocks", "model"]
Mode = Literal["default", "reduce-overhead", "max-autotune"]
Cache = Literal["cold", "warm"]
COPIED = ("dp", "dp_threads")
PRODUCTS = ("linear", "matmul", "conv2d", "conv1d", "addmm", "mm", "bmm")
UNTRACKED = "compiled code allocates without asking PyTorch's dispatcher: its memory tracker would see a part only"


def _impossible(setting: Setting, *, mode: str = "default", **_options: object) -> str | None:
    if setting.strategy in COPIED:
        return f"compile: {setting.strategy} copies the model in each step, and copies are not compiled"
    if setting.kind == "cpu":
        if mode == "reduce-overhead":
            return 'compile: mode "reduce-overhead" is CUDA graphs, of which a CPU has none'
        compiler = os.environ.get("CXX", "g++")
        if shutil.which(compiler) is None:
            return f"compile needs a C++ compiler, and there is no {compiler}: apt-get install g++"
    elif setting.kind == "cuda":
        if why := not_installed(["triton"]):
            return f"compile makes its kernels with Triton: {why}"
        if not any(shutil.which(name) for name in (os.environ.get("CC", "cc"), "gcc", "clang")):
            return "compile needs a C compiler to start its kernels, and there is none: apt-get install gcc"
    return None


@techniques.register(
    "compile",
    equivalence="reordered",
    unpredicted="compiled code keeps what its compiler decides to keep",
    impossible=_impossible,
    source="https://docs.pytorch.org/docs/stable/generated/torch.compile.html",
)
def compile_(
    model: nn.Module,
    place: Place,
    *,
    scope: Scope = "blocks",
    mode: Mode = "default",
    fullgraph: bool = False,
    cache: Cache = "cold",
) -> Adapted:
    """Forward and backward passes become code made for them (`torch.compile`, Inductor): long to start, faster steps.

    scope: each block by itself (alike ones share their code), or the whole model; mode: of torch.compile; fullgraph: a
    place that cannot be compiled is an error; cache: cold compiles all anew, in a folder of the trial; warm keeps what
    was compiled for later trials, of which the first fills it. Seconds of compiling are `compile_s` and outside the
    step times. Shapes are fixed; the held-out evaluation, whose shapes are others, runs uncompiled.
    The forward methods are compiled in place, so that hooks (FSDP's among them) stay around the compiled code.
    """
    import torch
    from torch._dynamo import config as dynamo
    from torch._inductor import config as inductor

    os.environ["TORCHINDUCTOR_CACHE_DIR"] = _folder(cache)
    inductor.compile_threads = torch.get_num_threads()  # one: in this process; more: in a pool that the rank ends
    asked = [model] if scope == "model" else [module for module in model.modules() if isinstance(module, place.blocks)]
    if not asked:
        raise Unsupported('compile: the workload names no blocks; scope = "model" compiles the whole model')
    # Blocks of one class share their code object, and PyTorch leaves those beyond its limit uncompiled.
    dynamo.recompile_limit = max(dynamo.recompile_limit, len(asked) + 1)
    backend = _Backend(None if mode == "default" else mode)
    for module in asked:
        module.forward = torch.compile(module.forward, backend=backend, fullgraph=fullgraph, dynamic=False)

    def observed() -> dict[str, Any]:
        done = counts()
        return backend.first | {
            "compiled_modules": sum(compiled(module) for module in model.modules()),
            "compiled_frames": done["compiled_frames"],
            "frames_left_out": done["frames"] - done["compiled_frames"],
            "compiled_calls": backend.calls,
        }

    # A rank that holds a part of the model calls a part of it, which only the strategy knows.
    least = len(asked) * place.accumulation if place.model_ranks == 1 else 1
    expected = {
        "compiled_modules": len(asked),
        "compiled_frames": (1, float("inf")),
        "frames_left_out": 0,
        "compiled_calls": (least, float("inf")),
    }
    return Adapted(expected, observed=observed, untracked=UNTRACKED if place.device.kind == "cpu" else None)


def _folder(cache: Cache) -> str:
    if cache == "cold":
        return tempfile.mkdtemp(prefix="compile-")  # in the trial's folder, which is removed after it
    folder = cache_folder() / "compile"
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


class _Backend:
    """Inductor, with a count of the calls of what it compiled and a look at the first product of the first graph.

    A hook in compiled code would be compiled with it: what runs there is read from the graph that is compiled.
    """

    def __init__(self, mode: str | None) -> None:
        import torch

        self.inductor: Any = torch._TorchCompileInductorWrapper(mode, None, False)  # type: ignore[no-untyped-call]
        self.first: dict[str, Any] = {}
        self.calls = 0

    def __call__(self, graph: GraphModule, inputs: list[Any]) -> Any:
        """The compiled graph."""
        self._look(graph)
        run = self.inductor(graph, inputs)

        def counted(*arguments: Any) -> Any:
            self.calls += 1
            return run(*arguments)

        return counted

    def _look(self, graph: GraphModule) -> None:
        for node in graph.graph.nodes:
            value = node.meta.get("example_value")
            if node.op != "call_function" or getattr(node.target, "__name__", "") not in PRODUCTS or value is None:
                continue
            self.first.setdefault("compute_dtype", str(value.dtype).removeprefix("torch."))
            if value.ndim == 4 and layout(value) != "either":
                self.first.setdefault("output_layout", layout(value))
