"""Random fields and filters of the synthetic world, on NumPy's FFT alone."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def _fast(length: int) -> int:
    """Return the next length without prime factors above five."""
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1


def standardise(field: NDArray[np.floating]) -> Floats:
    """Return a field with mean 0 and standard deviation 1 as float32."""
    return ((field - field.mean()) / max(float(field.std()), 1e-12)).astype(np.float32)


def fractal(
    rng: Generator,
    shape: tuple[int, int],
    slope: float,
    shortest: float,
    longest: float,
    cell: float = 10.0,
) -> Floats:
    """Draw a random field with a power-law spectrum by spectral synthesis.

    Saupe 1988, "Algorithms for random fractals", in Peitgen and Saupe (eds), "The Science of
    Fractal Images", Springer. The field is cut from a larger periodic one, so opposite edges
    do not match.

    Args:
        rng: source of randomness.
        shape: ``(rows, cols)``.
        slope: amplitude falls with wavenumber to this power; larger is smoother.
        shortest: wavelength in metres below which the field holds nothing.
        longest: wavelength in metres above which the spectrum is flat.
        cell: side of a cell in metres.

    Returns:
        ``shape`` float32, mean 0 and standard deviation 1.
    """
    pad = int(min(max(shape) // 4, longest / cell)) + 8
    rows, cols = _fast(shape[0] + pad), _fast(shape[1] + pad)
    ky = np.fft.fftfreq(rows, cell).astype(np.float32)[:, None]
    kx = np.fft.rfftfreq(cols, cell).astype(np.float32)[None, :]
    k2 = ky**2 + kx**2
    gain = (k2 + np.float32(longest**-2)) ** np.float32(-slope / 2)
    gain *= np.exp(-k2 * np.float32((shortest / 2) ** 2))
    wave = rng.standard_normal((2, *k2.shape), dtype=np.float32)
    spectrum = (wave[0] + 1j * wave[1]) * gain
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, s=(rows, cols))
    return standardise(field[: shape[0], : shape[1]])


def blur(field: NDArray[np.floating], sigma: float) -> Floats:
    """Smooth a field with a Gaussian, edges mirrored.

    Args:
        field: ``(rows, cols)``.
        sigma: standard deviation in cells.

    Returns:
        the smoothed field as float32.
    """
    pad = int(3 * sigma) + 1
    pad = min(pad, *field.shape)
    wide = np.pad(field, pad, mode='symmetric').astype(np.float32)
    rows, cols = _fast(wide.shape[0]), _fast(wide.shape[1])
    ky = np.fft.fftfreq(rows).astype(np.float32)[:, None]
    kx = np.fft.rfftfreq(cols).astype(np.float32)[None, :]
    gain = np.exp(np.float32(-2 * (np.pi * sigma) ** 2) * (ky**2 + kx**2))
    out = np.fft.irfft2(np.fft.rfft2(wide, s=(rows, cols)) * gain, s=(rows, cols))
    return out[pad : pad + field.shape[0], pad : pad + field.shape[1]].astype(
        np.float32
    )


def double(field: NDArray[np.float32]) -> Floats:
    """Double the resolution of a field by linear interpolation between cell centres."""
    for axis in (0, 1):
        field = np.moveaxis(field, axis, 0)
        before = np.concatenate((field[:1], field[:-1]))
        after = np.concatenate((field[1:], field[-1:]))
        out = np.empty((2 * field.shape[0], *field.shape[1:]), dtype=np.float32)
        out[::2] = 0.75 * field + 0.25 * before
        out[1::2] = 0.75 * field + 0.25 * after
        field = np.moveaxis(out, 0, axis)
    return np.ascontiguousarray(field)


def weave(field: Floats, side: float) -> Floats:
    """Filter with the three-tap kernel ``(side, 1 - 2 side, side)`` along both axes."""
    for axis in (0, 1):
        field = np.moveaxis(field, axis, 0)
        out = (1 - 2 * side) * field
        out[1:] += side * field[:-1]
        out[:-1] += side * field[1:]
        out[0] += side * field[0]
        out[-1] += side * field[-1]
        field = np.moveaxis(out, 0, axis)
    return np.ascontiguousarray(field)


def coarse_and_back(field: Floats, factor: int) -> Floats:
    """Average over blocks, then interpolate back to the old grid.

    This is how a band measured at a coarser ground sample distance looks on a finer grid.

    Args:
        field: ``(rows, cols)``.
        factor: side of a block in cells.

    Returns:
        a field of the same shape without detail below the block size.
    """
    rows, cols = field.shape
    wide = np.pad(field, ((0, -rows % factor), (0, -cols % factor)), mode='edge')
    out = wide.reshape(
        wide.shape[0] // factor, factor, wide.shape[1] // factor, factor
    ).mean((1, 3), dtype=np.float32)
    for axis, length in ((0, rows), (1, cols)):
        place = (np.arange(length, dtype=np.float32) + 0.5) / factor - 0.5
        place = np.clip(place, 0, out.shape[axis] - 1)
        first = np.floor(place).astype(np.int64)
        second = np.minimum(first + 1, out.shape[axis] - 1)
        share = (place - first).astype(np.float32)
        share = share[:, None] if axis == 0 else share[None, :]
        out = (
            np.take(out, first, axis) * (1 - share) + np.take(out, second, axis) * share
        )
    return out
