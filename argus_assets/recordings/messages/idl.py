"""OMG IDL as ROS 2 stores it (`ros2idl`) and as DDS tools do (`omgidl`): structures, translated to message definitions.

Read are modules, structures with inheritance, enumerations, aliases, constants, bounded and unbounded sequences and texts,
arrays, and annotations, which are ignored (OMG IDL 4.2; the subset that rosidl takes). Unions, maps, bit sets and anything
else make a definition unreadable, with its name. The translation is read by `ros_msg`, with its bounds.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from argus_assets.recordings.messages.ros_msg import BadDefinition, DefinitionOverLimit

MAX_TOKENS: Final = 200_000
"""A definition of 1 MiB has fewer; each is an object in memory."""
MAX_ARRAY: Final = 2**28
_MAX_DEPTH: Final = 32
"""Modules in modules, and sequences of sequences."""

_TOKEN: Final = re.compile(
    r"\s+|//[^\n]*|/\*.*?\*/|^[ \t]*\#[^\n]*$|(?P<word>[A-Za-z_]\w*(?:::[A-Za-z_]\w*)*|::[A-Za-z_]\w*(?:::[A-Za-z_]\w*)*)"
    r"|(?P<number>0[xX][0-9A-Fa-f]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?[A-Za-z]*|\.\d+(?:[eE][+-]?\d+)?)"
    r"|(?P<text>L?\"(?:[^\"\\]|\\.)*\"|L?'(?:[^'\\]|\\.)*')|(?P<sign>.)",
    re.MULTILINE | re.DOTALL,
)
_SEPARATOR: Final = re.compile(r"^=+[ \t]*$", re.MULTILINE)

_BASIC: Final = {
    "boolean": "bool", "octet": "uint8", "char": "uint8", "wchar": "uint16", "int8": "int8", "uint8": "uint8",
    "short": "int16", "int16": "int16", "unsigned short": "uint16", "uint16": "uint16", "long": "int32", "int32": "int32",
    "unsigned long": "uint32", "uint32": "uint32", "long long": "int64", "int64": "int64", "unsigned long long": "uint64",
    "uint64": "uint64", "float": "float32", "double": "float64",
}  # fmt: skip
_TIMES: Final = {
    "builtin_interfaces/Time": "builtin_interfaces/Time",
    "builtin_interfaces/Duration": "builtin_interfaces/Duration",
}


@dataclass(frozen=True, slots=True)
class _Kind:
    """A type: of `ros_msg`, with its arrays.

    Attributes:
        name: `float64`, `string`, `pkg/Type`.
        array: ``, `[]` or `[9]`.
    """

    name: str
    array: str = ""


@dataclass(slots=True)
class _Scope:
    """What a definition declares, by full name with `/`."""

    structs: dict[str, list[tuple[_Kind, str]]] = field(default_factory=dict)
    bases: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, _Kind] = field(default_factory=dict)
    enums: set[str] = field(default_factory=set)
    constants: dict[str, int] = field(default_factory=dict)


def to_message(name: str, definition: str) -> str:
    """Translate a definition to one of `.msg`, with the types that it uses.

    Args:
        name: `package/msg/Type` or `module::Type`.
        definition: IDL; that of several files follows each other after lines of `=`, as MCAP stores them.

    Raises:
        BadDefinition: It is not IDL of the kind that is read, or does not define the type.
    """
    scope = _Scope()
    for part in _SEPARATOR.split(definition):
        text = re.sub(r"\A\s*IDL:[^\n]*\n", "", part)
        _Parser(text, scope).run()
    wanted = _short(name.replace("::", "/"))
    main = next((key for key in scope.structs if _short(key) == wanted), None)
    if main is None:
        main = next((key for key in scope.structs if key.rpartition("/")[2] == wanted.rpartition("/")[2]), None)
    if main is None:
        raise BadDefinition(f"{name[:80]} is not defined")
    lines = [_body(main, scope)]
    for key in scope.structs:
        if key != main:
            lines += ["=" * 80, f"MSG: {_short(key)}", _body(key, scope)]
    return "\n".join(lines)


def _short(path: str) -> str:
    """Return `package/Type` of `package/msg/Type`."""
    return path.replace("/msg/", "/")


def _body(struct: str, scope: _Scope) -> str:
    fields: list[tuple[_Kind, str]] = []
    seen: set[str] = set()
    at: str | None = struct
    while at is not None and at in scope.structs and at not in seen:
        seen.add(at)
        fields = [*scope.structs[at], *fields]
        at = _found(scope.bases.get(at, ""), at, scope.structs)
    return "\n".join(f"{_resolved(kind, struct, scope, 0)} {name}" for kind, name in fields)


def _resolved(kind: _Kind, owner: str, scope: _Scope, depth: int) -> str:
    """Return a type as `.msg` writes it, aliases replaced."""
    if depth > _MAX_DEPTH:
        raise BadDefinition(f"an alias of {kind.name[:80]} that never ends")
    if kind.name in _BASIC.values() or kind.name in ("string", "wstring"):
        return kind.name + kind.array
    alias = _found(kind.name, owner, scope.aliases)
    if alias is not None:
        inner = scope.aliases[alias]
        if inner.array and kind.array:
            raise BadDefinition(f"an array of arrays: {kind.name[:80]}")
        return _resolved(_Kind(inner.name, inner.array or kind.array), alias, scope, depth + 1)
    if _found(kind.name, owner, dict.fromkeys(scope.enums)) is not None:
        return "uint32" + kind.array
    struct = _found(kind.name, owner, scope.structs)
    return _short(struct if struct is not None else kind.name) + kind.array


def _found(name: str, owner: str, known: object) -> str | None:
    """Return the full name that a name has, looked up from inside out."""
    if not name or not isinstance(known, dict):
        return None
    parts = owner.split("/")[:-1]
    for size in range(len(parts), -1, -1):
        full = "/".join([*parts[:size], name])
        if full in known:
            return full
    return None


class _Parser:
    """Parse one file into a scope."""

    def __init__(self, text: str, scope: _Scope) -> None:
        self._scope = scope
        self._tokens = list(_tokens(text))
        self._at = 0

    def run(self) -> None:
        while self._at < len(self._tokens):
            self._definition([])

    # ------------------------------------------------------------------------------------------ tokens

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise BadDefinition("it ends in the middle of a definition")
        self._at += 1
        return token

    def _expect(self, token: str) -> None:
        found = self._next()
        if found != token:
            raise BadDefinition(f"{found[:40]!r} where {token!r} is expected")

    def _take(self, token: str) -> bool:
        if self._peek() == token:
            self._at += 1
            return True
        return False

    def _name(self) -> str:
        token = self._next()
        if not (token[0].isalpha() or token[0] == "_" or token.startswith("::")):
            raise BadDefinition(f"{token[:40]!r} where a name is expected")
        return token.lstrip(":").replace("::", "/")

    def _annotations(self) -> None:
        while self._take("@"):
            self._name()
            if self._take("("):
                self._skip_to_close()

    def _skip_to_close(self) -> None:
        depth = 1
        while depth:
            token = self._next()
            depth += {"(": 1, ")": -1}.get(token, 0)

    # ------------------------------------------------------------------------------------------ definitions

    def _definition(self, path: list[str]) -> None:
        self._annotations()
        word = self._next()
        if word == ";":
            return
        if word == "module":
            if len(path) >= _MAX_DEPTH:
                raise DefinitionOverLimit(f"modules nested more than {_MAX_DEPTH} deep")
            inner = [*path, *self._name().split("/")]
            self._expect("{")
            while not self._take("}"):
                self._definition(inner)
            self._take(";")
        elif word == "struct":
            self._struct(path)
        elif word == "enum":
            self._enum(path)
        elif word == "typedef":
            kind = self._kind()
            for name, array in self._declarators():
                if kind.array and array:
                    raise BadDefinition(f"an array of arrays: {name[:80]}")
                self._scope.aliases["/".join([*path, name])] = _Kind(kind.name, array or kind.array)
            self._expect(";")
        elif word == "const":
            self._const(path)
        else:
            raise BadDefinition(
                f"{word[:40]!r} is not read: only modules, structures, enumerations, aliases and constants are"
            )

    def _struct(self, path: list[str]) -> None:
        full = "/".join([*path, self._name()])
        if self._take(";"):
            return  # declared before it is defined
        if self._take(":"):
            self._scope.bases[full] = self._name()
        self._expect("{")
        fields: list[tuple[_Kind, str]] = []
        while not self._take("}"):
            self._annotations()
            kind = self._kind()
            for name, array in self._declarators():
                if kind.array and array:
                    raise BadDefinition(f"an array of sequences: {name[:80]}")
                fields.append((_Kind(kind.name, array or kind.array), name))
            self._expect(";")
        self._take(";")
        # rosidl writes this member into structures without any; `ros_msg` adds the same.
        self._scope.structs[full] = [f for f in fields if f[1] != "structure_needs_at_least_one_member"]

    def _enum(self, path: list[str]) -> None:
        self._scope.enums.add("/".join([*path, self._name()]))
        self._expect("{")
        number = 0
        while not self._take("}"):
            self._annotations()
            self._scope.constants["/".join([*path, self._name()])] = number
            number += 1
            self._take(",")
        self._take(";")

    def _const(self, path: list[str]) -> None:
        self._kind()
        name = self._name()
        self._expect("=")
        value: list[str] = []
        while not self._take(";"):
            value.append(self._next())
        if len(value) == 1 and re.fullmatch(r"0[xX][0-9A-Fa-f]{1,8}|\d{1,10}", value[0]):
            self._scope.constants["/".join([*path, name])] = int(value[0], 0)

    def _kind(self) -> _Kind:
        self._annotations()
        word = self._name()
        if word == "unsigned":
            word = f"unsigned {self._name()}"
        if word in ("long", "unsigned long") and self._peek() in ("long", "double"):
            word = f"{word} {self._name()}"
        if word in _BASIC:
            return _Kind(_BASIC[word])
        if word in ("string", "wstring"):
            if self._take("<"):
                self._next()
                self._expect(">")
            return _Kind(word)
        if word == "sequence":
            self._expect("<")
            inner = self._kind()
            if self._take(","):
                self._next()
            self._expect(">")
            if inner.array:
                raise BadDefinition("a sequence of sequences")
            return _Kind(inner.name, "[]")
        if word in ("map", "any", "fixed", "Object", "long double"):
            raise BadDefinition(f"{word!r} is not read")
        return _Kind(word)

    def _declarators(self) -> Iterator[tuple[str, str]]:
        """Yield names with their arrays; of several dimensions the product is the number of items."""
        while True:
            name = self._name()
            size = 0
            while self._take("["):
                size = (size or 1) * self._size(self._next())
                self._expect("]")
                if size > MAX_ARRAY:
                    raise BadDefinition(f"an array of more than {MAX_ARRAY} items: {name[:80]}")
            yield name, f"[{size}]" if size else ""
            if not self._take(","):
                return

    def _size(self, token: str) -> int:
        if re.fullmatch(r"\d{1,10}", token):
            return int(token)
        name = token.lstrip(":").replace("::", "/")
        found = next((v for k, v in self._scope.constants.items() if k == name or k.endswith(f"/{name}")), None)
        if found is None:
            raise BadDefinition(f"an array of {token[:40]!r} items")
        return found


def _tokens(text: str) -> Iterator[str]:
    count = 0
    for match in _TOKEN.finditer(text):
        if match.lastgroup is None:
            continue
        count += 1
        if count > MAX_TOKENS:
            raise DefinitionOverLimit(f"more than {MAX_TOKENS:,} words")
        yield match[0]
