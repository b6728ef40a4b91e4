"""Who sees what: the same user, another user of this machine, a stranger, the token."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import socket
import subprocess
import sys
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest

from aisquad_core.monitoring import Monitoring, peer
from aisquad_core.monitoring.token import TOKEN_NAME, Token
from tests.monitoring.asking import BOUND_S, Reply, ask, parse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aisquad_core.settings import Settings
    from tests.tui.scenes import Scene

ASK = """
import os, socket, sys
kind, port, data, uid, gid = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode(), *sys.argv[4:]
os.setgroups([])
os.setgid(int(gid))
os.setuid(int(uid))
family = socket.AF_INET6 if kind == "mapped" else socket.AF_INET
with socket.socket(family) as connection:
    connection.connect(("::ffff:127.0.0.1" if kind == "mapped" else "127.0.0.1", port))
    connection.sendall(data)
    while part := connection.recv(65536):
        sys.stdout.buffer.write(part)
"""
NUMBERS_FOR_OTHERS = (
    "/health", "/metrics", "/metrics/convoys", "/metrics/stats", "/metrics/resources",
    "/metrics/system", "/dashboard/data",
)  # fmt: skip
OWNERS_ALONE = ("/metrics/failures", "/metrics/agents")
another_user = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can ask as another user: run the tests as root"
)


async def ask_as_nobody(port: int, path: str, *, kind: str = "plain", headers: str = "") -> Reply:
    """Ask from a process of the user nobody."""
    nobody = pwd.getpwnam("nobody")
    data = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}\r\n"
    run = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-I", "-c", ASK, kind, str(port), data,
         str(nobody.pw_uid), str(nobody.pw_gid)],
        capture_output=True,
        timeout=BOUND_S,
        check=True,
    )  # fmt: skip
    return parse(run.stdout)


def texts(value: Any) -> Iterable[str]:  # noqa: ANN401 - any JSON
    """Yield every text in it, without the keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from texts(entry)


def is_a_stamp_or_a_word_of_ours(text: str) -> bool:
    words = {"ok", "away", "ill", "off", "numbers", "running", "pending", "paused", "completed",
             "partial", "0.1.0"}  # fmt: skip
    return text in words or (text.endswith("Z") and text[4] == "-")


async def test_the_same_user_is_let_in_without_a_token(monitoring: Monitoring) -> None:
    assert (await ask(monitoring.port, "/metrics/failures")).status == 200
    assert "engine" in (await ask(monitoring.port, "/metrics/system")).json


@another_user
@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "kind"), [("127.0.0.1", "plain"), ("127.0.0.1", "mapped"), ("::", "plain")]
)
async def test_another_user_sees_numbers_alone(
    databases: Settings, scene: Scene, address: str, kind: str
) -> None:
    scene.engine.set_trouble("secret trouble", "secret reason")
    async with Monitoring(
        databases, engine=scene.engine, address=address, port=0, clock=scene.clock
    ) as monitoring:
        for path in NUMBERS_FOR_OTHERS:
            reply = await ask_as_nobody(monitoring.port, path, kind=kind)
            assert reply.status in {200, 503}, path
            if path == "/metrics":
                text = reply.body.decode()
                for name in ("engineer", "nightly", "4242", "secret"):
                    assert name not in text
                continue
            named = [t for t in texts(reply.json) if not is_a_stamp_or_a_word_of_ours(t)]
            assert named == [], path
        for path in OWNERS_ALONE:
            reply = await ask_as_nobody(monitoring.port, path, kind=kind)
            assert reply.status == 401
            assert reply.headers["www-authenticate"] == 'Bearer realm="aisquad"'


@another_user
@pytest.mark.slow
async def test_another_user_who_shows_the_token_is_let_in(
    monitoring: Monitoring, databases: Settings
) -> None:
    token = await asyncio.to_thread(Token(databases.state_dir).read)
    right = f"Authorization: Bearer {token}\r\n"
    reply = await ask_as_nobody(monitoring.port, "/metrics/failures", headers=right)
    assert reply.status == 200
    wrong = f"Authorization: Bearer {token[:-1]}\r\n"
    assert (await ask_as_nobody(monitoring.port, "/metrics/failures", headers=wrong)).status == 401


@another_user
@pytest.mark.slow
async def test_another_user_is_told_no_reason_for_what_cannot_be_read(
    settings: Settings, scene: Scene
) -> None:
    async with Monitoring(settings, port=0, clock=scene.clock) as monitoring:
        reply = await ask_as_nobody(monitoring.port, "/metrics/stats")
        assert (reply.status, reply.json["detail"]) == (503, "metrics cannot be read now")


async def test_who_cannot_be_told_is_another_user(
    monitoring: Monitoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "find_user", lambda own, other: None)
    assert (await ask(monitoring.port, "/metrics/failures")).status == 401
    assert (await ask(monitoring.port, "/metrics/convoys")).status == 200


async def test_the_table_is_read_for_each_connection_anew(
    monitoring: Monitoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    for uid, status in ((os.geteuid(), 200), (os.geteuid() + 1, 401), (os.geteuid(), 200)):
        monkeypatch.setattr(peer, "find_user", lambda own, other, uid=uid: uid)
        assert (await ask(monitoring.port, "/metrics/agents")).status == status


async def test_a_user_whom_this_namespace_does_not_know_is_another_user(
    monitoring: Monitoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "_overflow_uid", os.geteuid)
    assert (await ask(monitoring.port, "/metrics/failures")).status == 401


async def test_beyond_loopback_only_the_token_lets_in(
    databases: Settings, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address is one of loopback that the test takes for another machine's."""

    def ends(connection: Any) -> tuple[peer.End, peer.End]:  # noqa: ANN401 - a socket
        own, other = real(connection)
        return own._replace(address=far), other._replace(address=far)

    far, real = ip_address("192.0.2.7"), peer.ends
    monkeypatch.setattr(peer, "ends", ends)
    async with Monitoring(databases, engine=scene.engine, port=0, clock=scene.clock) as monitoring:
        port = monitoring.port
        host = {"Host": f"192.0.2.7:{port}"}
        health = await ask(port, "/health", headers=host)
        assert set(health.json) == {"status", "uptime_seconds", "parts"}
        for path in (*NUMBERS_FOR_OTHERS[1:], *OWNERS_ALONE):
            assert (await ask(port, path, headers=host)).status == 401
        token = await asyncio.to_thread(Token(databases.state_dir).read)
        for scheme in ("Bearer", "bearer"):
            shown = host | {"Authorization": f"{scheme} {token}"}
            for path in (*NUMBERS_FOR_OTHERS, *OWNERS_ALONE):
                assert (await ask(port, path, headers=shown)).status == 200
        for other in (f"Basic {token}", token, "Bearer", f"Bearer {token} {token}"):
            shown = host | {"Authorization": other}
            assert (await ask(port, "/metrics", headers=shown)).status == 401


async def test_a_token_that_others_could_know_lets_nobody_in_and_stops_nothing(
    databases: Settings, scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    file = databases.state_dir / TOKEN_NAME
    file.write_text("x" * 43)
    file.chmod(0o644)
    async with Monitoring(databases, engine=scene.engine, port=0, clock=scene.clock) as monitoring:
        assert (await ask(monitoring.port, "/health")).status == 200
    assert [record.getMessage() for record in caplog.records] == [
        f"nobody can show the token: {file}: others could have read or written it"
    ]


async def test_where_there_is_no_state_folder_none_is_made(
    settings: Settings, scene: Scene
) -> None:
    settings.state_dir.rmdir()
    async with Monitoring(settings, port=0, clock=scene.clock) as monitoring:
        assert (await ask(monitoring.port, "/health")).status == 503
    assert not settings.state_dir.exists()


async def test_the_page_is_for_everybody_and_holds_no_figures(
    monitoring: Monitoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_owner = await ask(monitoring.port, "/dashboard")
    monkeypatch.setattr(peer, "find_user", lambda own, other: None)
    assert (await ask(monitoring.port, "/dashboard")).body == as_owner.body
    assert b"nightly" not in as_owner.body


async def test_ipv6_loopback_is_loopback(databases: Settings, scene: Scene) -> None:
    async with Monitoring(
        databases, engine=scene.engine, address="::1", port=0, clock=scene.clock
    ) as monitoring:
        assert monitoring.url == f"http://[::1]:{monitoring.port}"
        reply = await ask(monitoring.port, "/metrics/failures", address="::1")
        assert reply.status == 200


async def test_on_every_address_its_name_is_the_machines(databases: Settings, scene: Scene) -> None:
    async with Monitoring(
        databases, engine=scene.engine, address="0.0.0.0", port=0, clock=scene.clock
    ) as monitoring:
        port, name = monitoring.port, socket.gethostname().lower()
        assert monitoring.url == f"http://{name}:{port}"
        assert monitoring.needs_token
        reply = await ask(port, "/metrics/failures", headers={"Host": f"{name}:{port}"})
        assert reply.status == 200  # it came over loopback


async def test_what_the_page_is_told_is_json_of_one_moment(monitoring: Monitoring) -> None:
    reply = await ask(monitoring.port, "/dashboard/data")
    shape = json.loads(reply.body)
    assert (shape["sight"], shape["problems"]) == ("all", {})
    assert [convoy["name"] for convoy in shape["convoys"]] == [
        "nightly-review", "dep-upgrades", "docs-sweep", "lint-all",
    ]  # fmt: skip
