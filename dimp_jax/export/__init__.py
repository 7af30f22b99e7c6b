"""The tracker as StableHLO programs, parameters and a runner that need nothing of this package."""
