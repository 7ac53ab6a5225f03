"""Faster inference with the same predictions: folded norms, lower precision, torch.compile."""

from __future__ import annotations

import copy
import logging
import platform
import threading
import time
import types
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import torch
from torch import Tensor
from torch.utils._triton import has_triton

from teinet.errors import ConfigError, nearest
from teinet.kernels import build
from teinet.models.classifier import VideoClassifier
from teinet.models.folding import fold_batch_norms
from teinet.models.streaming import StreamingClassifier
from teinet.models.systems.layout import channels_last

if TYPE_CHECKING:
    from teinet.models.streaming import States

log = logging.getLogger("teinet")

TorchEngine = Literal["eager", "folded", "compile"]
TorchPrecision = Literal["auto", "fp32", "bf16", "fp16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
EXAMPLE_SIZES = (64, 224)  # pixels, to see which norm follows which convolution
_OFF = 0.03  # of the largest logit: more than 16-bit numbers round, less than a wrong state makes
_ONE_AT_A_TIME = threading.RLock()  # compiling is not for several threads, nor is a CUDA graph


@dataclass(frozen=True)
class Optimization:
    """The optimization of a model: number of folded norms, precision, engine."""

    norms: int
    precision: str
    engine: str

    def __str__(self) -> str:
        return f"{self.engine}, {self.precision}"


class OptimizedClassifier(VideoClassifier):
    """A classifier for inference, made by `optimize`; it cannot be trained or saved.

    TorchEngine "compile" keeps one program for each batch size, and pads a batch to a known size below twice its own.
    """

    optimization: Optimization
    _programs: dict[tuple[Any, ...], Callable[[Tensor], Tensor]]
    # None: the step cannot be compiled
    _steps: dict[tuple[Any, ...], Callable[[Tensor, States], tuple[Tensor, States]] | None]

    def forward(self, clips: Tensor) -> Tensor:
        """See `VideoClassifier.forward`; without gradients."""
        with torch.inference_mode(False), torch.no_grad():
            if self.optimization.engine != "compile" or not torch.is_tensor(clips) or clips.dim() != 5:
                return super().forward(clips)
            with _ONE_AT_A_TIME:
                clips = clips.clone() if clips.is_inference() else clips.contiguous()  # one kind, one program
                count, rest = len(clips), (*clips.shape[1:], clips.dtype, *_where(clips.device), self.num_frames)
                there = [size for size, *kind in self._programs if tuple(kind) == rest and count <= size < 2 * count]
                if (size := min(there, default=count)) > count:
                    clips = torch.cat([clips, clips[-1:].expand(size - count, *clips.shape[1:])])
                if (size, *rest) not in self._programs:
                    self._frames(clips[:1])  # says in words what does not fit
                    self._programs[size, *rest] = _compile(self, clips)
                logits = self._programs[size, *rest](clips)[:count]
                return logits.clone()  # a CUDA graph writes its next result in the same place

    def __getstate__(self) -> dict[str, Any]:  # of copies too
        return {**self.__dict__, "_programs": {}, "_steps": {}}


def optimize(
    model: VideoClassifier, *, engine: TorchEngine = "folded", precision: TorchPrecision = "auto"
) -> VideoClassifier:
    """Return a faster copy of a model for inference; the model itself for the engine "eager" in fp32.

    Args:
        model: not changed.
        engine: "eager" is the model as it is, and folded below fp32; "folded" folds batch norms into convolutions, at
            once; "compile" also runs torch.compile, half a minute for each batch size; on CUDA the program is a CUDA
            graph.
        precision: the network's number format; "auto" is `native_precision`, and fp32 with "eager".

    Raises:
        ConfigError: an engine or precision that does not exist, or a processor that cannot take it.
    """
    if type(model) is not VideoClassifier:
        raise ConfigError(f"optimize takes a VideoClassifier itself, got a {type(model).__name__}")
    device = next(model.parameters()).device
    for name, value, valid in (
        ("engine", engine, get_args(TorchEngine)),
        ("precision", precision, get_args(TorchPrecision)),
    ):
        if value not in valid:
            raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(valid)}.{nearest(str(value), valid)}")
    if engine == "eager":
        if precision in ("auto", "fp32"):
            return model
        engine = "folded"
    if precision == "fp16" and device.type == "cpu":
        raise ConfigError("precision fp16 needs a GPU; on a CPU choose bf16 or fp32")
    if engine == "compile" and not can_compile(device):
        needs = {"cpu": "a C++ compiler on a CPU (install g++, or name one in CXX)", "cuda": "Triton on CUDA"}
        raise ConfigError(
            f"engine 'compile' is not available: torch.compile needs {needs.get(device.type, 'a CPU or CUDA device')}; "
            "use engine 'folded'"
        )
    chosen = native_precision(device) if precision == "auto" else precision
    fast = copy.deepcopy(model).eval().requires_grad_(False)
    like, norms, reason = next(fast.cnn.parameters()), 0, None
    for size in EXAMPLE_SIZES:
        shape = (fast.num_frames, fast.num_channels, size, size)
        example = torch.randn(shape, device=device, dtype=like.dtype)
        try:
            norms, reason = fold_batch_norms(fast.cnn, example), None
            break
        except (RuntimeError, AssertionError, ValueError) as error:  # some networks take images of one size only
            reason = error
    if reason is not None:
        log.warning("no batch norm was folded: the network does not run on a small image (%s)", reason)
    channels_last(fast.cnn.to(DTYPES[chosen]))
    if fast.consensus is not None:
        fast.consensus.to(DTYPES[chosen])
    fast.__class__ = OptimizedClassifier
    assert isinstance(fast, OptimizedClassifier)
    fast._programs, fast._steps = {}, {}
    fast.optimization = Optimization(norms, chosen, engine)
    return fast


def can_compile(device: torch.device) -> bool:
    """Return whether torch.compile works for a device on this machine."""
    if device.type == "cuda":
        return has_triton()
    return device.type == "cpu" and build.compiler() is not None


def native_precision(device: torch.device) -> str:
    """Return the fastest number format that a device computes in natively: bf16, fp16 (older CUDA) or fp32."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return "fp32"
    has_units = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    if platform.machine().lower() in ("x86_64", "amd64"):  # where the library emulates them too
        has_units &= torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if has_units else "fp32"


def forms(device: torch.device) -> list[tuple[TorchEngine, TorchPrecision]]:
    """Return the engines and precisions that a device runs: all in fp32, folded and compiled in the fastest too."""
    found: list[tuple[TorchEngine, TorchPrecision]] = [("eager", "fp32")]
    for precision in dict.fromkeys(("fp32", native_precision(device))):
        found.append(("folded", cast("TorchPrecision", precision)))
        if can_compile(device):
            found.append(("compile", cast("TorchPrecision", precision)))
    return found


def _compile(model: OptimizedClassifier, clips: Tensor) -> Callable[[Tensor], Tensor]:
    """Compile a program for clips of this shape and type, by running it once."""

    def run(clips: Tensor) -> Tensor:
        return VideoClassifier.forward(model, clips)

    program = _program(run, clips.device)
    began = time.perf_counter()
    log.info("compiling the network for clips of %s, once", "x".join(map(str, clips.shape)))
    with frozen(clips.device):
        program(clips)
    log.info("compiled in %.0f s", time.perf_counter() - began)
    return program


def _program(run: Callable, device: torch.device) -> Callable:
    """Return what compiles at its first call, which fixes all but the values of the tensors: later ones check nothing.

    torch's checks of shapes, of weights and of its settings take as long as a small layer.
    """
    # torch keeps programs by a function's code, at most eight for each: every program needs a code of its own
    own = types.FunctionType(run.__code__.replace(), run.__globals__, closure=run.__closure__)
    options = {
        "triton.cudagraphs": device.type == "cuda",
        "guard_filter_fn": lambda guards: [False] * len(guards),
        "size_asserts": False,
        "alignment_asserts": False,
    }
    return torch.compile(own, fullgraph=True, dynamic=False, options=options)


def _where(device: torch.device) -> tuple[torch.device, int]:
    """Return what a program is compiled for: a device, and on a CPU the number of threads."""
    return device, torch.get_num_threads() if device.type == "cpu" else 0


def is_compiled(model: VideoClassifier) -> bool:
    """Return whether a classifier is compiled, with a program for each shape of input."""
    return isinstance(model, OptimizedClassifier) and model.optimization.engine == "compile"


class CompiledStep:
    """The step of a model as one compiled program for all of N streams; steps of other shapes run folded.

    It compiles when it is created, which takes some seconds, once for each shape of frames of a classifier.

    Args:
        model, network: the optimized classifier, which keeps the program, and the streaming one made from it.
        frames: (N, 3, H, W) or (N, K, 3, H, W) uint8, an example.
        state: an example, of the number types that the network computes in; states may be kept in others.
    """

    def __init__(self, model: OptimizedClassifier, network: StreamingClassifier, frames: Tensor, state: States):
        self.network, self._model = network, model
        self._types = [[tensor.dtype for tensor in own] for own in state]
        self._shape, self._device = frames.shape, frames.device
        self._program(frames, state)

    def _program(self, frames: Tensor, state: States) -> Callable[[Tensor, States], tuple[Tensor, States]] | None:
        kind, programs = (frames.shape, *_where(frames.device)), self._model._steps
        if kind not in programs:
            with _ONE_AT_A_TIME:
                if kind not in programs:
                    programs[kind] = self._compile(frames, _typed(copy.deepcopy(state), self._types))
        return programs[kind]

    def _compile(self, frames: Tensor, state: States) -> Callable[[Tensor, States], tuple[Tensor, States]] | None:
        network = StreamingClassifier(self._model)  # of its own, for that of a stream is the stream's alone

        def run(frames: Tensor, state: States) -> tuple[Tensor, States]:
            return network(frames, state)

        program = _program(run, frames.device)
        log.info("compiling the network's step for frames of %s, once", "x".join(map(str, frames.shape)))
        began = time.perf_counter()
        try:
            own, numbers = copy.deepcopy(state), torch.Generator().manual_seed(0)
            for _ in range(3):  # the later ones take what a step leaves
                with frozen(frames.device), torch.inference_mode(False), torch.no_grad():
                    noise = torch.randint(0, 256, frames.shape, dtype=torch.uint8, generator=numbers).to(frames.device)
                    logits, state = program(noise, _typed(state, self._types))
                    want, own = network(noise, own)
                if not (logits - want).abs().max() <= _OFF * want.abs().max():  # torch 2.9 overwrites states too early
                    raise ArithmeticError(f"torch {torch.__version__} compiles it to a program with other scores")
        except Exception as error:  # compilers raise many kinds, for networks that they cannot follow
            first_line = next(iter(str(error).strip().splitlines()), repr(error))
            log.warning("the step cannot be compiled and runs folded, which is slower: %s", first_line)
            return None
        log.info("compiled in %.0f s", time.perf_counter() - began)
        return program

    def __call__(self, frames: Tensor, state: States) -> tuple[Tensor, States]:
        """See `StreamingClassifier.forward`."""
        same = frames.shape == self._shape and frames.dtype == torch.uint8 and frames.device == self._device
        program = self._program(frames, state) if same else None
        if program is None:
            return self.network(frames, state)
        with _ONE_AT_A_TIME, torch.inference_mode(False), torch.no_grad():
            # numbers change their type out here: within, a frame to be kept is overwritten before it is rounded
            logits, now = program(frames.clone() if frames.is_inference() else frames, _typed(state, self._types))
            return logits, _typed(now, [[tensor.dtype for tensor in own] for own in state])

    def to(self, device: torch.device) -> CompiledStep:
        """Move the network to a device, in place; on another one than the program's, it runs folded."""
        self.network.to(device)
        return self


def _typed(state: States, types: list[list[torch.dtype]]) -> States:
    return tuple(tuple(map(Tensor.to, own, of)) for own, of in zip(state, types, strict=True))


def frozen(device: torch.device) -> AbstractContextManager:
    """Make weights constants of programs compiled inside, on a CPU; torch.compile's option for it has no effect."""
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # a CPU needs no CUDA
    import torch._inductor.config as inductor

    return inductor.patch(freezing=True) if device.type == "cpu" else nullcontext()
