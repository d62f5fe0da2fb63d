"""What the surfaces of the synthetic world look like to an optical and a radar sensor.

The tables hold rounded typical figures, each chosen by us inside the range that the
sources show; none is copied from a single measurement, and none was fitted to a model.

Optical (surface reflectance, 0..1). Shapes and levels of the pure materials follow the
open spectral libraries, read at the Sentinel-2 band centres: Meerdink et al. 2019, "The
ECOSTRESS spectral library version 1.0", Remote Sensing of Environment 230, 111196, and
Kokaly et al. 2017, "USGS Spectral Library Version 7", USGS Data Series 1035. Canopies are
darker than their leaves: the shade material carries that difference. Surfaces are linear
mixtures of the materials (Adams et al. 1986, JGR 91(B8), 8098-8112).

Radar (gamma nought in dB, C band, VV and VH, about 39 degrees of incidence). Ranges by land
cover: Ulaby and Dobson 1989, "Handbook of Radar Scattering Statistics for Terrain", Artech
House. Crops through the season: Veloso et al. 2017, RSE 199, 415-426, and Vreugdenhil et al.
2018, Remote Sensing 10(9), 1396. Soil seen through a canopy: Attema and Ulaby 1978, "Vegetation
modeled as a water cloud", Radio Science 13(2), 357-364. Speckle of the IW GRD product: five
looks in range with an equivalent number of looks of about 4.4 (Torres et al. 2012, "GMES
Sentinel-1 mission", RSE 120, 9-24, and the Sentinel-1 product specification).

Calendars are those of a Mediterranean lowland: winter cereals are green in April and ripe in
June, summer crops close their canopy between May and July.
"""

import numpy as np
from numpy.typing import NDArray

#: Bands of the Sentinel-2 product in file order (B10 holds no surface signal and is absent).
S2_BANDS = (
    'B01',
    'B02',
    'B03',
    'B04',
    'B05',
    'B06',
    'B07',
    'B08',
    'B8A',
    'B09',
    'B11',
    'B12',
)

#: Ground sample distance in metres at which Sentinel-2 measures each of `S2_BANDS`.
S2_GSD = (60, 10, 10, 10, 20, 20, 20, 10, 20, 60, 20, 20)

#: Land-cover codes of the truth raster; 0 is nodata.
CLASSES = {
    1: 'water',
    2: 'broadleaf forest',
    3: 'conifer forest',
    4: 'grassland and pasture',
    5: 'winter crop',
    6: 'summer crop',
    7: 'vineyard and orchard',
    8: 'bare soil and quarry',
    9: 'dense built-up',
    10: 'sparse built-up and roads',
    11: 'wetland',
}

#: Colours of the classes as (red, green, blue), 0..255.
COLOURS = {
    1: (66, 120, 190),
    2: (60, 130, 60),
    3: (25, 85, 60),
    4: (170, 205, 110),
    5: (238, 215, 110),
    6: (225, 160, 70),
    7: (160, 95, 150),
    8: (196, 172, 150),
    9: (185, 40, 45),
    10: (150, 150, 155),
    11: (110, 195, 190),
}

#: Reflectance of the pure materials in the order of `S2_BANDS`.
# Kept as a table, one material a row.
# fmt: off
SPECTRA: dict[str, tuple[float, ...]] = {
    'crop': (0.024, 0.030, 0.062, 0.034, 0.095, 0.310, 0.395, 0.415, 0.435, 0.435, 0.205, 0.100),
    'broadleaf': (0.020, 0.024, 0.050, 0.027, 0.080, 0.265, 0.345, 0.365, 0.385, 0.385, 0.180, 0.080),
    'conifer': (0.017, 0.020, 0.037, 0.023, 0.055, 0.155, 0.195, 0.210, 0.225, 0.225, 0.105, 0.048),
    'grass': (0.028, 0.038, 0.076, 0.050, 0.112, 0.260, 0.312, 0.332, 0.350, 0.350, 0.240, 0.130),
    'reed': (0.022, 0.030, 0.056, 0.046, 0.085, 0.180, 0.215, 0.235, 0.245, 0.245, 0.150, 0.080),
    'dry': (0.060, 0.080, 0.120, 0.160, 0.195, 0.230, 0.255, 0.275, 0.295, 0.300, 0.365, 0.275),
    'soil': (0.062, 0.080, 0.112, 0.148, 0.172, 0.190, 0.205, 0.220, 0.235, 0.240, 0.310, 0.270),
    'clear_water': (0.030, 0.028, 0.025, 0.014, 0.012, 0.009, 0.008, 0.007, 0.006, 0.006, 0.004, 0.003),
    'turbid_water': (0.045, 0.055, 0.080, 0.070, 0.060, 0.035, 0.033, 0.028, 0.022, 0.018, 0.008, 0.005),
    'asphalt': (0.080, 0.090, 0.100, 0.110, 0.118, 0.124, 0.130, 0.136, 0.142, 0.144, 0.160, 0.150),
    'tile': (0.062, 0.072, 0.102, 0.185, 0.215, 0.230, 0.240, 0.250, 0.262, 0.266, 0.310, 0.280),
    'concrete': (0.135, 0.155, 0.180, 0.196, 0.205, 0.210, 0.216, 0.226, 0.232, 0.236, 0.260, 0.245),
    'bright_roof': (0.310, 0.350, 0.385, 0.405, 0.415, 0.418, 0.420, 0.425, 0.425, 0.420, 0.400, 0.355),
    'rock': (0.180, 0.220, 0.275, 0.315, 0.335, 0.348, 0.360, 0.372, 0.380, 0.380, 0.415, 0.365),
    'shade': (0.010, 0.010, 0.010, 0.008, 0.010, 0.016, 0.020, 0.020, 0.022, 0.022, 0.012, 0.006),
}
# fmt: on

#: Names of `SPECTRA` in column order of every abundance table.
MATERIALS = tuple(SPECTRA)

#: Backscatter of the pure scatterers, (VV, VH) gamma nought in dB at reference moisture.
BACKSCATTER: dict[str, tuple[float, float]] = {
    'broadleaf': (-8.8, -14.2),
    'conifer': (-9.8, -15.4),
    'grass': (-12.2, -18.8),
    'winter_green': (-14.6, -20.6),
    'winter_dry': (-11.8, -18.2),
    'summer_green': (-9.8, -15.6),
    'orchard': (-10.2, -16.4),
    'reed': (-10.0, -17.2),
    'soil': (-11.6, -20.4),
    'rock': (-11.0, -19.5),
    'asphalt': (-16.5, -23.5),
    'garden': (-10.0, -16.0),
    'roof': (-6.5, -14.5),
    'water': (-20.0, -27.5),
}

#: Ten-metre gamma nought that instrument noise adds, in dB (Sentinel-1 IW, typical).
NOISE_FLOOR_DB = -27.0

#: Equivalent number of looks of the speckle, and the looks that are averaged for it.
LOOKS, ENL = 5, 4.4


def spectra() -> NDArray[np.float32]:
    """Return the material spectra as a matrix.

    Returns:
        ``(materials, bands)`` reflectance, 0..1, rows as `MATERIALS`, columns as `S2_BANDS`.
    """
    return np.array([SPECTRA[name] for name in MATERIALS], dtype=np.float32)


def decibel_to_power(value: NDArray[np.floating] | float) -> NDArray[np.float32]:
    """Turn decibels into linear power.

    Args:
        value: gamma nought in dB, any shape.

    Returns:
        linear gamma nought of the same shape.
    """
    return np.power(np.float32(10), np.asarray(value, dtype=np.float32) / 10)


def logistic(
    day: float, middle: NDArray[np.float64], width: float
) -> NDArray[np.float64]:
    """Rise smoothly from 0 to 1 around a day of the year.

    Args:
        day: day of the year.
        middle: day at which the rise is half done, one per unit.
        width: days; four widths hold most of the rise.

    Returns:
        values in 0..1 shaped as `middle`.
    """
    return 1 / (1 + np.exp(-np.clip((day - middle) / width, -40, 40)))
