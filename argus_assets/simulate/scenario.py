"""Model of a scenario: the fault of a vehicle, and what has to be found."""

from dataclasses import dataclass
from typing import Literal

from argus_assets.simulate.av import AvFault
from argus_assets.simulate.car_faults import CarFault
from argus_assets.simulate.damage import Damage
from argus_assets.simulate.truck import TruckFault

Platform = Literal["truck", "car", "av"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of drive with its ground truth.

    Attributes:
        name: Its name, which begins with the platform.
        root_cause: The planted cause in the vocabulary of `diagnosis/causes`, `None` for a healthy drive.
        codes: Codes that have to be found.
        codes_absent: Codes that must not be found: what a wrong reading of the bytes, or of the story, would give.
        description: What happens, in a sentence.
        fault: On the buses and in the software. All its times count from the fault's beginning.
        begins_share: The fault begins between these shares of the drive.
        shortest_s: In a drive this long all codes appear, whenever its fault begins; a shorter one is refused.
        damage: Of its recordings before they are uploaded.
    """

    name: str
    root_cause: str | None
    description: str
    fault: TruckFault | CarFault | AvFault
    codes: tuple[str, ...] = ()
    codes_absent: tuple[str, ...] = ()
    begins_share: tuple[float, float] = (0.2, 0.45)
    shortest_s: float = 5.0
    damage: Damage | None = None

    @property
    def platform(self) -> Platform:
        """The vehicle platform."""
        return self.fault.platform
