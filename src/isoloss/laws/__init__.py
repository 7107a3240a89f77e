"""Scaling laws and their fitting with uncertainty: arrays in, frozen values out."""

from isoloss.laws.chinchilla import fit_chinchilla
from isoloss.laws.fitted import FittedLaw
from isoloss.laws.power import PowerFits, fit_power_laws
from isoloss.laws.registry import LAWS, fit

__all__ = ["LAWS", "FittedLaw", "PowerFits", "fit", "fit_chinchilla", "fit_power_laws"]
