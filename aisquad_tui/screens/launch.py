"""The dialog in which a convoy is put together: a file, or a command over inputs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aisquad_core.errors import AISquadError, Problem, SpecError
from aisquad_core.sanitise import sanitise
from aisquad_tui.completion import Completion, complete_path, complete_word, short_path
from aisquad_tui.draft import AGENT, FILE, FOR_EACH, NAME, RUN, Draft, pasted_inputs
from aisquad_tui.ink import Role, line, width
from aisquad_tui.screens.dialog import DialogScreen, Hit, Row
from aisquad_tui.views import launch as view
from aisquad_tui.views.layout import frame
from aisquad_tui.widgets.text_line import TextLine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.timer import Timer

    from aisquad_core.api import Preview
    from aisquad_core.spec import ConvoySource
    from aisquad_tui.ink import Line
    from aisquad_tui.surroundings import Surroundings
    from aisquad_tui.theme import Look

_DEBOUNCE_S = 0.15
"""Seconds of no typing after which the preview follows."""
_WIDEST, _HIGHEST = 104, 26
_FIELDS = (FILE, RUN, FOR_EACH, NAME, AGENT)
_LAUNCH = "launch"
"""The name of the button among the fields."""
_BACK, _RECENT = "back", "recent"
_STOPS = (*_FIELDS, _LAUNCH)
_HINTS = {
    FILE: "a convoy file (.toml .yaml .json)",
    RUN: "a command, {} where the input goes",
    FOR_EACH: "words and patterns: src/**/*.py",
    NAME: "as the program",
    AGENT: "shell",
}
_OPERATIONS_SHOWN = 20


class LaunchScreen(DialogScreen["ConvoySource | None"]):
    """Puts a convoy together; ends with what is to be launched, or None.

    Args:
        surroundings: Where it runs.
        look: How roles look.
        draft: What the fields begin with.
        recent: Absolute paths of the files that were launched lately, the newest first.
    """

    def __init__(
        self, surroundings: Surroundings, look: Look, draft: Draft, recent: Sequence[str] = ()
    ) -> None:
        super().__init__(surroundings, look)
        begun = (draft.path, draft.command, draft.inputs, draft.name, draft.agent)
        self.fields = {name: TextLine(text) for name, text in zip(_FIELDS, begun, strict=True)}
        self.at = RUN if draft.command and not draft.path else FILE
        """The field that is being typed into, or the button."""
        self.preview: Preview | None = None
        self.problems: Sequence[Problem] = ()
        self._recent = [short_path(path, surroundings.cwd) for path in recent]
        self._completion = Completion(text="")
        self._checked: Draft | None = None
        self._source: ConvoySource | None = None
        self._is_launch_wanted = False
        self._typing: Timer | None = None

    @property
    def draft(self) -> Draft:
        """The fields as they are."""
        path, command, inputs, name, agent = (self.fields[each].text for each in _FIELDS)
        return Draft(path=path, command=command, inputs=inputs, name=name, agent=agent)

    def on_mount(self) -> None:
        """Check what is there already."""
        self._check()

    def press(self, key: str, character: str | None) -> bool:
        """Edit, go to another field, complete, launch or go back."""
        match key:
            case "escape":
                self.dismiss(None)
                return True
            case "ctrl+enter":
                self._launch()
            case "enter":
                self._enter()
            case "tab":
                self._tab()
            case "shift+tab":
                self._go(-1)
            case "down":
                self._go(1)
            case "up":
                self._older() if self.at == FILE else self._go(-1)
            case _ if self.at in self.fields:
                before = self.fields[self.at].text
                if not self.fields[self.at].press(key, character):
                    return False
                if self.fields[self.at].text != before:
                    self._changed()
            case _:
                return False
        self.redraw()
        return True

    def paste(self, text: str) -> None:
        """Insert pasted text: lines are inputs, and nowhere do they submit anything."""
        if self.at not in self.fields:
            return
        clean = sanitise(text)
        if self.at == FOR_EACH:
            piece = pasted_inputs(clean)
        else:
            piece = " ".join(each.strip() for each in clean.splitlines() if each.strip())
        self.fields[self.at].insert(piece)
        self._changed()
        self.redraw()

    def click(self, name: str) -> None:
        """Go to a field, take the next recent file, launch or go back."""
        if name == _BACK:
            self.dismiss(None)
        elif name == _RECENT:
            self._older()
        elif name == _LAUNCH:
            self._launch()
        elif name in self.fields:
            self.at = name
        self.redraw()

    def extent(self, cells: int, rows: int) -> tuple[int, int]:
        """Return the same size whatever is in it, so that nothing jumps."""
        return min(_WIDEST, cells), min(_HIGHEST, rows)

    def lines(self, cells: int, rows: int) -> Sequence[Line]:
        """Return the fields, the preview and the problems."""
        inner, height = cells - 4, rows - 2
        self.hits, self.caret = [], None
        body = [
            self._field(1, inner, FILE),
            self._beside_file(inner),
            self._field(3, inner, RUN),
            self._field(4, inner, FOR_EACH),
            self._field(5, inner, NAME, AGENT),
            (),
        ]
        room = max(0, height - len(body) - 3)
        if self.problems:
            body += [line(("Preview", Role.QUIET)), ()]
            body += view.problems(self.problems, inner, room, self.glyphs)
        elif self.preview is not None:
            head = view.summary(self.preview, self.glyphs)
            body += [line(("Preview  ", Role.QUIET), *head)]
            body += view.templates(self.preview, inner, room, self.glyphs)
        else:
            said = "what would run shows here" if self.draft.is_empty else "checking"
            body.append(line((f"Preview  {said}", Role.QUIET)))
        body += [()] * (height - 1 - len(body))
        body = [*body[: height - 1], self._buttons(height, inner)]
        title = line(("New convoy", Role.STRONG))
        info = line((self.surroundings.place, Role.QUIET))
        return frame(title, info, body, cells, self.glyphs, is_focused=True)

    def _field(self, y: int, cells: int, *names: str) -> Line:
        """Return one or several fields beside each other."""
        row = Row(y)
        bad = {view.field_of(problem) for problem in self.problems}
        share = cells // len(names)
        for name in names:
            is_focused = name == self.at
            label = view.label(name, is_focused=is_focused, is_bad=name in bad)
            room, begun = share - width([label]) - 2, row.x
            if is_focused:
                self.caret = (begun + width([label]) + self.fields[name].column(room), y)
            shown = self.fields[name].spans(
                room, self.glyphs, has_caret=is_focused, hint=_HINTS[name]
            )
            row.add(label, *shown)
            row.add((" " * max(0, share - (row.x - begun)), Role.TEXT))
            self.hits.append(Hit(y, begun, begun + share, name))
        return line(*row.spans)

    def _beside_file(self, cells: int) -> Line:
        """Return how the path can go on, or the recent files."""
        indent = " " * 9
        if self.fields[FILE].text and self.at == FILE and len(self._completion.choices) > 1:
            return view.choices(f"{indent}tab: ", self._completion.choices, cells, self.glyphs)
        if self.at == AGENT and self.surroundings.agents:
            return view.choices(f"{indent}agents: ", self.surroundings.agents, cells, self.glyphs)
        if self._recent:
            self.hits.append(Hit(2, 2, cells + 2, _RECENT))
            return view.choices(f"{indent}up: recent ", self._recent, cells, self.glyphs)
        return line((f"{indent}tab completes", Role.QUIET))

    def _buttons(self, y: int, cells: int) -> Line:
        """Return the last line: what leads on and back."""
        role = Role.STRONG if self._is_ready else Role.QUIET
        mark = (f"{self.glyphs.arrow} " if self.at == _LAUNCH else "  ", Role.ACCENT)
        row = Row(y)
        row.add(("esc", Role.KEY), (" back", Role.QUIET), name=_BACK)
        tail = line(mark, ("Launch", role), (f"  {self._readiness()}", Role.QUIET))
        hint = line("   ", ("tab", Role.KEY), (" completes, next field", Role.QUIET))
        left = cells - (row.x - 2) - width(tail)
        if width(hint) < left:
            row.add(*hint)
        elif left < 1:
            tail = tail[:2]
        row.add((" " * max(1, cells - (row.x - 2) - width(tail)), Role.TEXT))
        row.add(*tail, name=_LAUNCH)
        self.hits.extend(row.hits)
        return line(*row.spans)

    def _readiness(self) -> str:
        if self.problems:
            return "not before it is right"
        if self.at in {FILE, RUN}:
            return "ctrl+enter, or enter twice"
        return "enter"

    @property
    def _is_ready(self) -> bool:
        return self._source is not None and self._checked == self.draft

    def _enter(self) -> None:
        """Go on to where the rest is told, or launch."""
        if self.at == FILE and self.fields[FILE].text.strip():
            self.at = _LAUNCH
        elif self.at in {FILE, RUN}:
            self._go(1)
        else:
            self._launch()

    def _go(self, stops: int) -> None:
        self.at = _STOPS[(_STOPS.index(self.at) + stops) % len(_STOPS)]

    def _tab(self) -> None:
        """Complete what is typed, else go to the next field."""
        field = self.fields.get(self.at)
        if field is None or field.caret != len(field.text) or not field.text:
            self._go(1)
        elif self.at == FILE:
            self.run_worker(self._complete_path(field.text), group="complete", exclusive=True)
        elif self.at == AGENT:
            self._take(AGENT, complete_word(field.text, self.surroundings.agents))
        else:
            self._go(1)

    async def _complete_path(self, typed: str) -> None:
        found = await asyncio.to_thread(complete_path, typed, self.surroundings.cwd)
        if self.at == FILE and self.fields[FILE].text == typed:
            self._take(FILE, found)
            self.redraw()

    def _take(self, name: str, found: Completion) -> None:
        """Let a completion go as far as it does; one that goes nowhere leads on."""
        self._completion = found
        if found.text != self.fields[name].text:
            self.fields[name].set(found.text)
            self._changed()
        elif len(found.choices) < 2:
            self._go(1)

    def _older(self) -> None:
        """Take the next older of the recent files."""
        text = self.fields[FILE].text
        if self._recent:
            place = self._recent.index(text) + 1 if text in self._recent else 0
            self.fields[FILE].set(self._recent[place % len(self._recent)])
            self._changed()

    def _launch(self) -> None:
        """Launch what was checked; what was not yet, as soon as it is."""
        if self._is_ready:
            self.dismiss(self._source)
        elif not self.draft.is_empty and self._checked != self.draft:
            self._is_launch_wanted = True
            self._check()

    def _changed(self) -> None:
        """Look ahead when the typing pauses."""
        self._is_launch_wanted = False
        if self._typing is not None:
            self._typing.stop()
        self._typing = self.set_timer(_DEBOUNCE_S, self._check)

    def _check(self) -> None:
        self.run_worker(self._look_ahead(self.draft), group="check", exclusive=True)

    async def _look_ahead(self, draft: Draft) -> None:
        """Ask what the draft would run; a newer one ends this."""
        source, preview, problems = None, None, tuple[Problem, ...]()
        cwd = self.surroundings.cwd
        if draft.path:
            self._completion = await asyncio.to_thread(complete_path, draft.path, cwd)
        if not draft.is_empty:
            try:
                source = await asyncio.to_thread(draft.source, cwd)
                preview = await self.surroundings.engine.preview(
                    source, cwd=cwd, limit=_OPERATIONS_SHOWN
                )
                problems = preview.problems
            except SpecError as error:
                problems = error.problems
            except AISquadError as error:
                problems = (Problem(file="engine", key="", message=str(error)),)
        self._checked, self.preview, self.problems = draft, preview, problems
        self._source = None if problems else source
        if self._is_launch_wanted and self._is_ready:
            self.dismiss(self._source)
        self._is_launch_wanted = False
        self.redraw()
