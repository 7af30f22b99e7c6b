"""Trainings of many arms from one frozen backbone, on the same features: what studies share."""
