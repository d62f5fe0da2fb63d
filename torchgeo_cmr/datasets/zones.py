"""Zones: one paired dataset for each CRS in which the first modality has files."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import numpy as np
from pyproj import CRS
from torchgeo.datasets import GeoDataset

from torchgeo_cmr.datasets.listing import Listing, read_listing, stated_crs
from torchgeo_cmr.datasets.paired import PairedDataset, check_modalities
from torchgeo_cmr.errors import PairingError
from torchgeo_cmr.scenes.outlines import same_crs


def paired_zones(
    members: Mapping[str, GeoDataset], tolerance: str | timedelta | None = None
) -> list[PairedDataset]:
    """Pair datasets zone by zone, so that files are not warped from one zone into another.

    TorchGeo lists every file in the CRS of the first. Here every CRS in which the first
    modality has files is a zone of its own. The others give a zone their files of that CRS
    and, where those leave ground without a partner, files of other zones, warped. A first
    modality that was opened with ``crs=`` has that one zone.

    Args:
        members: Modality name -> dataset; the first gives the zones.
        tolerance: As for :class:`~torchgeo_cmr.datasets.PairedDataset`.

    Returns:
        The zones in which something pairs, in order of first appearance.

    Raises:
        PairingError: If nothing pairs in any zone.
        RasterError: If a file has no CRS or cannot be read.
    """
    check_modalities(members)
    listings = {name: read_listing(name, member) for name, member in members.items()}
    first, *others = listings.values()
    zones: list[PairedDataset] = []
    error: PairingError | None = None
    for crs, rows in _zones(first):
        parts = {first.name: rows} | {o.name: _nearby(o, crs) for o in others}
        try:
            zones.append(PairedDataset.of_zone(parts, crs, tolerance))
        except PairingError as reason:
            error = error or reason
    if not zones and error is not None:
        raise error
    return zones


def _zones(first: Listing) -> list[tuple[CRS, Listing]]:
    """The zones of the first modality, with its files in each."""
    systems: list[CRS] = []
    numbers = []
    for scene in first.scenes:
        known = [i for i, crs in enumerate(systems) if same_crs(crs, scene.crs)]
        numbers += known or [len(systems)]
        if not known:
            systems.append(scene.crs)
    if len(systems) < 2 or stated_crs(first.dataset, first.scenes):
        return [(first.dataset.crs, first)]
    return [
        (crs, first.select(np.array(numbers) == i)) for i, crs in enumerate(systems)
    ]


def _nearby(other: Listing, crs: CRS) -> Listing:
    """What another modality gives a zone: its own files come first."""
    foreign = np.array([not same_crs(scene.crs, crs) for scene in other.scenes], bool)
    return (
        replace(other, foreign=foreign)
        if foreign.any() and not foreign.all()
        else other
    )
