"""Source of events of rules over signals; each rule states its own severity."""

from typing import Final

from argus_assets.faults.declaration import Declaration

RULES: Final = Declaration(name="rules", module="argus_assets.faults.rules.detector", sources=("rule",))
