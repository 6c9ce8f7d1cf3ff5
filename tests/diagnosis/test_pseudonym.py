"""Pseudonyms: the same for the same vehicle and key, and nothing of the vehicle in them."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argus_assets.adapters.pseudonym_key import FILE, load_or_make_key
from argus_assets.diagnosis.pseudonym import pseudonym
from argus_assets.errors import BadSetting


@given(
    st.lists(st.text(min_size=1, max_size=40), min_size=2, max_size=20, unique=True),
    st.binary(min_size=16, max_size=64),
)
def test_each_vehicle_has_its_own(vehicles, key) -> None:
    names = [pseudonym(v, key) for v in vehicles]
    assert len(set(names)) == len(vehicles)
    assert names == [pseudonym(v, key) for v in vehicles]
    assert all(len(n) == 14 and n.startswith("v-") for n in names)
    assert set(names).isdisjoint(pseudonym(v, key + b"x") for v in vehicles)


ASK = """
import sys
from pathlib import Path
from argus_assets.adapters.pseudonym_key import load_or_make_key
sys.stdin.readline()
print(load_or_make_key(Path(sys.argv[1])).hex())
"""


def test_processes_that_ask_at_once_get_one_key(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ASK, str(tmp_path / "home")]
    askers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    for asker in askers:
        assert asker.stdin is not None
        asker.stdin.write("now\n")
        asker.stdin.flush()
    keys = [bytes.fromhex(asker.communicate(timeout=60)[0]) for asker in askers]
    assert len(set(keys)) == 1
    assert len(keys[0]) == 32
    assert [f.name for f in (tmp_path / "home").iterdir()] == [FILE], "nothing is left lying about"
    assert stat.S_IMODE((tmp_path / "home" / FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "no key", "abcd"])
def test_a_broken_key_is_told_and_not_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(BadSetting, match="holds"):
        load_or_make_key(tmp_path)
    assert (tmp_path / FILE).read_text() == text
