"""How a training is carried out: on how many devices, with what in memory and what sent."""
