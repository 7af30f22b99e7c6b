"""Who tracks the jobs: one by one, in lanes, several objects of a video, in processes."""
