"""Scenarios of cars. To add a scenario, declare it here; its cause belongs in `diagnosis/causes/car.toml`."""

from typing import Final

from argus_assets.simulate import obd
from argus_assets.simulate.can_errors import CanErrors
from argus_assets.simulate.car_faults import (
    BODY,
    BRAKES,
    ENGINE,
    GATEWAY,
    NOT_TESTED,
    TRANSMISSION,
    CarFault,
    ObdCode,
    Refusal,
    Silence,
    UdsCode,
)
from argus_assets.simulate.damage import Damage
from argus_assets.simulate.scenario import Scenario
from argus_assets.simulate.signals import Change
from argus_assets.simulate.timing import ALL_DRIVE, When

_AIR_FLOW: Final = CarFault(
    obd=(ObdCode("P0101", freeze_frame=True), ObdCode("P0171", when=When(after_s=8))),
    changes=(
        Change("air_g_per_s", 3, over_s=2, noise=0.2),
        Change("short_trim_pct", 22, over_s=6, noise=1),
    ),
)

CAR_SCENARIOS: Final = (
    Scenario(
        "car_healthy",
        root_cause=None,
        description="A car without faults.",
        fault=CarFault(),
        codes_absent=("P0000", "P0301", "CAN_SILENT"),
    ),
    Scenario(
        "car_noise",
        root_cause=None,
        description="Healthy, with what is easily taken for faults: a pending code that never confirms, tests that "
        "have not run yet, requests that are refused.",
        fault=CarFault(
            obd=(ObdCode("P0442", when=ALL_DRIVE, kind="pending"),),
            uds=(
                UdsCode("C0040-62", BRAKES, when=ALL_DRIVE, status=NOT_TESTED),
                UdsCode("U0155-87", GATEWAY, when=ALL_DRIVE, status=NOT_TESTED),
            ),
            refusals=(
                Refusal(BRAKES, b"\x22\xf1\xa0", obd.REQUEST_OUT_OF_RANGE),
                Refusal(BODY, b"\x22\xf1\x90", obd.SERVICE_NOT_SUPPORTED),
                Refusal(GATEWAY, b"\x31\x01\x02\x03", obd.RESPONSE_PENDING),
            ),
        ),
        codes=("P0442",),
        codes_absent=("P0455", "P0301", "P0000"),
    ),
    Scenario(
        "car_misfire_coil",
        root_cause="ignition_coil_cylinder_1",
        description="A coil fails; its cylinder misfires.",
        fault=CarFault(
            obd=(
                ObdCode("P0301", freeze_frame=True),
                ObdCode("P0351", when=When(after_s=5.5)),
                ObdCode("P0300", when=When(after_s=5.5)),
            ),
            changes=(Change("engine_rpm", 1400, noise=160),),
        ),
        codes=("P0301", "P0351", "P0300"),
        codes_absent=("P0302", "P0352"),
        shortest_s=25.0,
    ),
    Scenario(
        "car_misfire_cleared",
        root_cause="misfire_cylinder_3",
        description="A spark plug cracks; somebody clears the code with a tester, and it comes back.",
        fault=CarFault(
            obd=(ObdCode("P0303", when=When(for_s=6.5, every_s=8), freeze_frame=True),),
            clears=When(after_s=6.5, every_s=8),
        ),
        codes=("P0303",),
        codes_absent=("P0353", "P0301"),
        shortest_s=20.0,
    ),
    Scenario(
        "car_air_flow",
        root_cause="mass_air_flow_sensor",
        description="The air flow sensor reads too little; the mixture becomes lean.",
        fault=_AIR_FLOW,
        codes=("P0101", "P0171"),
        codes_absent=("P0102",),
        shortest_s=25.0,
    ),
    Scenario(
        "car_vacuum_leak",
        root_cause="vacuum_leak",
        description="A hose cracks: both banks run lean and misfire, which is louder than the leak.",
        fault=CarFault(
            obd=(
                ObdCode("P0171", freeze_frame=True),
                ObdCode("P0174", when=When(after_s=0.5)),
                ObdCode("P0300", when=When(after_s=5.5)),
            ),
            changes=(Change("short_trim_pct", 25, over_s=2, noise=1), Change("engine_rpm", 1250, noise=60)),
        ),
        codes=("P0171", "P0174", "P0300"),
        codes_absent=("P0101", "P0351"),
        shortest_s=25.0,
    ),
    Scenario(
        "car_catalyst",
        root_cause="catalyst_worn",
        description="The catalyst is worn: one code, permanent, in a car with 29-bit identifiers.",
        fault=CarFault(obd=(ObdCode("P0420", kind="permanent", freeze_frame=True),), extended_ids=True),
        codes=("P0420",),
        codes_absent=("P0430", "P0300"),
        shortest_s=15.0,
    ),
    Scenario(
        "car_thermostat",
        root_cause="thermostat_stuck_open",
        description="The thermostat stays open: the engine never gets warm.",
        fault=CarFault(
            obd=(ObdCode("P0128"),),
            changes=(Change("coolant_c", 55, when=ALL_DRIVE),),
        ),
        codes=("P0128",),
        codes_absent=("P0117", "P0118"),
        shortest_s=15.0,
    ),
    Scenario(
        "car_low_voltage",
        root_cause="low_system_voltage",
        description="The alternator fails; units brown out and miss each other, as if the bus were broken.",
        fault=CarFault(
            obd=(
                ObdCode("P0562", freeze_frame=True),
                ObdCode("U0101", unit=ENGINE, when=When(after_s=5.5)),
                ObdCode("U0100", unit=TRANSMISSION, when=When(after_s=5.5)),
                ObdCode("U0100", unit=BRAKES, when=When(after_s=5.5)),
            ),
            changes=(Change("volts", 9.8, over_s=4, when=When(after_s=-3), noise=0.2),),
        ),
        codes=("P0562", "U0100", "U0101"),
        codes_absent=("CAN_BUSOFF", "CAN_SILENT"),
        shortest_s=25.0,
    ),
    Scenario(
        "car_bus_loss",
        root_cause="can_bus_communication_loss",
        description="The bus breaks; the engine falls silent and two units miss their peers at once.",
        fault=CarFault(
            obd=(
                ObdCode("U0100", unit=TRANSMISSION),
                ObdCode("U0121", unit=TRANSMISSION),
                ObdCode("U0100", unit=BRAKES),
                ObdCode("U0140", unit=BRAKES),
            ),
            silent=(Silence((ENGINE,)),),
        ),
        codes=("U0100", "U0121", "U0140", "CAN_SILENT"),
        codes_absent=("U0155", "CAN_BUSOFF"),
        shortest_s=15.0,
    ),
    Scenario(
        "car_engine_unit_silent",
        root_cause="ecm_silent",
        description="The engine unit loses its supply; the brakes report by UDS that its messages are missing.",
        fault=CarFault(uds=(UdsCode("U0100-87", BRAKES),), silent=(Silence((ENGINE,)),)),
        codes=("U0100-87", "CAN_SILENT"),
        codes_absent=("U0121-87", "U0100", "CAN_BUSOFF"),
        shortest_s=15.0,
    ),
    Scenario(
        "car_bus_short",
        root_cause="can_wiring_fault",
        description="The bus wires touch now and then: error-passive and bus-off, and the gateway reports it by UDS.",
        fault=CarFault(
            errors=(
                CanErrors("stuff", when=When(for_s=2, every_s=5), period_s=0.05),
                CanErrors("error_passive", when=When(after_s=0.5, for_s=1, every_s=5)),
                CanErrors("bus_off", when=When(after_s=1.5, for_s=0.4, every_s=5), period_s=0.4),
            ),
            uds=(UdsCode("U0073-88", GATEWAY, when=When(after_s=2, for_s=3, every_s=5)),),
        ),
        codes=("CAN_BUSOFF", "CAN_ERROR_PASSIVE", "U0073-88"),
        codes_absent=("CAN_ACK_ERROR", "U0100", "CAN_SILENT"),
        shortest_s=15.0,
    ),
    Scenario(
        "car_logger_alone",
        root_cause="can_no_acknowledgement",
        description="A connector opens between the logger and the car: no frame is acknowledged, and all units are gone.",
        fault=CarFault(
            errors=(
                CanErrors("no_acknowledge", period_s=0.008),
                CanErrors("error_passive", when=When(after_s=0.5), period_s=1.0),
            ),
            silent=(Silence((ENGINE, TRANSMISSION, BRAKES, GATEWAY, BODY)),),
        ),
        codes=("CAN_ACK_ERROR", "CAN_ERROR_PASSIVE"),
        codes_absent=("CAN_BUSOFF", "U0100"),
        shortest_s=12.0,
    ),
    Scenario(
        "car_wheel_sensor",
        root_cause="wheel_speed_sensor",
        description="A wheel speed sensor's cable breaks intermittently; the brakes report it by UDS with a snapshot.",
        fault=CarFault(
            uds=(
                UdsCode("C0035-1F", BRAKES, when=When(for_s=6, every_s=11)),
                UdsCode("C0040-62", BRAKES, when=ALL_DRIVE, status=NOT_TESTED),
            ),
            changes=(Change("wheel_fl_kmh", 0, when=When(for_s=6, every_s=11)),),
        ),
        codes=("C0035-1F",),
        codes_absent=("C0040-1F", "C0035"),
        shortest_s=15.0,
    ),
    Scenario(
        "car_transmission_sensor",
        root_cause="transmission_speed_sensor",
        description="The gearbox loses its input speed: its own code, then a louder wrong-ratio code; cleared by 0x14, "
        "back again.",
        fault=CarFault(
            uds=(
                UdsCode("P0715-31", TRANSMISSION, when=When(for_s=9, every_s=12)),
                UdsCode("P0730-64", TRANSMISSION, when=When(after_s=5.5, for_s=3.5, every_s=12), status_after=0),
            ),
            clears=When(after_s=9, every_s=12),
        ),
        codes=("P0715-31",),
        codes_absent=("P0720-31", "U0101-87"),
        shortest_s=20.0,
    ),
    Scenario(
        "car_truncated_upload",
        root_cause="mass_air_flow_sensor",
        description="As car_air_flow, but the logger lost its supply while it wrote the last recording.",
        fault=_AIR_FLOW,
        codes=("P0101", "P0171"),
        codes_absent=("P0102",),
        begins_share=(0.05, 0.2),
        shortest_s=25.0,
        damage=Damage("truncated", share=0.7),
    ),
)
