"""Scaling laws and their fitting with uncertainty: arrays in, frozen values out."""

from isoloss.laws.fit import fit
from isoloss.laws.fitted import FittedLaw
from isoloss.laws.law import Law, Parameter
from isoloss.laws.power import PowerFits, fit_power_laws
from isoloss.laws.registry import LAWS, find_law, law

__all__ = ["LAWS", "FittedLaw", "Law", "Parameter", "PowerFits", "find_law", "fit", "fit_power_laws", "law"]
