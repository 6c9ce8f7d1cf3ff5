"""Settings: what is read from the environment, and what a wrong value says."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.errors import BadSetting
from argus_assets.settings import Settings


def test_everything_has_a_default_below_the_home() -> None:
    settings = Settings.from_env({"HOME": "/home/jo"})
    assert settings.home == Path("/home/jo/.argus")
    assert settings.bucket_url == "/home/jo/.argus/bucket"
    assert settings.lake_url == "/home/jo/.argus/lake"
    assert settings.database_url is None


@given(
    home=st.sampled_from(["/srv/argus", "/tmp/a b"]),
    bucket=st.sampled_from([None, "s3://drops/fleet", "/data/drops"]),
    database=st.sampled_from([None, "postgresql://u:p@h:5432/d", "postgres://h/d", "postgresql+psycopg2://h/d"]),
    interval=st.integers(1, 3600),
    port=st.integers(0, 65535),
)
def test_a_child_process_gets_the_same_settings(home, bucket, database, interval, port) -> None:
    given_ = {
        "ARGUS_HOME": home,
        "ARGUS_SENSOR_INTERVAL_S": str(interval),
        "ARGUS_PORT": str(port),
        **({"ARGUS_BUCKET_URL": bucket} if bucket else {}),
        **({"ARGUS_DATABASE_URL": database} if database else {}),
    }
    settings = Settings.from_env(given_)
    assert (settings.sensor_interval_s, settings.port) == (interval, port)
    assert Settings.from_env(settings.environment()) == settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ARGUS_PORT", "http"),
        ("ARGUS_PORT", "70000"),
        ("ARGUS_SENSOR_INTERVAL_S", "0"),
        ("ARGUS_DATABASE_URL", "sqlite:///x.db"),
        ("ARGUS_DATABASE_URL", "mysql://h/d"),
    ],
)
def test_a_wrong_value_is_named_with_its_meaning(name: str, value: str) -> None:
    with pytest.raises(BadSetting) as caught:
        Settings.from_env({"HOME": "/home/jo", name: value})
    assert f"{name}={value!r}" in caught.value.what
    assert caught.value.help.startswith("It means: ")


@pytest.mark.parametrize("name", ["decoders", "faults"])
def test_configuration_files_are_found_from_any_working_folder(name: str, tmp_path: Path, monkeypatch) -> None:
    variable = f"ARGUS_{name.upper()}"
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_env({"HOME": "/h", variable: "some.toml"})
    assert getattr(settings, name) == tmp_path / "some.toml"
    assert settings.environment()[variable] == str(tmp_path / "some.toml")
    assert getattr(Settings.from_env({"HOME": "/h"}), name) is None


def test_an_empty_variable_counts_as_absent() -> None:
    assert Settings.from_env({"HOME": "/h", "ARGUS_PORT": ""}).port == 3000


def test_a_wrong_database_url_never_shows_its_password() -> None:
    with pytest.raises(BadSetting) as caught:
        Settings.from_env({"HOME": "/h", "ARGUS_DATABASE_URL": "mysql://jo:secret@h/d"})
    assert "secret" not in f"{caught.value}"
