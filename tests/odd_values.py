"""What nobody means to give: values of every wrong kind, and arrays spoilt in every way."""

import datetime
import os
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes


class Halved(float):
    """A number of a class of its own."""


class Unspeakable:
    """A thing whose own words fail."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")


class Unequal:
    """A thing that compares with nothing."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")


class Anything:
    """A thing that has every attribute."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: self


def nested(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


endless: list[Any] = []
endless.append(endless)

SPECIAL: dict[str, Any] = {
    "a number of 400 digits": 10**400,
    "a number of 4000 digits": -(10**4000),
    "a number beyond 64 bits": 2**64,
    "the largest number": 1.7e308,
    "the smallest number": 5e-324,
    "a long double": np.longdouble("0.3"),
    "a long double beyond all doubles": np.longdouble("1e4000"),
    "a half": np.float16(0.5),
    "a byte": np.int8(3),
    "an array without dimension": np.array(0.3),
    "NaN without dimension": np.array(np.nan),
    "a truth value of numpy": np.True_,
    "a decimal": Decimal("0.3"),
    "no decimal": Decimal("nan"),
    "a fraction": Fraction(1, 3),
    "a subclass": Halved(0.3),
    "a date": datetime.date(2020, 1, 1),
    "a date of numpy": np.datetime64("2020-01-01"),
    "a masked array": np.ma.array([1.0, 2.0, 3.0], mask=[False, True, False]),
    "a structured array": np.zeros(3, dtype=[("a", float)]),
    "an array of objects": np.array([None, 1.0]),
    "an array of texts": np.array(["a", "b"]),
    "a ragged list": [[1, 2], [3]],
    "a list of numbers of 400 digits": [10**400] * 3,
    "a nested list": nested(3000),
    "a list that holds itself": endless,
    "a long list": list(range(10**5)),
    "a long text": "x" * 10**6,
    "half a character": "\ud800",
    "a text with a zero": "a\0b",
    "a tensor": torch.tensor(0.3),
    "a sparse tensor": torch.eye(3).to_sparse(),
    "a compressed tensor": torch.eye(3).to_sparse_csr(),
    "a tensor without data": torch.zeros(3, device="meta"),
    "a tracked tensor": torch.ones(2, requires_grad=True),
    "a quantised tensor": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8),
    "a tensor of truth values": torch.tensor([True, False]),
    "a class": int,
    "a module": os,
    "a function": lambda *_: 1,
    "an iterator": iter([1, 2]),
    "a set": {1, 2},
    "a mapping": {"a": 1},
    "ellipsis": ...,
    "a view of memory": memoryview(b"abc"),
    "an object": object(),
    "a thing whose own words fail": Unspeakable(),
    "a thing that compares with nothing": Unequal(),
    "a thing that has every attribute": Anything(),
}

odd = st.one_of(
    st.sampled_from(sorted(SPECIAL)).map(lambda name: SPECIAL[name]),
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.lists(st.one_of(st.floats(), st.integers(), st.none(), st.text(max_size=2)), max_size=4),
    st.tuples(st.integers(), st.integers()),
    arrays(scalar_dtypes(), array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)),
)


def holed(array: np.ndarray, value: complex) -> np.ndarray:
    found = array.astype(np.complex128 if np.iscomplexobj(value) else np.float64)
    found.flat[0] = value
    return found


def fixed(array: np.ndarray) -> np.ndarray:
    found = array.copy()
    found.flags.writeable = False
    return found


SPOILT: dict[str, Callable[[np.ndarray], Any]] = {
    "a list": np.ndarray.tolist,
    "backwards in memory": lambda array: array[::-1].copy()[::-1],
    "columns first": np.asfortranarray,
    "read-only": fixed,
    "of the other end": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "of single precision": lambda array: array.astype(np.float32),
    "of half precision": lambda array: array.astype(np.float16),
    "of long doubles": lambda array: array.astype(np.longdouble),
    "of bytes": lambda array: array.astype(np.int8),
    "of truth values": lambda array: array.astype(bool),
    "of complex numbers": lambda array: array.astype(complex),
    "of objects": lambda array: array.astype(object),
    "of texts": lambda array: array.astype(str),
    "with NaN": lambda array: holed(array, np.nan),
    "with inf": lambda array: holed(array, np.inf),
    "with an imaginary part": lambda array: holed(array, 1j),
    "with the largest number": lambda array: holed(array, 1.7e308),
    "with the smallest number": lambda array: holed(array, 5e-324),
    "all the largest number": lambda array: np.full(array.shape, 1.7e308),
    "all zero": lambda array: np.zeros(array.shape),
    "masked": lambda array: np.ma.array(array, mask=np.ones(array.shape, bool)),
    "of no length": lambda array: array[:0],
    "one short": lambda array: array[:-1],
    "with one axis more": lambda array: array[None],
    "flat": np.ravel,
    "of 400 digits": lambda array: np.full(array.shape, 10**400, dtype=object).tolist(),
    "one cell repeated": lambda array: np.broadcast_to(np.float64(0.1), array.shape),
    "a sparse tensor": lambda array: torch.from_numpy(array.copy()).to_sparse(),
    "a tensor without data": lambda array: torch.from_numpy(array.copy()).to("meta"),
    "a tracked tensor": lambda array: torch.from_numpy(array.astype(float)).requires_grad_(),
    "a tensor of half precision": lambda array: torch.from_numpy(array.copy()).half(),
    "a tensor of truth values": lambda array: torch.from_numpy(array.copy()).bool(),
    "nested tensors": lambda array: torch.nested.nested_tensor([torch.from_numpy(array.copy())]),
}
