"""The faults configuration of a fleet: one TOML file, read strictly, and the rules that are active without it.

Its tables, by subject: `[[database]]` and `[[rule]]` to signals, `[[code_pattern]]` to texts of
software, `[[dictionary]]` to the meaning of codes, `[[bus]]` and `[[addressing]]` to CAN, `[detectors]` and `[bounds]` to all.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from hashlib import sha256
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from argus_assets.common.config_files import Patterns, Strict, read_toml
from argus_assets.common.regular_file import NotRegularError, TooLargeError, read_regular
from argus_assets.errors import BadSetting
from argus_assets.faults.bounds import DEFAULT as DEFAULT_BOUNDS
from argus_assets.faults.bounds import Bounds
from argus_assets.faults.can_bus.bit_timing import BitRate
from argus_assets.faults.detector import PlugIn
from argus_assets.faults.dictionary.additions import MAX_FILE_BYTES, read_additions
from argus_assets.faults.dictionary.lookup import Dictionary, built_in
from argus_assets.faults.rules.dbc import CanSignal, Dbc, find_signal
from argus_assets.faults.rules.rules import SHIPPED, Enumeration, Rule, RuleFile, When
from argus_assets.faults.software.codes import CodePattern
from argus_assets.faults.uds_obd.addressing import DEFAULT, Addressing, Mode

_GUIDE: Final = "docs/faults.md"
_SETTING: Final = "ARGUS_FAULTS or --faults"

_CanId = Annotated[int, Field(ge=0, le=0x1FFFFFFF)]
_Byte = Annotated[int, Field(ge=0, le=0xFF)]


class Database(Strict):
    """A DBC file.

    Attributes:
        file: Its path, from the folder of the configuration.
        channels: Patterns of the channels that it describes.
    """

    file: Path
    channels: Patterns = ("*",)


class DictionaryFiles(Strict):
    """Meanings of codes.

    Attributes:
        files: Paths of CSV and DBC files, from the folder of the configuration.
    """

    files: Patterns


class Bus(Strict):
    """Bit rates of a CAN bus.

    Attributes:
        channels: Patterns of its channels.
        bitrate: Bits per second.
        data_bitrate: Bits per second of the data phase of CAN FD.
    """

    channels: Patterns
    bitrate: int = Field(gt=0, le=20_000_000)
    data_bitrate: int | None = Field(None, gt=0, le=20_000_000)


class AddressingEntry(Strict):
    """Identifiers that carry the diagnostics of an ECU over ISO-TP (ISO 15765-2).

    Attributes:
        request_id: Identifier of the tester's requests.
        response_id: Identifier of the ECU's responses.
        mode: `normal`: the identifiers say everything. `extended`: the first byte is the target address. `mixed`: it is
            an address extension.
        request_address: That byte in the tester's requests; any unless given.
        response_address: That byte in the ECU's responses; any unless given.
        ecu: Name of the ECU.
    """

    request_id: _CanId
    response_id: _CanId
    mode: Mode = "normal"
    request_address: _Byte | None = None
    response_address: _Byte | None = None
    ecu: str | None = Field(None, min_length=1, max_length=80)

    @model_validator(mode="after")
    def _address_byte(self) -> Self:
        if self.mode == "normal" and (self.request_address is not None or self.response_address is not None):
            msg = "mode 'normal' has no address byte"
            raise ValueError(msg)
        return self

    def made(self) -> Addressing:
        """Return the addressing that the entry states."""
        return Addressing(
            request_id=self.request_id,
            response_id=self.response_id,
            mode=self.mode,
            request_address=self.request_address,
            response_address=self.response_address,
            ecu_name=self.ecu,
        )


class Detectors(Strict):
    """Detectors that do not run.

    Attributes:
        disable: Names of detectors, of plug-ins, and codes of shipped rules that don't.
    """

    disable: Patterns = ()


class _File(Strict):
    database: tuple[Database, ...] = ()
    rule: tuple[Rule, ...] = ()
    code_pattern: tuple[CodePattern, ...] = ()
    dictionary: tuple[DictionaryFiles, ...] = ()
    bus: tuple[Bus, ...] = ()
    addressing: tuple[AddressingEntry, ...] = ()
    detectors: Detectors = Detectors()
    bounds: Bounds = DEFAULT_BOUNDS


@dataclass(frozen=True, slots=True)
class FaultConfig:
    """Configuration of fault detection.

    Attributes:
        rules: Active ones, shipped ones first.
        signals: The signals of DBC files that rules name, by the name that they use.
        code_patterns: Of this fleet; they count before the shipped one.
        dictionary: What codes mean.
        buses: The first that fits a channel counts.
        addressings: ISO-TP, those of OBD first.
        disabled: Names of detectors that do not run.
        bounds: Of each detector.
        plug_ins: Detectors of other packages.
        notes: Plug-ins that were skipped, a sentence each.
        skipped: Identities of plug-ins that cannot be used.
        digest: Of the configuration and the files that it names.
    """

    rules: tuple[Rule, ...]
    signals: Mapping[str, tuple[CanSignal, ...]] = field(default_factory=dict)
    code_patterns: tuple[CodePattern, ...] = ()
    dictionary: Dictionary = field(default_factory=built_in)
    buses: tuple[Bus, ...] = ()
    addressings: tuple[Addressing, ...] = DEFAULT
    disabled: frozenset[str] = frozenset()
    bounds: Bounds = DEFAULT_BOUNDS
    plug_ins: tuple[PlugIn, ...] = ()
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    digest: str = ""

    @property
    def version(self) -> str:
        """Version that changes when the same drive may give other events: configuration, files that it names, plug-ins."""
        plugged = json.dumps(
            [self.digest, self.dictionary.version, *(p.identity for p in self.plug_ins), *self.skipped]
        )
        return sha256(plugged.encode()).hexdigest()[:12]

    def runs(self, detector: str) -> bool:
        """Return whether a detector is enabled."""
        return detector not in self.disabled

    def bit_rate_of(self, channel: str) -> BitRate | None:
        """Return the configured bit rates of a channel, `None` without any."""
        for bus in self.buses:
            if any(fnmatchcase(channel, pattern) for pattern in bus.channels):
                return BitRate(bus.bitrate / 1e3, bus.data_bitrate / 1e3 if bus.data_bitrate else None)
        return None


@cache
def default_config() -> FaultConfig:
    """Return the configuration that is active without a file: the shipped rules."""
    rules = _shipped_rules()
    return FaultConfig(rules, digest=_digest(_File(), rules, {}))


def read_config(path: Path) -> FaultConfig:
    """Read a configuration, on top of the shipped rules. Paths in it are relative to its folder.

    Raises:
        BadSetting: There is no such file, or something in it, or in a file that it names, cannot be used.
    """
    declared = read_toml(path, _File, what="faults", setting=_SETTING, guide=_GUIDE)
    folder = path.absolute().parent
    contents = {str(d.file): _content(folder / d.file, path) for d in declared.database}
    dictionaries = [name for dictionary in declared.dictionary for name in dictionary.files]
    contents |= {name: _content(folder / name, path) for name in dictionaries}
    own = {rule.code for rule in declared.rule}
    disabled = frozenset(declared.detectors.disable)
    shipped = tuple(r for r in _shipped_rules() if r.code not in own | disabled)
    rules = (*shipped, *declared.rule)
    try:
        databases = [Dbc(folder / d.file, contents[str(d.file)], d.channels) for d in declared.database]
    except BadSetting as error:
        raise BadSetting(f"{path}: {error.what}", help=error.help) from error
    return FaultConfig(
        rules,
        signals=_signals(path, rules, databases),
        code_patterns=declared.code_pattern,
        dictionary=Dictionary.of(read_additions(folder / name for name in dictionaries)),
        buses=declared.bus,
        addressings=(*DEFAULT, *(entry.made() for entry in declared.addressing)),
        disabled=disabled,
        bounds=declared.bounds,
        digest=_digest(declared, rules, contents),
    )


def _shipped_rules() -> tuple[Rule, ...]:
    with as_file(files("argus_assets.faults") / SHIPPED) as path:
        return read_toml(path, RuleFile, what="rules", setting="this installation of Argus", guide=_GUIDE).rule


def shipped_codes() -> frozenset[str]:
    """Return the codes of the shipped rules, which can be disabled."""
    return frozenset(rule.code for rule in default_config().rules)


def _content(file: Path, config: Path) -> bytes:
    try:
        return read_regular(file, MAX_FILE_BYTES)
    except NotRegularError as error:
        raise BadSetting(f"{config}: {file} is not a file.", help="Name another file.") from error
    except TooLargeError as error:
        raise BadSetting(
            f"{config}: {file} is larger than {MAX_FILE_BYTES} bytes.", help="Name another file."
        ) from error
    except OSError as error:
        raise BadSetting(
            f"{config}: {file} cannot be read: {error.strerror}.",
            help="Paths start at the folder of the configuration.",
        ) from error


def _signals(path: Path, rules: tuple[Rule, ...], databases: list[Dbc]) -> dict[str, tuple[CanSignal, ...]]:
    """Find every signal that a rule names; a rule that could never apply is an error, not silence."""
    found: dict[str, tuple[CanSignal, ...]] = {}
    for rule in rules:
        for named in (rule, *rule.when):
            if named.signal is None:
                continue
            try:
                found.setdefault(named.signal, find_signal(databases, named.signal))
            except BadSetting as error:
                raise BadSetting(f"{path}: rule {rule.code!r}: {error.what}", help=error.help) from error
            _names_are_known(path, rule, named, found[named.signal])
    return found


def _names_are_known(path: Path, rule: Rule, named: Rule | When, signals: tuple[CanSignal, ...]) -> None:
    """Check that texts that a rule compares with are in the value table."""
    values = named.values if isinstance(named, Enumeration | When) else None
    known = {text for signal in signals for text in signal.definition.choices.values()}
    unknown = [v for v in values or () if isinstance(v, str) and v not in known]
    if unknown:
        raise BadSetting(
            f"{path}: rule {rule.code!r}: {named.named} has no value {', '.join(map(repr, unknown))}.",
            help=f"Its value table has {', '.join(sorted(known)) or 'no names'}.",
        )


def _digest(declared: _File, rules: tuple[Rule, ...], contents: Mapping[str, bytes]) -> str:
    # Bounds came later: without any, a configuration keeps the version that it had.
    without = {"bounds"} if declared.bounds == DEFAULT_BOUNDS else None
    document = {
        "declared": declared.model_dump(mode="json", exclude=without),
        "rules": [rule.model_dump(mode="json") for rule in rules],
        "contents": {name: sha256(content).hexdigest() for name, content in contents.items()},
    }
    return sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:12]
