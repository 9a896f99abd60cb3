"""Block-tridiagonal Hamiltonians between two leads: what was given, checked, and in the Hamiltonian's own unit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import torch

from mlnegf._common import is_dense, require, shown
from mlnegf.transport.checks import as_tensor, untracked
from mlnegf.transport.leads import Lead

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class System:
    """A device between its leads.

    Attributes
    ----------
    diagonal : Tensor, (sites, block, block)
        ⟨n|H|n⟩, Hermitian; any energy unit.
    upper : Tensor, (sites − 1, block, block)
        ⟨n|H|n+1⟩.
    left, right : Lead
    overlap, overlap_upper : Tensor, optional
        ⟨n|S|n⟩ and ⟨n|S|n+1⟩, as `diagonal` and `upper`; unit matrix and zero unless given.
    """

    diagonal: Tensor
    upper: Tensor
    left: Lead
    right: Lead
    overlap: Tensor | None = None
    overlap_upper: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("diagonal", "upper"):
            blocks = getattr(self, name)
            # Four inside this room: another Hamiltonian for each energy, see `many`.
            good = is_dense(blocks) and blocks.ndim in (3, 4)
            require(good, name, blocks, "a tensor of three dimensions; System.of makes it of any array", "System")
        for side, lead in (("left", self.left), ("right", self.right)):
            require(isinstance(lead, Lead), side, lead, "a Lead; System.of makes it of a pair of blocks", "System")

    @staticmethod
    def of(
        diagonal: Any,
        upper: Any,
        left_lead: Lead | Sequence[Any],
        right_lead: Lead | Sequence[Any],
        overlap: Sequence[Any] | None = None,
        device: str | torch.device | None = None,
    ) -> "System":
        """Check the blocks and bring them to one type and `device`.

        Raises
        ------
        ValueError
            Naming the argument, its shape and the shape expected.
        """
        blocks = as_tensor("diagonal", diagonal)
        if blocks.ndim != 3 or blocks.shape[1] != blocks.shape[2] or len(blocks) < 2 or not blocks.shape[1]:
            raise ValueError(
                f"transport: diagonal has shape {tuple(blocks.shape)}, expected (sites, block, block) with 2 sites or "
                "more; repeat a lead's block for a shorter device."
            )
        sites, block, _ = blocks.shape
        named: dict[str, tuple[Any, tuple[int, ...]]] = {"upper": (upper, (sites - 1, block, block))}
        for side, lead in (("left_lead", left_lead), ("right_lead", right_lead)):
            for name, part in zip(LEAD_BLOCKS, _parts(side, lead, (2, 3, 4)), strict=False):
                named[f"{side} {name}"] = (part, (block, block))
        if overlap is not None:
            on, beside = _parts("overlap", overlap, (2,))
            named |= {"overlap[0]": (on, (sites, block, block)), "overlap[1]": (beside, (sites - 1, block, block))}
        given = {"diagonal": blocks}
        for name, (value, shape) in named.items():
            if value is None and name.endswith(("lead overlap", "overlap_hopping")):
                continue
            given[name] = as_tensor(name, value)
            if tuple(given[name].shape) != shape:
                raise ValueError(f"transport: {name} has shape {tuple(given[name].shape)}, expected {shape}.")
        _check_entries({name: value.detach() for name, value in given.items()})
        kind = torch.complex128 if any(value.is_complex() for value in given.values()) else torch.float64
        try:
            tensors = {name: value.to(device, kind) for name, value in given.items()}
        except (RuntimeError, AssertionError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"transport: device = {shown(device)} cannot be used: {shown(str(error))}") from None
        words = "a torch.device that holds numbers, such as 'cpu' or 'cuda'"
        require(is_dense(tensors["diagonal"]), "device", device, words, "transport")

        def lead_of(side: str) -> Lead:
            return Lead(*(tensors.get(f"{side} {name}") for name in LEAD_BLOCKS))  # type: ignore[arg-type]

        left = lead_of("left_lead")
        right = left if right_lead is left_lead else lead_of("right_lead")
        overlaps = tensors.get("overlap[0]"), tensors.get("overlap[1]")
        return System(tensors["diagonal"], tensors["upper"], left, right, *overlaps)

    @property
    def blocks(self) -> dict[str, Tensor | None]:
        """Every tensor by name, in a fixed order: the device's four, then four of each lead."""
        own = {name: getattr(self, name) for name in DEVICE_BLOCKS}
        leads = (("left_lead", self.left), ("right_lead", self.right))
        return own | {f"{side} {n}": b for side, lead in leads for n, b in zip(LEAD_BLOCKS, lead.blocks, strict=True)}

    @staticmethod
    def of_blocks(blocks: Sequence[Tensor | None]) -> "System":
        """Make a system of what `blocks` returns, in its order, known to be good."""
        diagonal, upper, overlap, overlap_upper = blocks[:4]
        assert diagonal is not None
        assert upper is not None
        left, right = (Lead(*blocks[n : n + 4]) for n in (4, 8))  # type: ignore[arg-type]
        return System(diagonal, upper, left, left if right.is_same(left) else right, overlap, overlap_upper)

    @property
    def leads(self) -> tuple[Lead, Lead]:
        """The left and the right one."""
        return self.left, self.right

    @cached_property
    def unit(self) -> float:
        """The power of four next to the largest hopping: divided by it, no digit of any entry changes."""
        hoppings = [self.upper, self.left.hopping, self.right.hopping]
        size = max(float(part.detach().abs().max()) for part in hoppings)
        size = size or float(self.diagonal.abs().max()) or 1.0
        return float(4.0 ** min(round(math.log(size, 4)), LARGEST_POWER))

    @cached_property
    def in_own_unit(self) -> "System":
        """The same with energies in units of `unit`."""
        if self.unit == 1.0:
            return self
        left, right = (lead.in_units_of(self.unit) for lead in (self.left, self.right))
        overlaps = self.overlap, self.overlap_upper
        return System(self.diagonal / self.unit, self.upper / self.unit, left, right, *overlaps)


def require_system(system: System, caller: str) -> System:
    """Return what is a system, refuse what is none, or what asks for gradients that are not worked out."""
    good = isinstance(system, System) and system.diagonal.ndim == 3
    require(good, "system", system, "a System, such as System.of makes it", caller)
    for name, block in system.blocks.items():
        if block is not None:
            untracked(name, block, caller)
    return system


LARGEST_POWER = 511
"""Of four that a number can hold."""

DEVICE_BLOCKS = ("diagonal", "upper", "overlap", "overlap_upper")
LEAD_BLOCKS = ("onsite", "hopping", "overlap", "overlap_hopping")


def _parts(name: str, value: Any, counts: tuple[int, ...]) -> tuple[Any, ...]:
    """Take an argument that is made of several arrays apart."""
    meaning = "⟨n|S|n⟩ and ⟨n|S|n+1⟩" if name == "overlap" else "a Lead, or (onsite, hopping) and perhaps overlaps"
    if isinstance(value, Lead):
        return value.blocks
    try:
        parts = tuple(islice(value, max(counts) + 1))
    except (TypeError, RuntimeError):  # no sequence; a tensor that is not dense
        raise ValueError(f"transport: {name} = {shown(value)}, expected {meaning}.") from None
    if len(parts) not in counts:
        raise ValueError(f"transport: {name} has {len(parts)} parts, expected {meaning}.")
    return parts


def _check_entries(given: dict[str, Tensor]) -> None:
    """Refuse entries that are not finite, diagonal blocks that are not Hermitian, and overlaps of the leads alone."""
    for name, value in given.items():
        if not bool(torch.isfinite(value.abs()).all()):
            raise ValueError(f"transport: {name} has entries that are not finite; remove NaN and inf.")
    hermitian = {f"{side} {name}" for side in ("left_lead", "right_lead") for name in ("onsite", "overlap")}
    for name in sorted(given.keys() & (hermitian | {"diagonal", "overlap[0]"})):
        skew = float((given[name] - given[name].mH).abs().max())
        if skew > 1e-9 * float(given[name].abs().max()):
            raise ValueError(f"transport: {name} differs from its adjoint by {skew:.1e}, expected Hermitian blocks.")
    of_leads = [name for name in given if "_lead overlap" in name]
    if of_leads and "overlap[0]" not in given:
        raise ValueError(
            f"transport: overlap = None, but {of_leads[0]} is given; expected the device's own ⟨n|S|n⟩ and ⟨n|S|n+1⟩ "
            "as well."
        )
