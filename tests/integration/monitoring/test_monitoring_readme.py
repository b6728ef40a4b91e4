"""What the README says of the monitoring API is what it answers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from tests.monitoring.asking import ask

if TYPE_CHECKING:
    from aisquad_core.monitoring import Monitoring

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
TOLD = re.findall(r"^\$ curl '?http://127\.0\.0\.1:8080(/[^\s']*)'?\n(.*)$", README, re.MULTILINE)


async def test_every_curl_line_is_answered_with_what_stands_below_it(
    monitoring: Monitoring,
) -> None:
    for path, answer in TOLD:
        reply = await ask(monitoring.port, path)
        assert reply.status == 200, path
        if reply.headers["content-type"].startswith("application/json"):
            shape = reply.json[0] if isinstance(reply.json, list) else reply.json
            told = re.findall(r'"(\w+)":', answer)
            own = set(shape).union(*(it for it in shape.values() if isinstance(it, dict)))
            assert told
            assert [name for name in told if name not in own | {"running", "completed"}] == []
        else:
            assert answer.split(" …")[0] in reply.body.decode()


async def test_every_path_with_figures_is_told(monitoring: Monitoring) -> None:
    told = {path.partition("?")[0] for path, _ in TOLD}
    paths = set(monitoring.paths)
    assert told == {path for path in paths if not path.startswith("/dashboard/")}


async def test_every_figure_that_is_told_for_prometheus_is_there(monitoring: Monitoring) -> None:
    reply = await ask(monitoring.port, "/metrics")
    names = {family.name for family in text_string_to_metric_families(reply.body.decode())}
    told = set(re.findall(r"^(aisquad_\w+?)(?:_total|_sum)?[{ ]", README, re.MULTILINE))
    assert told
    assert told <= names
