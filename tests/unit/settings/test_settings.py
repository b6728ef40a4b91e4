"""Settings and agents: where values come from, and what bad ones say."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aisquad_core.errors import SettingsError
from aisquad_core.settings import (
    BUILT_IN_AGENTS,
    AgentProfile,
    describe,
    load_settings,
    parse_duration,
)
from aisquad_core.trust import trust

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aisquad_core.settings import Settings

ALLOWED_WHOLE = "a whole number from 1 to 1000"


@dataclass
class Place:
    """Where a test reads settings."""

    home: Path
    project: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def user_file(self) -> Path:
        return self.home / ".config" / "aisquad" / "aisquad.toml"

    @property
    def project_file(self) -> Path:
        return self.project / "aisquad.toml"

    def write_user(self, text: str) -> None:
        self.user_file.parent.mkdir(parents=True, exist_ok=True)
        self.user_file.write_text(text)

    def write_project(self, text: str) -> None:
        """Write a file that the operator has said yes to."""
        self.project_file.write_text(text)
        trust({"HOME": str(self.home)}, self.project_file, self.project_file.read_bytes())

    def load(
        self,
        *,
        cwd: Path | None = None,
        flags: Mapping[str, object] | None = None,
        state_dir: Path | None = None,
        **variables: str,
    ) -> Settings:
        return load_settings(
            cwd=cwd or self.project,
            environ={"HOME": str(self.home), **self.environ, **variables},
            flags=flags or {},
            state_dir=state_dir,
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(home=tmp_path / "home", project=tmp_path / "project")
    place.home.mkdir()
    place.project.mkdir()
    return place


def test_defaults_are_those_of_the_design(place: Place) -> None:
    settings = place.load()
    assert {row.name: row.value for row in describe(settings)} == {
        "workstate_db": f'"{place.project}/.ai_squad/workstate.db"',
        "use_pooling": "true",
        "pool_size": "20",
        "rate_limit": "100",
        "rate_burst": "20",
        "enable_auto_tuning": "true",
        "cpu_threshold": "80",
        "memory_threshold": "80",
        "baseline_parallelism": "5",
        "max_parallelism": "20",
        "grace_seconds": "10",
        "tick_seconds": "1",
        "log_limit_bytes": "64000000",
        "keep_runs_days": "30",
        "keep_runs_bytes": "10000000000",
        "on_finish": "[]",
        "backpressure_threshold": "0.8",
        "enable_metrics": "true",
        "metrics_db": f'"{place.project}/.ai_squad/metrics.db"',
        "metrics_retention_days": "30",
        "monitoring_port": "8080",
        "monitoring_address": '"127.0.0.1"',
    }
    assert set(settings.sources.values()) == {"default"}
    assert settings.files == ()
    assert settings.state_dir == place.project / ".ai_squad"


def test_each_layer_overrides_the_one_below_and_is_named_as_the_source(place: Place) -> None:
    place.write_user("pool_size = 1\nrate_limit = 1\ncpu_threshold = 11\nmax_parallelism = 61")
    place.write_project("rate_limit = 2\ncpu_threshold = 22\n[settings]\nmax_parallelism = 62")
    settings = place.load(
        AI_SQUAD_CPU_THRESHOLD="33",
        AI_SQUAD_MAX_PARALLELISM="63",
        flags={"max_parallelism": 64, "pool_size": None},
    )
    found = (settings.pool_size, settings.rate_limit, settings.cpu_threshold)
    assert (*found, settings.max_parallelism, settings.memory_threshold) == (1, 2, 33.0, 64, 80.0)
    assert {key: settings.sources[key] for key in ("pool_size", "rate_limit", "cpu_threshold")} == {
        "pool_size": str(place.user_file),
        "rate_limit": str(place.project_file),
        "cpu_threshold": "AI_SQUAD_CPU_THRESHOLD",
    }
    assert settings.sources["max_parallelism"] == "--max-parallelism"
    assert settings.sources["memory_threshold"] == "default"
    assert settings.files == (place.user_file, place.project_file)


def test_the_users_file_is_sought_in_xdg_config_home_unless_that_is_relative(place: Place) -> None:
    place.write_user("pool_size = 7")
    other = place.home / "elsewhere" / "aisquad" / "aisquad.toml"
    other.parent.mkdir(parents=True)
    other.write_text("pool_size = 9")
    assert place.load().pool_size == 7
    assert place.load(XDG_CONFIG_HOME=str(place.home / "elsewhere")).pool_size == 9
    assert place.load(XDG_CONFIG_HOME="elsewhere").pool_size == 7


@pytest.mark.parametrize("marker", ["aisquad.toml", ".ai_squad"])
def test_the_project_is_the_nearest_folder_upwards_with_a_marker(place: Place, marker: str) -> None:
    inner = place.project / "a" / "b"
    inner.mkdir(parents=True)
    (place.project / ".ai_squad").mkdir()
    assert place.load(cwd=inner).state_dir == place.project / ".ai_squad"
    if marker == ".ai_squad":
        (place.project / "a" / marker).mkdir()
    else:
        (place.project / "a" / marker).touch()
    assert place.load(cwd=inner).state_dir == place.project / "a" / ".ai_squad"


def test_without_a_marker_the_state_is_below_the_current_folder(place: Place) -> None:
    inner = place.project / "deep"
    inner.mkdir()
    assert place.load(cwd=inner).workstate_db == inner / ".ai_squad" / "workstate.db"


@pytest.mark.parametrize(
    ("written", "expected"),
    [("db/w.db", "{project}/db/w.db"), ("/var/w.db", "/var/w.db"), ("~/w.db", "{home}/w.db")],
)
def test_a_database_path_counts_from_the_projects_folder(
    place: Place, written: str, expected: str
) -> None:
    place.write_project("")
    inner = place.project / "inner"
    inner.mkdir()
    found = place.load(cwd=inner, AI_SQUAD_WORKSTATE_DB=written).workstate_db
    assert found == Path(expected.format(project=place.project, home=place.home))


def test_the_state_flag_overrides_every_other_place(place: Place) -> None:
    place.write_project('workstate_db = "toml.db"')
    settings = place.load(state_dir=Path("elsewhere"), AI_SQUAD_WORKSTATE_DB="/var/variable.db")
    assert settings.workstate_db == place.project / "elsewhere" / "workstate.db"
    assert settings.sources["workstate_db"] == "--state"


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("POOL_SIZE", "many", ALLOWED_WHOLE),
        ("POOL_SIZE", "0", ALLOWED_WHOLE),
        ("POOL_SIZE", "1001", ALLOWED_WHOLE),
        ("POOL_SIZE", "2.5", ALLOWED_WHOLE),
        ("POOL_SIZE", "", ALLOWED_WHOLE),
        ("POOL_SIZE", "\N{SUPERSCRIPT TWO}", ALLOWED_WHOLE),
        ("POOL_SIZE", "9" * 5000, ALLOWED_WHOLE),
        ("RATE_LIMIT", "-1", "a whole number from 1 to 1000000"),
        ("CPU_THRESHOLD", "0.8", "a percentage from 1 to 100"),
        ("MEMORY_THRESHOLD", "101", "a percentage from 1 to 100"),
        ("MEMORY_THRESHOLD", "nan", "a percentage from 1 to 100"),
        ("USE_POOLING", "maybe", "true or false"),
        ("GRACE_SECONDS", "-1", "from 0 s to 86400 s"),
        ("TICK_SECONDS", "0", "from 0.1 s to 3600 s"),
        ("TICK_SECONDS", "1 fortnight", "from 0.1 s to 3600 s"),
        ("WORKSTATE_DB", " ", "the path of a file"),
        ("ON_FINISH", "notify-send done", 'a list of arguments, such as ["notify", "--all"]'),
        ("ON_FINISH", '"notify-send"', "a list of arguments"),
        ("ON_FINISH", '["notify", 1]', "a list of arguments"),
    ],
)
def test_a_bad_variable_names_itself_its_value_and_what_is_allowed(
    place: Place, variable: str, value: str, expected: str
) -> None:
    place.environ[f"AI_SQUAD_{variable}"] = value
    with pytest.raises(SettingsError) as caught:
        place.load()
    assert caught.value.name == f"AI_SQUAD_{variable}"
    assert caught.value.value == value
    assert f"AI_SQUAD_{variable} = {value!r}" in str(caught.value)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("pool_size = true", "pool_size"),
        ("pool_size = [1]", "pool_size"),
        ('cpu_threshold = "hot"', "cpu_threshold"),
        ("cpu_threshold = nan", "cpu_threshold"),
        (f"cpu_threshold = {'9' * 400}", "cpu_threshold"),
        ("tick_seconds = inf", "tick_seconds"),
        ("use_pooling = 1", "use_pooling"),
        ('on_finish = "notify-send done"', "on_finish"),
        ('on_finish = ["", "x"]', "on_finish"),
        ('on_finish = ["a\\u0000b"]', "on_finish"),
        ("[settings]\nrate_limit = 0", "settings.rate_limit"),
        ("settings = 3", "settings"),
    ],
)
def test_a_bad_key_names_its_file(place: Place, line: str, name: str) -> None:
    place.write_project(line)
    with pytest.raises(SettingsError) as caught:
        place.load()
    assert caught.value.name == name
    assert str(caught.value).startswith(f"{place.project_file}: {name} = ")


def test_a_bad_value_is_an_error_even_where_a_better_one_overrides_it(place: Place) -> None:
    place.write_user("pool_size = 0")
    place.write_project("pool_size = 3")
    with pytest.raises(SettingsError, match=r"pool_size = 0: expected a whole number from 1"):
        place.load(flags={"pool_size": 4})


def test_a_bad_flag_names_itself(place: Place) -> None:
    with pytest.raises(SettingsError, match=r"--pool-size = 0: expected a whole number from 1"):
        place.load(flags={"pool_size": 0})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "cpu_treshold = 75",
            "cpu_treshold = 75: expected a known key; did you mean cpu_threshold?",
        ),
        ("[agent.me]", "agent = '{…}': expected a known key; did you mean agents?"),
        (
            "[settings]\npoolsize = 1",
            "settings.poolsize = 1: expected a known key; did you mean pool_size?",
        ),
        ("qqqq = 1", "qqqq = 1: expected a known key; known are agents, backpressure_threshold,"),
        (
            "pool_size = 1\n[settings]\npool_size = 2",
            "settings.pool_size = 2: expected to be set once",
        ),
    ],
)
def test_an_unknown_key_is_an_error_with_the_nearest_known_one(
    place: Place, text: str, message: str
) -> None:
    place.write_project(text)
    with pytest.raises(SettingsError) as caught:
        place.load()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        (b"pool_size = 1\ncpu_threshold = = 5\n", 2, "not TOML: Invalid value"),
        (b'pool_size = 1\n\nworkstate_db = """', 3, "not TOML: "),
        (b"pool_size = 1\npool_size = 2\n", 2, "not TOML: Cannot overwrite a value"),
        (b"pool_size = 1\n# caf\xe9\n", 2, "not UTF-8"),
        (b"pool_size = " + b"9" * 5000, None, "not TOML: Exceeds the limit"),
        (b"a = " + b"[" * 100_000, None, "nested too deeply"),
        (b"#" * 1_000_001, None, "larger than 1 MB"),
    ],
)
def test_a_file_that_is_no_toml_is_named_with_its_line(
    place: Place, content: bytes, line: int | None, problem: str
) -> None:
    place.project_file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        place.load()
    at = place.project_file if line is None else f"{place.project_file}:{line}"
    assert str(caught.value).startswith(f"{at}: {problem}")


def test_a_baseline_over_the_maximum_is_refused_only_if_somebody_set_it(place: Place) -> None:
    assert place.load(AI_SQUAD_MAX_PARALLELISM="3").baseline_parallelism == 3
    with pytest.raises(SettingsError) as caught:
        place.load(AI_SQUAD_BASELINE_PARALLELISM="21")
    assert str(caught.value) == (
        "environment: AI_SQUAD_BASELINE_PARALLELISM = '21': "
        "expected at most max_parallelism, which is 20 (default)"
    )
    assert (
        place.load(
            AI_SQUAD_BASELINE_PARALLELISM="21", flags={"max_parallelism": 21}
        ).baseline_parallelism
        == 21
    )


def test_a_command_is_a_list_of_arguments_and_in_a_variable_that_list_as_json(
    place: Place,
) -> None:
    place.write_project('on_finish = ["./tell", "a b"]')
    assert place.load().on_finish == ("./tell", "a b")
    assert place.load(AI_SQUAD_ON_FINISH='["other"]').on_finish == ("other",)
    assert place.load(AI_SQUAD_ON_FINISH="[]").on_finish == ()


def test_a_burst_that_nobody_set_stays_within_the_rate(place: Place) -> None:
    assert place.load(AI_SQUAD_RATE_LIMIT="6").rate_burst == 6
    assert place.load(AI_SQUAD_RATE_LIMIT="6", AI_SQUAD_RATE_BURST="9").rate_burst == 9


def test_every_described_value_can_be_written_into_a_file_and_read_back(place: Place) -> None:
    settings = place.load(
        AI_SQUAD_WORKSTATE_DB='/odd/"quoted" é/w.db',
        AI_SQUAD_USE_POOLING="off",
        AI_SQUAD_CPU_THRESHOLD="72.5",
        AI_SQUAD_GRACE_SECONDS="1.5m",
        AI_SQUAD_ON_FINISH='["sh", "-c", "echo \\"é\\" \\\\n"]',
    )
    text = "\n".join(f"{row.name} = {row.value}" for row in describe(settings))
    assert tomllib.loads(text)["grace_seconds"] == 90
    place.write_project(text)
    again = place.load()
    assert [row.value for row in describe(again)] == [row.value for row in describe(settings)]
    assert {row.source for row in describe(again)} == {str(place.project_file)}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90.0),
        ("90s", 90.0),
        ("30m", 1800.0),
        ("1.5h", 5400.0),
        ("2d", 172_800.0),
        (" 3 m ", 180.0),
        ("0", 0.0),
        (0, 0.0),
        (2.5, 2.5),
    ],
)
def test_durations_are_seconds_or_have_a_unit(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *("", "s", "-1s", "1w", "1h30m", "1e3", "nan", "inf", ".5", "1.", "9" * 400, "36501d"),
        *(-1, float("nan"), float("inf"), True, 10**400),
    ],
)
def test_what_is_no_duration_is_refused(text: str | float) -> None:
    with pytest.raises(ValueError, match="expected a duration such as 90"):
        parse_duration(text)


def test_importing_the_settings_loads_neither_the_loop_nor_the_sampler() -> None:
    """`aisquad --help` and completion read settings; each of these costs tens of milliseconds."""
    heavy = ("anyio", "asyncio", "psutil", "msgspec", "yaml", "sqlite3")
    code = f"import sys, aisquad_core.settings; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_agent_clis_are_built_in_and_each_takes_the_prompt_as_one_argument() -> None:
    assert list(BUILT_IN_AGENTS) == ["shell", "claude", "codex", "gemini", "opencode", "copilot"]
    assert BUILT_IN_AGENTS["shell"].command is None
    for name in list(BUILT_IN_AGENTS)[1:]:
        agent = BUILT_IN_AGENTS[name]
        assert isinstance(agent.command, tuple)
        assert agent.program == name
        assert agent.source == "built in"
        assert sum("{prompt}" in argument for argument in agent.command) == 1
        bound_to_an_option = agent.command[-1] == "--prompt={prompt}"
        assert bound_to_an_option or agent.command[-2:] == ("--", "{prompt}")


def test_no_built_in_agent_gives_up_its_own_permission_checks() -> None:
    words = " ".join(" ".join(agent.command or ()) for agent in BUILT_IN_AGENTS.values())
    for word in ("dangerous", "bypass", "yolo", "skip", "full-access", "allow-all", "--auto "):
        assert word not in words


def test_an_agent_has_every_key_of_its_table(place: Place) -> None:
    place.write_project(
        """
        [agents.engineer]
        command = ["claude", "-p", "{prompt}"]
        rate_limit = 10
        rate_burst = 3
        max_parallel = 2
        env = { TOKEN = "secret" }
        cwd = "sub"
        timeout = "30m"
        stdin = "{prompt}"
        stdout = "result"
        """
    )
    assert place.load().agents["engineer"] == AgentProfile(
        name="engineer",
        command=("claude", "-p", "{prompt}"),
        rate_limit=10,
        rate_burst=3,
        max_parallel=2,
        env={"TOKEN": "secret"},
        cwd="sub",
        timeout_s=1800.0,
        stdin="{prompt}",
        stdout="result",
        source=str(place.project_file),
    )


def test_files_override_an_agent_key_by_key(place: Place) -> None:
    place.write_user('[agents.claude]\nrate_limit = 5\nmax_parallel = 4\nstdin = "{prompt}"')
    place.write_project('[agents.claude]\nrate_limit = 7\nstdin_file = "task.md"')
    agent = place.load().agents["claude"]
    assert agent.command == BUILT_IN_AGENTS["claude"].command
    assert (agent.rate_limit, agent.max_parallel) == (7, 4)
    assert (agent.stdin, agent.stdin_file) == (None, "task.md")
    assert agent.source == str(place.project_file)


def test_an_agent_without_a_command_takes_it_from_its_operations(place: Place) -> None:
    place.write_project('[agents.reviewer]\nmax_parallel = 1\n[agents.line]\ncommand = "make x"')
    agents = place.load().agents
    assert (agents["reviewer"].command, agents["reviewer"].program) == (None, None)
    assert (agents["line"].command, agents["line"].program) == ("make x", "sh")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("agents = 1", "agents = 1: expected tables such as"),
        ("[agents]\na = 1", "agents.a = 1: expected a table"),
        ('[agents."a/b"]', "agents = 'a/b': expected a name"),
        ("[agents.a]\ncommand = []", "agents.a.command = []: expected a list of arguments"),
        ('[agents.a]\ncommand = ["", "x"]', "agents.a.command = ['', 'x']: expected a list"),
        ('[agents.a]\ncommand = ["x", 1]', "agents.a.command = ['x', 1]: expected a list"),
        ('[agents.a]\ncommand = "a\\u0000b"', "agents.a.command = 'a\\x00b': expected a list"),
        ("[agents.a]\nrate_limit = 0", "agents.a.rate_limit = 0: expected a whole number from 1"),
        ('[agents.a]\nmax_parallel = "x"', "agents.a.max_parallel = 'x': expected a whole number"),
        ("[agents.a]\ntimeout = 0", "agents.a.timeout = 0: expected a duration such as 90"),
        ('[agents.a]\ntimeout = "soon"', "agents.a.timeout = 'soon': expected a duration"),
        ('[agents.a]\nstdout = "both"', 'agents.a.stdout = \'both\': expected "log" or "result"'),
        ("[agents.a]\nstdout = []", 'agents.a.stdout = []: expected "log" or "result"'),
        ("[agents.a]\nmax_paralel = 1", "did you mean max_parallel?"),
        (
            '[agents.a]\nstdin = "x"\nstdin_file = "y"',
            "agents.a.stdin_file = 'y': expected only one",
        ),
        ('[agents.shell]\ncommand = "x"', "agents.shell.command = 'x': expected no command"),
    ],
)
def test_a_bad_agent_names_its_key(place: Place, text: str, message: str) -> None:
    place.write_project(text)
    with pytest.raises(SettingsError) as caught:
        place.load()
    assert str(caught.value).startswith(str(place.project_file))
    assert message in str(caught.value)


@pytest.mark.parametrize("env", ['{ A = "hunter2", B = 1 }', '{ "A=B" = "hunter2" }'])
def test_no_value_of_an_environment_is_ever_shown(place: Place, env: str) -> None:
    place.write_project(f"[agents.a]\nenv = {env}")
    with pytest.raises(SettingsError, match=r"agents\.a\.env = '{…}'") as caught:
        place.load()
    assert "hunter2" not in str(caught.value)
    place.write_project('[agents.a]\nenv = { A = "hunter2" }')
    settings = place.load()
    assert settings.agents["a"].env == {"A": "hunter2"}
    assert "hunter2" not in repr(settings)
