"""A list of texts in two arrays: a quarter of a million paths that data workers share instead of copying.

A Python list is copied into every worker, text by text, by the mere counting of references; an array is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
import torch


class PackedTexts(Sequence[str]):
    """An immutable sequence of texts, equal to any other sequence of the same texts.

    File names are bytes on Linux and need not be UTF-8; what Python makes of them comes back unharmed.
    """

    def __init__(self, texts: Iterable[str]):
        encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
        # Tensors, not arrays: where workers are spawned and not forked, torch hands them over in shared memory.
        self._bytes = torch.from_numpy(np.frombuffer(bytearray(b"".join(encoded)) or bytearray(1), np.uint8))
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        self._ends = torch.from_numpy(np.cumsum(lengths))

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]  # negative ones, and those beyond the end
        first = int(self._ends[index - 1]) if index else 0
        return self._bytes.numpy()[first : int(self._ends[index])].tobytes().decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        content, first = self._bytes.numpy().tobytes(), 0
        for end in self._ends.tolist():
            yield content[first:end].decode("utf-8", "surrogateescape")
            first = end

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(a == b for a, b in zip(self, other))

    __hash__ = None

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:3])) + (", ..." if len(self) > 3 else "")
        return f"PackedTexts([{shown}], {len(self)} in all)"
