"""Scenarios of trucks. To add a scenario, declare it here; its cause belongs in `diagnosis/causes/truck.toml`."""

from typing import Final

from argus_assets.simulate import j1939
from argus_assets.simulate.scenario import Scenario
from argus_assets.simulate.signals import Change
from argus_assets.simulate.timing import ALL_DRIVE, When
from argus_assets.simulate.truck import (
    AFTERTREATMENT,
    AMBER,
    BRAKES,
    CLUSTER,
    ENGINE,
    MALFUNCTION,
    NO_LAMP,
    RED_STOP,
    TRANSMISSION,
    Clear,
    Dtc,
    Silence,
    TruckFault,
)

_DERATE: Final = Dtc(ENGINE, 1569, 31, when=When(after_s=3, for_s=3, every_s=6))
"""The engine's protection limits torque, comes and goes, and so is louder than what it protects from."""

TRUCK_SCENARIOS: Final = (
    Scenario(
        "truck_healthy",
        root_cause=None,
        description="A truck without faults.",
        fault=TruckFault(),
        codes_absent=("SPN0/FMI0", "SPN100/FMI1", "CAN_SILENT"),
    ),
    Scenario(
        "truck_old_codes",
        root_cause=None,
        description="Healthy, but its memory lists codes of the past, and one unit refuses a request.",
        fault=TruckFault(
            codes=(
                Dtc(ENGINE, 110, 16, when=ALL_DRIVE, kind="previous"),
                Dtc(ENGINE, 94, 18, when=ALL_DRIVE, kind="previous"),
                Dtc(BRAKES, 789, 8, when=ALL_DRIVE, kind="previous"),
            ),
            refuses=((TRANSMISSION, j1939.PGN_DM12), (CLUSTER, j1939.PGN_DM12)),
        ),
        codes=("SPN110/FMI16", "SPN94/FMI18", "SPN789/FMI8"),
        codes_absent=("SPN110/FMI0", "SPN0/FMI0"),
    ),
    Scenario(
        "truck_oil_pressure",
        root_cause="engine_oil_pressure_low",
        description="Oil pressure falls; the engine's protection comes and goes, louder than the cause.",
        fault=TruckFault(
            codes=(Dtc(ENGINE, 100, 1, RED_STOP), _DERATE),
            changes=(Change("oil_kpa", 60, over_s=5, when=When(after_s=-5), noise=6),),
        ),
        codes=("SPN100/FMI1", "SPN1569/FMI31"),
        codes_absent=("SPN100/FMI3", "CAN_SILENT"),
        shortest_s=10.0,
    ),
    Scenario(
        "truck_oil_sensor",
        root_cause="engine_oil_pressure_sensor",
        description="The oil pressure sensor's wire chafes: its voltage is too high now and then, the pressure is good.",
        fault=TruckFault(
            codes=(Dtc(ENGINE, 100, 3, when=When(for_s=4, every_s=7)),),
            changes=(Change("oil_kpa", 1000, when=When(for_s=4, every_s=7)),),
        ),
        codes=("SPN100/FMI3",),
        codes_absent=("SPN100/FMI1", "SPN1569/FMI31"),
    ),
    Scenario(
        "truck_charging",
        root_cause="charging_system_failure",
        description="The alternator fails; one control unit after another reports a low battery.",
        fault=TruckFault(
            codes=(
                Dtc(ENGINE, 167, 1),
                Dtc(ENGINE, 168, 18, when=When(after_s=2)),
                Dtc(TRANSMISSION, 168, 18, when=When(after_s=4)),
                Dtc(BRAKES, 168, 18, when=When(after_s=6)),
            ),
            changes=(Change("volts", 23.3, over_s=6, when=When(after_s=-3), noise=0.05),),
        ),
        codes=("SPN167/FMI1", "SPN168/FMI18"),
        codes_absent=("SPN639/FMI9", "SPN158/FMI18"),
        shortest_s=15.0,
    ),
    Scenario(
        "truck_overheating",
        root_cause="engine_overheating",
        description="The coolant gets too hot, then the engine limits its torque, louder.",
        fault=TruckFault(
            codes=(
                Dtc(ENGINE, 110, 16, when=When(for_s=3)),
                Dtc(ENGINE, 110, 0, RED_STOP, when=When(after_s=3)),
                _DERATE,
                Dtc(CLUSTER, 110, 0, RED_STOP, when=When(after_s=4)),
            ),
            changes=(Change("coolant_c", 118, over_s=8, when=When(after_s=-5)),),
        ),
        codes=("SPN110/FMI16", "SPN110/FMI0", "SPN1569/FMI31"),
        codes_absent=("SPN110/FMI3", "SPN111/FMI1"),
        shortest_s=12.0,
    ),
    Scenario(
        "truck_coolant_sensor",
        root_cause="coolant_temperature_sensor",
        description="The coolant sensor's plug is loose: its voltage jumps out of range and back.",
        fault=TruckFault(
            codes=(Dtc(ENGINE, 110, 3, when=When(for_s=3, every_s=5)),),
            changes=(Change("coolant_c", -40, when=When(for_s=3, every_s=5)),),
        ),
        codes=("SPN110/FMI3",),
        codes_absent=("SPN110/FMI0", "SPN110/FMI16", "SPN1569/FMI31"),
    ),
    Scenario(
        "truck_coolant_loss",
        root_cause="coolant_loss",
        description="A hose leaks: the coolant level falls, and what is left gets hot.",
        fault=TruckFault(
            codes=(
                Dtc(ENGINE, 111, 1, RED_STOP),
                Dtc(ENGINE, 110, 16, when=When(after_s=4)),
                Dtc(ENGINE, 1569, 31, when=When(after_s=6)),
            ),
            changes=(
                Change("coolant_level_pct", 20, over_s=6, when=When(after_s=-6)),
                Change("coolant_c", 112, over_s=8, when=When(after_s=-1)),
            ),
        ),
        codes=("SPN111/FMI1", "SPN110/FMI16", "SPN1569/FMI31"),
        codes_absent=("SPN110/FMI3", "SPN110/FMI0"),
        shortest_s=15.0,
    ),
    Scenario(
        "truck_fuel_filter",
        root_cause="fuel_supply_low_pressure",
        description="A clogged filter starves the engine: supply pressure, rail pressure and torque follow.",
        fault=TruckFault(
            codes=(
                Dtc(ENGINE, 94, 18),
                Dtc(ENGINE, 157, 18, when=When(after_s=3)),
                Dtc(ENGINE, 1569, 31, when=When(after_s=5)),
            ),
            changes=(
                Change("fuel_kpa", 180, over_s=4, when=When(after_s=-4), noise=10),
                Change("rail_mpa", 70, over_s=4, noise=4),
            ),
        ),
        codes=("SPN94/FMI18", "SPN157/FMI18", "SPN1569/FMI31"),
        codes_absent=("SPN97/FMI31", "SPN94/FMI3"),
        shortest_s=12.0,
    ),
    Scenario(
        "truck_boost_leak",
        root_cause="boost_leak",
        description="A charge air hose slips off: boost is lost and torque is limited.",
        fault=TruckFault(
            codes=(Dtc(ENGINE, 102, 18), Dtc(ENGINE, 1569, 31, when=When(after_s=2))),
            changes=(Change("boost_kpa", 10, over_s=0.5, noise=2),),
        ),
        codes=("SPN102/FMI18", "SPN1569/FMI31"),
        codes_absent=("SPN102/FMI3", "SPN107/FMI16"),
        shortest_s=8.0,
    ),
    Scenario(
        "truck_particulate_filter",
        root_cause="particulate_filter_blocked",
        description="The particulate filter is full; the code is emission-related and stands in DM12 too.",
        fault=TruckFault(
            codes=(
                Dtc(AFTERTREATMENT, 3251, 16, MALFUNCTION, emission=True),
                Dtc(ENGINE, 1569, 31, when=When(after_s=4)),
            ),
            changes=(Change("dpf_kpa", 28, over_s=6, when=When(after_s=-6), noise=1),),
        ),
        codes=("SPN3251/FMI16", "SPN1569/FMI31"),
        codes_absent=("SPN3251/FMI0", "SPN3364/FMI1"),
        shortest_s=12.0,
    ),
    Scenario(
        "truck_exhaust_fluid",
        root_cause="exhaust_fluid_quality",
        description="Diluted exhaust fluid: first an amber code, then a red inducement that is louder than its cause.",
        fault=TruckFault(
            codes=(
                Dtc(AFTERTREATMENT, 3364, 18),
                Dtc(AFTERTREATMENT, 4364, 18, MALFUNCTION, when=When(after_s=3), emission=True),
                Dtc(ENGINE, 5246, 0, RED_STOP, when=When(after_s=5)),
            ),
            changes=(
                Change("def_quality_pct", 18, over_s=2, when=When(after_s=-2)),
                Change("nox_ppm", 900, over_s=4, noise=40),
            ),
        ),
        codes=("SPN3364/FMI18", "SPN4364/FMI18", "SPN5246/FMI0"),
        codes_absent=("SPN1761/FMI18", "SPN3226/FMI9"),
        shortest_s=12.0,
    ),
    Scenario(
        "truck_nox_sensor_cleared",
        root_cause="aftertreatment_outlet_nox.circuit",
        description="A nitrogen oxide sensor stops answering; somebody clears its code by DM11, and it comes back.",
        fault=TruckFault(
            codes=(Dtc(AFTERTREATMENT, 3226, 9, MALFUNCTION, when=When(for_s=6, every_s=9), emission=True),),
            changes=(Change("nox_ppm", 3012),),
            clears=(Clear(AFTERTREATMENT, When(after_s=6, every_s=9)),),
        ),
        codes=("SPN3226/FMI9",),
        codes_absent=("SPN3364/FMI18", "SPN4364/FMI18"),
    ),
    Scenario(
        "truck_brake_unit_silent",
        root_cause="brake_module_silent",
        description="The brake unit loses its supply: its messages stop, and two others miss them.",
        fault=TruckFault(
            silent=(Silence(BRAKES),),
            codes=(Dtc(ENGINE, 639, 9, when=When(after_s=1)), Dtc(TRANSMISSION, 639, 9, when=When(after_s=1.5))),
        ),
        codes=("CAN_SILENT", "SPN639/FMI9"),
        codes_absent=("CAN_BUSOFF", "SPN168/FMI18"),
        shortest_s=12.0,
    ),
    Scenario(
        "truck_wheel_sensor",
        root_cause="wheel_speed_axle_1_left.signal",
        description="A wheel speed sensor has too wide a gap: its code comes and goes with the bumps.",
        fault=TruckFault(codes=(Dtc(BRAKES, 789, 8, when=When(for_s=1.5, every_s=4)),)),
        codes=("SPN789/FMI8",),
        codes_absent=("SPN789/FMI5", "CAN_SILENT"),
    ),
    Scenario(
        "truck_air_filter_pending",
        root_cause="air_filter_blocked",
        description="The air filter is blocked; an unrelated code is pending in DM6 and never confirms.",
        fault=TruckFault(
            codes=(
                Dtc(ENGINE, 107, 16, AMBER),
                Dtc(ENGINE, 27, 7, NO_LAMP, when=ALL_DRIVE, kind="pending"),
            ),
            changes=(Change("air_filter_kpa", 7, over_s=5, when=When(after_s=-5)),),
        ),
        codes=("SPN107/FMI16", "SPN27/FMI7"),
        codes_absent=("SPN102/FMI18",),
    ),
)
