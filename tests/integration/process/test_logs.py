"""Reading what operations wrote."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from aisquad_core.errors import RunnerError
from aisquad_core.execution.environment import EnvironmentStore, scrub

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.process.conftest import Harness


async def test_ranges_count_from_either_end_and_know_when_they_are_final(harness: Harness) -> None:
    request = harness.shell("printf 0123456789; read x <wait; printf abc")
    os.mkfifo(harness.cwd / "wait")
    async with harness.runner() as runner:
        await runner.prepare(request)
        ref = request.ref
        nothing = await runner.log_range(ref, offset=0, length=10)
        assert (nothing.data, nothing.size, nothing.is_final) == (b"", 0, False)
        await runner.start(request)
        log = harness.folder(ref) / "output.log"
        await harness.until(lambda: log.stat().st_size == 10)
        part = await runner.log_range(ref, offset=3, length=4)
        assert (part.data, part.offset, part.size, part.is_final) == (b"3456", 3, 10, False)
        await harness.until(lambda: (harness.cwd / "wait").write_text("go\n") > 0)
        await harness.end_of(ref)
        tail = await runner.log_range(ref, offset=-5, length=100)
        assert (tail.data, tail.offset, tail.size, tail.is_final) == (b"89abc", 8, 13, True)
        all_of_it = await runner.log_range(ref, offset=-500, length=100)
        assert (all_of_it.data, all_of_it.offset) == (b"0123456789abc", 0)
        beyond = await runner.log_range(ref, offset=50, length=100)
        assert (beyond.data, beyond.size) == (b"", 13)


@pytest.mark.parametrize("kind", ["fifo", "link", "folder"])
async def test_what_is_no_regular_file_is_not_read(harness: Harness, kind: str) -> None:
    request = harness.shell("true")
    async with harness.runner() as runner:
        await harness.run(runner, request)
        log = harness.folder(request.ref) / "output.log"
        log.unlink()
        if kind == "fifo":
            os.mkfifo(log)
        elif kind == "link":
            log.symlink_to("/etc/passwd")
        else:
            log.mkdir()
        with pytest.raises(RunnerError):
            await runner.log_range(request.ref, offset=0, length=100)
        assert await runner.last_lines([request.ref]) == {request.ref.token: ""}


async def test_last_lines_are_newest_sanitised_and_short(harness: Harness) -> None:
    lines = {
        "printf 'one\\ntwo\\n\\n  \\n'": "two",
        "printf 'a\\r50 %%\\r100 %%\\r'": "100 %",
        "printf '\\033]52;c;aGk=\\007red \\033[31mhot'": "red hot",
        "true": "",
    }
    requests = [harness.shell(line) for line in lines]
    long = harness.shell("head -c 100000 /dev/zero | tr '\\0' x")
    async with harness.runner() as runner:
        for request in [*requests, long]:
            await harness.run(runner, request)
        found = await runner.last_lines([r.ref for r in [*requests, long]])
    assert [found[r.ref.token] for r in requests] == list(lines.values())
    assert len(found[long.ref.token]) == 200


def _only_file(folder: Path) -> Path:
    (file,) = [path for path in folder.rglob("*") if path.is_file()]
    return file


async def test_an_environment_is_kept_for_its_convoy_alone_and_forgotten(tmp_path: Path) -> None:
    convoy = "../x"
    env = {"KEY": "secret\udcff", "CLAUDECODE": "1"}
    await EnvironmentStore(tmp_path).save(convoy, env, {"engineer": {"KEY": "own", "MORE": "1"}})
    store = EnvironmentStore(tmp_path)
    assert await store.load(convoy, "shell") == {"KEY": "secret\udcff"}
    assert await store.load(convoy, "engineer") == {"KEY": "own", "MORE": "1"}
    assert await store.load("other", "shell") is None
    file = _only_file(tmp_path)
    assert file.parent.parent == tmp_path
    assert file.stat().st_mode & 0o777 == 0o600
    await store.forget(convoy)
    await store.forget(convoy)
    assert await store.load(convoy, "shell") is None


async def test_a_damaged_environment_is_an_error_that_shows_no_value(tmp_path: Path) -> None:
    await EnvironmentStore(tmp_path).save("c", {"KEY": "secret"}, {})
    file = _only_file(tmp_path)
    for damage in ('{"env": {"KEY": "secret"', '{"env": {"KEY": ["secret"]}, "agents": {}}'):
        file.write_text(damage)
        with pytest.raises(RunnerError) as caught:
            await EnvironmentStore(tmp_path).load("c", "shell")
        assert "secret" not in repr(caught.value)
        assert caught.value.__suppress_context__ or caught.value.__cause__ is None


def test_scrubbing_takes_an_agent_s_marks_and_leaves_keys() -> None:
    kept = {
        "ANTHROPIC_API_KEY": "k",
        "CLAUDE_CODE_OAUTH_TOKEN": "t",
        "CLAUDE_CODE_USE_BEDROCK": "1",
        "GEMINI_API_KEY": "k",
        "OPENAI_API_KEY": "k",
        "CODEX_HOME": "/h",
        "PATH": "/bin",
        "AISQUAD_PROFILE": "x",
        "NODE_ENV": "test",
    }
    removed = [
        "CLAUDECODE",
        "CLAUDE_CODE_ENTRYPOINT",
        "CLAUDE_CODE_SSE_PORT",
        "GEMINI_CLI",
        "NODE_OPTIONS",
        "VSCODE_PID",
        "AISQUAD_TOKEN",
        "_AISQUAD_START",
    ]
    assert scrub(kept | dict.fromkeys(removed, "x")) == kept
