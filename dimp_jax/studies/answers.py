"""What differences to a base say, in words."""


def lines(compared: dict) -> list[str]:
    """What can be said, as a list in Markdown; {name: `paired.Measured`}, the base among them."""
    compared = {n: of.difference for n, of in compared.items() if of.difference is not None}
    if not compared:
        return []
    if all(apart.low is None for apart in compared.values()):
        differences = ", ".join(f"`{name}` {apart.mean:+.3f}" for name, apart in compared.items())
        return [f"* Differences, of which too little is there to tell them from 0: {differences}."]
    line = lambda of: ", ".join(f"`{n}` {compared[n].mean:+.3f}" for n in of) or "none"
    told = [name for name, apart in compared.items() if apart.told]
    others = [name for name in compared if name not in told]
    found = [f"* Differ from it: {line(told)}.", f"* Cannot be told from it: {line(others)}."]
    power = [compared[n].detectable for n in others if compared[n].detectable]
    if power:
        least, most = f"{min(power):.3f}", f"{max(power):.3f}"
        found.append(
            f"* Of the latter a difference of {least if least == most else f'{least} to {most}'} "
            f"would have been told with probability 0.8. Of {len(compared)} intervals of 95 %, "
            f"{0.05 * len(compared):.1f} exclude 0 by chance."
        )
    return found


def interval(apart) -> str | None:
    """A `paired.Difference`; None of the base."""
    if apart is None:
        return None
    between = "" if apart.low is None else f" [{apart.low:+.3f}, {apart.high:+.3f}]"
    return f"{apart.mean:+.3f}{between}"


def drawn(seeds: int) -> str:
    """What the bootstrap of paired differences draws; of one seed nothing can be drawn."""
    return "sequences and seeds" if seeds > 1 else "sequences, of one seed"


def counted(number: int, what: str) -> str:
    """1 seed, 3 seeds."""
    return f"{number} {what}{'' if number == 1 else 's'}"
