"""From boxes to numbers: curves, the rules of the toolkits, errors of single frames."""
