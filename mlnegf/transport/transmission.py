"""Transmission through any block-tridiagonal Hamiltonian, and its gradients."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from mlnegf.transport.adjoint import Transmission
from mlnegf.transport.blocks import System
from mlnegf.transport.checks import real_energies, require_broadening
from mlnegf.transport.leads import Lead
from mlnegf.transport.scattering import like


def transmission(
    energies: Any,
    diagonal: Any,
    upper: Any,
    left_lead: Lead | Sequence[Any],
    right_lead: Lead | Sequence[Any],
    overlap: Sequence[Any] | None = None,
    broadening: float = 1e-10,
    device: str | torch.device | None = None,
) -> Any:
    """Transmission T = Tr Γ_L G Γ_R G† at every energy.

    Parameters
    ----------
    energies : array, (Q,)
        In the unit of the Hamiltonian.
    diagonal : array, (sites, block, block)
        ⟨n|H|n⟩.
    upper : array, (sites − 1, block, block)
        ⟨n|H|n+1⟩.
    left_lead, right_lead : Lead or (onsite, hopping)
        Blocks ⟨n|H|n⟩ and ⟨n|H|n+1⟩ of the leads, both read from left to right; the hopping also couples lead and
        device. With overlaps: (onsite, hopping, overlap, overlap hopping).
    overlap : pair of arrays, optional
        ⟨n|S|n⟩ and ⟨n|S|n+1⟩ of the device.
    broadening : float
        Of leads without a closed form, see `leads.self_energy`.
    device : str or torch.device, optional
        Where to work, such as "cuda"; unless given, where the tensors are.

    Returns
    -------
    array, (Q,)
        A tensor, where the work was done, if `energies` or `diagonal` is one, otherwise a NumPy array. PyTorch
        differentiates it once, by every argument that is a tensor with ``requires_grad``, see `adjoint`: within
        Hermitian matrices, and not on a band edge of a lead.
    """
    require_broadening(broadening)
    points = real_energies(energies)
    system = System.of(diagonal, upper, left_lead, right_lead, overlap, device)
    points = points.to(system.diagonal.device)
    apply: Callable[..., torch.Tensor] = Transmission.apply
    return like(apply(broadening, points, *system.blocks.values()), energies, diagonal)
