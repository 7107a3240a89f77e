"""Where runs run: the driver of rounds and the engines that carry them out."""
