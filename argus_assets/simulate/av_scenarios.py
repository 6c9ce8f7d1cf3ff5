"""Scenarios of autonomous vehicles. Declare a scenario here, its cause in `diagnosis/causes/autonomy.toml`."""

from typing import Final

from argus_assets.simulate.av import D_ERROR, D_STALE, D_WARN, ERROR, FATAL, INFO, WARN, AvFault, Burst, Status
from argus_assets.simulate.can_errors import CanErrors
from argus_assets.simulate.damage import Damage
from argus_assets.simulate.scenario import Scenario
from argus_assets.simulate.signals import Change
from argus_assets.simulate.timing import ALL_DRIVE, When

_DEADLINES: Final = "E302 deadline missed by {} ms"
_DEGRADED: Final = "E301 localization degraded, covariance {}"

_LIDAR_DROPOUT: Final = AvFault(
    bursts=(
        Burst("lidar_driver", ERROR, "E101 lidar_top: packets lost {} in 1 s", (200, 900), period_s=2.0),
        Burst("localization", ERROR, _DEGRADED, (2, 9), when=When(after_s=1.5), period_s=0.2),
    ),
    statuses=(
        Status("lidar_top", D_ERROR, "packets lost", code="E101"),
        Status("lidar_top", D_STALE, "packets lost", when=When(after_s=3, for_s=1, every_s=4), code="E101"),
    ),
    changes=(
        Change("points_per_s", 270_000, noise=20_000),
        Change("packet_loss_pct", 55, noise=4),
    ),
)

AV_SCENARIOS: Final = (
    Scenario(
        "av_healthy",
        root_cause=None,
        description="An autonomous vehicle that only logs at INFO and WARN.",
        fault=AvFault(),
        codes_absent=("E101", "E201", "RULE_CPU_TEMPERATURE", "RULE_LIDAR_POINT_RATE", "RULE_MEMORY_GROWTH"),
    ),
    Scenario(
        "av_noise",
        root_cause=None,
        description="Healthy, but its logs name codes of the past, and signals twitch for a moment.",
        fault=AvFault(
            bursts=(
                Burst("lidar_driver", INFO, "Self test: E101 cleared, {} packets counted", when=ALL_DRIVE, period_s=5),
                Burst("system_monitor", INFO, "Last boot ended by E201, {} boots ago", period_s=10),
                Burst("planner", WARN, "E302 is not armed below {} km/h", (5, 9), period_s=3),
            ),
            changes=(
                Change("cpu_c", 84, when=When(for_s=0.3)),
                Change("disk_ms", 9, when=When(after_s=1, for_s=0.3, every_s=6)),
            ),
        ),
        codes_absent=("E101", "E201", "E302", "RULE_CPU_TEMPERATURE", "RULE_DISK_LATENCY"),
    ),
    Scenario(
        "av_lidar_dropout",
        root_cause="lidar_sensor_connection",
        description="Lidar packets are lost; localisation complains much louder.",
        fault=_LIDAR_DROPOUT,
        codes=("E101", "E301", "RULE_LIDAR_POINT_RATE"),
        codes_absent=("E201", "RULE_CPU_TEMPERATURE"),
        shortest_s=12.0,
    ),
    Scenario(
        "av_lidar_window",
        root_cause="lidar_window_blocked",
        description="Mud on the lidar's window: no packet is lost and no node complains, but points are missing.",
        fault=AvFault(changes=(Change("points_per_s", 240_000, over_s=1, noise=8_000),)),
        codes=("RULE_LIDAR_POINT_RATE",),
        codes_absent=("E101", "E301"),
        shortest_s=20.0,
    ),
    Scenario(
        "av_compute_overheat",
        root_cause="compute_overheating",
        description="The computer overheats and throttles; the planner misses its deadlines, louder.",
        fault=AvFault(
            bursts=(
                Burst("system_monitor", FATAL, "E201 thermal throttling, cpu at {} C", (98, 104), when=When(after_s=3, for_s=0.1)),
                Burst("planner", ERROR, _DEADLINES, (20, 300), when=When(after_s=4), period_s=0.25),
            ),
            statuses=(
                Status("cpu_temperature", D_WARN, "too hot", when=When(for_s=2), code="E201"),
                Status("cpu_temperature", D_ERROR, "throttling", when=When(after_s=2), code="E201"),
            ),
            changes=(Change("cpu_c", 103, over_s=2, noise=0.5), Change("cpu_pct", 97, over_s=2, noise=1)),
        ),
        codes=("E201", "E302", "RULE_CPU_TEMPERATURE"),
        codes_absent=("E101", "RULE_MEMORY_GROWTH"),
        shortest_s=20.0,
    ),
    Scenario(
        "av_memory_leak",
        root_cause="memory_exhausted",
        description="A process grows until the computer has no memory left; the planner is slow and louder.",
        fault=AvFault(
            bursts=(
                Burst("system_monitor", FATAL, "E202 out of memory, {} MiB left", (10, 90), when=When(after_s=38), period_s=3),
                Burst("planner", ERROR, _DEADLINES, (20, 300), when=When(after_s=39), period_s=0.3),
            ),
            statuses=(Status("memory", D_ERROR, "nearly full", when=When(after_s=34), code="E202"),),
            changes=(Change("memory_mib", 31_900, over_s=40),),
        ),
        codes=("E202", "E302", "RULE_MEMORY_GROWTH"),
        codes_absent=("E201", "RULE_CPU_TEMPERATURE"),
        begins_share=(0.02, 0.08),
        shortest_s=50.0,
    ),
    Scenario(
        "av_disk_slow",
        root_cause="disk_slow",
        description="The recorder's disk wears out: writes take a hundred times as long.",
        fault=AvFault(
            bursts=(Burst("recorder", ERROR, "E203 write queue full, {} messages waiting", (500, 900), when=When(after_s=4), period_s=3),),
            statuses=(Status("disk", D_WARN, "slow", when=When(after_s=2), code="E203"),),
            changes=(Change("disk_ms", 450, over_s=2, noise=30),),
        ),
        codes=("E203", "RULE_DISK_LATENCY"),
        codes_absent=("E202", "E302"),
        shortest_s=20.0,
    ),
    Scenario(
        "av_gnss_lost",
        root_cause="gnss_lost",
        description="The receiver loses its fix under a roof, twice; localisation is louder.",
        fault=AvFault(
            bursts=(
                Burst("gnss_driver", ERROR, "E303 no fix, {} satellites", (0, 3), when=When(for_s=6, every_s=9), period_s=2),
                Burst("localization", ERROR, _DEGRADED, (2, 9), when=When(after_s=1.5, for_s=4, every_s=9), period_s=0.25),
            ),
            statuses=(Status("gnss", D_WARN, "no fix", when=When(for_s=6, every_s=9), code="E303"),),
            changes=(Change("gnss_fix", -1, when=When(for_s=6, every_s=9)),),
        ),
        codes=("E303", "E301"),
        codes_absent=("E304", "E101"),
        shortest_s=10.0,
    ),
    Scenario(
        "av_camera_frames",
        root_cause="camera_frames_missing",
        description="A camera's cable is loose: frames are missing for a moment, again and again.",
        fault=AvFault(
            bursts=(Burst("camera_driver", ERROR, "E102 camera_front: {} frames missing", (3, 25), when=When(for_s=2, every_s=4), period_s=0.5),),
            statuses=(Status("camera_front", D_WARN, "frames missing", when=When(for_s=2, every_s=4), code="E102"),),
            changes=(Change("camera_fps", 17, when=When(for_s=2, every_s=4), noise=2),),
        ),
        codes=("E102",),
        codes_absent=("E101", "E103"),
    ),
    Scenario(
        "av_radar_silent",
        root_cause="radar_silent",
        description="A radar stops sending: its diagnostics go stale, and perception logs errors without a code.",
        fault=AvFault(
            bursts=(
                Burst("radar_driver", ERROR, "E103 radar_front: nothing received", when=When(for_s=0.1)),
                Burst("perception", ERROR, "Fusion without radar, {} tracks dropped", (2, 9), when=When(after_s=1), period_s=0.5),
            ),
            statuses=(Status("radar_front", D_STALE, "nothing received", code="E103"),),
        ),
        codes=("E103",),
        codes_absent=("E101", "E102"),
        shortest_s=8.0,
    ),
    Scenario(
        "av_imu_implausible",
        root_cause="imu_implausible",
        description="The inertial unit's mount is loose; localisation complains much louder.",
        fault=AvFault(
            bursts=(
                Burst("imu_driver", ERROR, "E304 rate implausible, {} deg/s", (90, 300), period_s=3),
                Burst("localization", ERROR, _DEGRADED, (2, 9), when=When(after_s=1.2), period_s=0.2),
            ),
            statuses=(Status("imu", D_ERROR, "implausible", code="E304"),),
        ),
        codes=("E304", "E301"),
        codes_absent=("E303", "E101"),
        shortest_s=8.0,
    ),
    Scenario(
        "av_planner_slow",
        root_cause="planner_deadlines",
        description="The planner misses its deadlines in short bursts while the computer is cool.",
        fault=AvFault(
            bursts=(Burst("planner", ERROR, _DEADLINES, (20, 120), when=When(for_s=1, every_s=12), period_s=0.1),),
            changes=(Change("cpu_pct", 82, when=When(for_s=1, every_s=12), noise=2),),
        ),
        codes=("E302",),
        codes_absent=("E201", "RULE_CPU_TEMPERATURE"),
    ),
    Scenario(
        "av_vehicle_bus_disturbed",
        root_cause="can_wiring_fault",
        description="The vehicle bus is disturbed: its controller goes error-passive again and again.",
        fault=AvFault(
            errors=(
                CanErrors("stuff", when=When(for_s=3, every_s=5), period_s=0.05),
                CanErrors("error_passive", when=When(after_s=0.5, for_s=2, every_s=5), period_s=0.5),
            ),
        ),
        codes=("CAN_ERROR_PASSIVE",),
        codes_absent=("CAN_BUSOFF", "CAN_ACK_ERROR", "E302"),
        shortest_s=8.0,
    ),
    Scenario(
        "av_flipped_chunk",
        root_cause="lidar_sensor_connection",
        description="As av_lidar_dropout, but bits flipped in the storage before the fault began.",
        fault=_LIDAR_DROPOUT,
        codes=("E101", "E301", "RULE_LIDAR_POINT_RATE"),
        codes_absent=("E201",),
        shortest_s=20.0,
        damage=Damage("flipped", share=0.1),
    ),
    Scenario(
        "av_missing_tail",
        root_cause="gnss_lost",
        description="The receiver loses its fix; the last recording never arrives.",
        fault=AvFault(
            bursts=(
                Burst("gnss_driver", ERROR, "E303 no fix, {} satellites", (0, 3), period_s=2),
                Burst("localization", ERROR, _DEGRADED, (2, 9), when=When(after_s=1.5), period_s=0.25),
            ),
            statuses=(Status("gnss", D_WARN, "no fix", code="E303"),),
            changes=(Change("gnss_fix", -1),),
        ),
        codes=("E303", "E301"),
        codes_absent=("E304", "E101"),
        shortest_s=15.0,
        damage=Damage("missing_tail"),
    ),
)  # fmt: skip
