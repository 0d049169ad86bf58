"""Holds every numerical tolerance, each with its meaning; no other module has an epsilon."""

from __future__ import annotations

#: A float32 margin is believed when it is farther from 0 than this share of 1 plus the greatest logit; nearer ones
#: are decided in float64 on the plain path. Rounding errors of the models here stay below a tenth of it (a test).
FLOAT32_BAND = 1e-4
#: A float64 margin nearer to 0 than this share of 1 plus the greatest logit is left undecided.
FLOAT64_BAND = 1e-9
