"""TFDS builders of tracking data sets, written as ArrayRecord without TensorFlow.

Each builder says where a data set keeps its videos (`list_footage`) and what is annotated in one
of them (`read_footage`); `tracking.TrackingBuilder` turns that into records and an index.
"""
