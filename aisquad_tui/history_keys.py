"""The keys that work in the history alone."""

from __future__ import annotations

from aisquad_tui.key import Key, Place

_HERE = (Place.HISTORY,)
_PANES = (
    ("load", "CPU and memory"),
    ("workers", "how many ran, and the parallelism"),
    ("resizes", "changes of the parallelism, and why"),
    ("throughput", "what ended"),
    ("durations", "how long operations took"),
    ("slowest", "the slowest operations"),
    ("agents", "figures by agent"),
)

HISTORY_KEYS: tuple[Key, ...] = (
    Key(
        keys="enter",
        action="open",
        word="open",
        help="open the operation, or tell a reason in full",
        places=_HERE,
        rank=80,
    ),
    Key(
        keys="tab",
        action="next_pane",
        word="pane",
        help="next pane, on the next page if it is there",
        places=_HERE,
        rank=70,
    ),
    Key(
        keys="shift+tab",
        action="previous_pane",
        word="pane",
        help="previous pane",
        places=_HERE,
    ),
    *(
        Key(keys=str(number), action=f"pane({number})", word=word, help=help, places=_HERE)
        for number, (word, help) in enumerate(_PANES, start=1)
    ),
    Key(
        keys="left",
        action="period(-1)",
        word="shorter",
        help="a shorter time",
        places=_HERE,
        rank=60,
    ),
    Key(
        keys="right",
        action="period(1)",
        word="longer",
        help="a longer time",
        places=_HERE,
        rank=65,
    ),
    Key(
        keys="c",
        action="scope",
        word="convoy",
        help="the selected convoy alone, or all of them",
        places=_HERE,
        rank=50,
    ),
    Key(keys="H", action="history", word="back", help="close the history", places=_HERE),
)
"""In the order of the footer and the help."""
