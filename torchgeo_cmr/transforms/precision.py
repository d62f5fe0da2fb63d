"""Buffers that keep their type when the weights around them are cast."""

from collections.abc import Callable
from typing import Any, Self

from torch import Tensor, nn

__all__ = ('FixedPrecision',)


class FixedPrecision(nn.Module):
    """A module whose own buffers move between devices but are never cast.

    ``module.to(torch.bfloat16)``, which ``precision='bf16-true'`` of a trainer calls, leaves
    three digits of a mean of 2219. Buffers of submodules are cast as usual.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Apply a function to all tensors, as torch does, but keep the types of buffers."""
        before: dict[str, Any] = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, old in before.items():
            new = self._buffers[name]
            if old is not None and new is not None and new.dtype != old.dtype:
                self._buffers[name] = old.to(new.device)
        return self
