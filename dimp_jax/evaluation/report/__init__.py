"""One HTML page, and its plots, from the results of one or several trackers."""
