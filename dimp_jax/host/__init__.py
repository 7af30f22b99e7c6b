"""The machine around the mathematics: command line, compiled programs, processes, environments."""
