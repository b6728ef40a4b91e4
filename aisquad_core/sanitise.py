"""Untrusted text made harmless for a terminal.

Output, names, paths and errors of operations may hold anything: sequences that write the
clipboard, move the cursor, answer on standard input or turn a line around. What passes here can be
printed. Markup is another matter: whoever shows text must not parse it as markup either.
"""

from __future__ import annotations

import re

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_SEPARATORS = "\u2028\u2029"  # str.splitlines, and so Rich, breaks lines at them
_UNSAFE = re.compile(
    rf"""
    (\x1b\[[0-9;:]*+m)                          # 1: SGR, colours
    | (?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])      # OSC, DCS, SOS, PM, APC: a string, ended by ...
      [^\n\x07\x18\x1a\x1b\x9c]*+(?:[\x07\x18\x1a\x9c]|\x1b\\)?  # ... ST, BEL, CAN, newline, ESC
    | (?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]?       # CSI
    | \x1b[ -/]*+[0-~]?                         # two bytes and more, or a lone ESC
    | [\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}{_SEPARATORS}]+
    """,
    re.VERBOSE,
)
_SURROGATES = re.compile("[\ud800-\udfff]")
_UNPRINTABLE_BYTES = range(0xDC80, 0xDD00)
_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def sanitise(text: str, *, keep_colours: bool = False) -> str:
    r"""Remove everything that a terminal would act on, except newlines and tabs.

    Control strings (OSC, DCS, ...) go with their contents; one that is not terminated ends at the
    newline. A lone surrogate (a byte that was not UTF-8) becomes U+FFFD. Takes linear time, and
    cleaning twice changes nothing.

    Args:
        text: Anything.
        keep_colours: Leave SGR sequences (`ESC [ 31 m`) as they are; whoever prints the text must
            then reset the colours after it.
    """
    clean = _UNSAFE.sub(r"\1" if keep_colours else "", text)
    return _SURROGATES.sub("\ufffd", clean)


def one_line(text: str, limit: int = 200) -> str:
    """Return the text sanitised and on one line, every run of white space a single space.

    Args:
        text: Anything.
        limit: Characters at most, 1 or more; what is longer is cut and ends in `…`.
    """
    line = " ".join(sanitise(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def escape_controls(text: str) -> str:
    r"""Return the text with whatever is not printable as an escape: `\n`, `\x1b`, `\u202e`.

    For ids: the result is printable and valid UTF-8, nothing is lost silently, and escaping twice
    changes nothing (a backslash stays as it is). A byte that was not UTF-8 becomes `\xff`.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    if char in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[char]
    if code in _UNPRINTABLE_BYTES:
        code -= 0xDC00
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
