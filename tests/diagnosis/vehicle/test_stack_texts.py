"""Texts of software: the component that each line is about, and how it fails, in the wording of many projects.

Most lines were written down after the patterns; where one failed, the pattern of its kind was mended, not its words.
"""

import pytest

from argus_assets.diagnosis.model import Evidence, EvidenceItem
from argus_assets.diagnosis.vehicle.catalogue import load_catalogue
from argus_assets.diagnosis.vehicle.findings import CONSEQUENCES, signs
from argus_assets.faults.dictionary.lookup import Entry
from argus_assets.faults.schema import Severity

LINES = """
velodyne_driver_node | poll() timeout, no data from sensor -> lidar no_signal
velodyne_front | Velodyne poll() timeout -> lidar no_signal
os_driver | poll_client(): returned error or timeout -> lidar no_signal
os_cloud | dropped 12 lidar packets in the last second -> lidar lost_data
hesai_ros_driver | packet loss 3.4 %, sequence number jump from 8123 to 8166 -> lidar lost_data
pandar_node | incomplete scan: 1502 of 1800 columns -> lidar lost_data
livox_lidar_publisher | lidar disconnected, handle 0 -> lidar disconnected
rslidar_sdk_node | ERRCODE_MSOPTIMEOUT: no MSOP packets received for 1 s -> lidar no_signal
sick_scan | connection lost, trying to reconnect to 192.168.0.1 -> lidar disconnected
urg_node | Could not open network Hokuyo: connection refused -> lidar disconnected
lidar_top | internal temperature 86 C above limit -> lidar overheated
ouster_monitor | shot limiting active: sensor temperature high -> lidar overheated
lidar_left | motor speed unstable, phase lock lost -> lidar internal
hesai_diagnostics | window contamination detected in sector 4 -> lidar degraded
pointcloud_preprocessor | point cloud is empty, skipping -> lidar lost_data
realsense2_camera | Frames didn't arrived within 5 seconds -> depth_camera no_signal
realsense2_camera_manager | Hardware Notification: Left MIPI error -> depth_camera hardware_error
realsense2_camera | xioctl(VIDIOC_QBUF) failed when requesting new frame! Last Error: No such device -> depth_camera disconnected
zed_node | Camera disconnected: CAMERA NOT DETECTED -> depth_camera disconnected
depthai_oak | Communication exception - possible device error/misconfiguration. X_LINK_ERROR -> depth_camera disconnected
usb_cam | VIDIOC_STREAMON error 28, No space left on device -> usb_bus overload
kernel | usb 2-1.4: device descriptor read/64, error -110 -> usb_bus disconnected
kernel | xhci_hcd 0000:00:14.0: xHCI host controller not responding, assume dead -> usb_bus disconnected
kernel | usb 1-3: USB disconnect, device number 9 -> usb_bus disconnected
kernel | usb usb2-port3: over-current condition -> usb_bus supply_low
camera_front | 14 frames missing -> camera lost_data
pylon_camera | Grab was not successful: the buffer was incompletely grabbed -> camera lost_data
camera_aravis | 37 underruns, 212 failed buffers, frames dropped -> camera lost_data
gmsl_deserializer | link lock lost on port C -> camera disconnected
camera_rear | image too dark, lens blocked or covered -> camera degraded
spinnaker_driver | frame rate is too low: 11.2 Hz, expected 30 Hz -> camera late
radar_front | nothing received -> radar no_signal
ars408_driver | radar blockage detected -> radar degraded
radar_conti | no cyclic messages since 2.1 s -> radar no_signal
gnss_driver | no fix, 2 satellites -> gnss degraded
ublox_gps_node | fix dropped from RTK fixed to float -> gnss degraded
novatel_oem7 | Position type changed to SINGLE: solution degraded -> gnss degraded
septentrio_gnss | Antenna 1: open circuit, antenna not connected -> gnss circuit
gnss | jamming indicator critical -> gnss degraded
ntrip_client | Unable to connect to server at http://caster:2101. Exception: timed out -> gnss_corrections late
ntrip_client | RTCM requested but not connected, returning empty list -> gnss_corrections disconnected
rtk_monitor | age of differential corrections 34 s exceeds 10 s -> gnss_corrections late
imu_driver | rate implausible, 212 deg/s -> imu implausible
xsens_mti_node | accelerometer clipping detected -> imu implausible
vectornav | IMU saturated on axis z -> imu implausible
microstrain_inertial | Timed out waiting for imu data -> imu no_signal
imu_corrector | gyro bias is out of the allowed range -> imu implausible
imu_filter_node | imu not calibrated -> imu not_learned
wheel_encoder_left | no ticks received for 500 ms -> wheel_odometry no_signal
wheel_odometry | velocity report timeout -> wheel_odometry no_signal
ndt_scan_matcher | Nearest voxel transformation likelihood is below the threshold. Score: 1.4 -> localisation degraded
ekf_localizer | [EKF] The pose covariance ellipse is too large -> localisation degraded
localization | localization degraded, covariance 7 -> localisation degraded
amcl | Scan match score low, pose uncertain -> localisation degraded
rtabmap | Odometry: not enough inliers (8/20), tracking lost -> localisation degraded
cartographer_node | Dropped 5 earlier points -> localisation lost_data
slam_toolbox | Message Filter dropping message: frame 'laser' at time 1690.2 for reason 'discarding message because the queue is full' -> transforms transform
local_costmap | Message Filter dropping message: frame 'base_scan' for reason 'the timestamp on the message is earlier than all the data in the transform cache' -> transforms time_offset
controller_server | Extrapolation Error: Lookup would require extrapolation into the future. Requested time 12.4 but the latest data is at time 12.1 -> transforms transform
costmap_2d | Lookup would require extrapolation into the past. Requested time 5 but the earliest data is at time 7 -> transforms transform
planner_server | Timed out waiting for transform from base_link to map to become available, tf error: Invalid frame ID "map" -> transforms transform
tf2_buffer | TF_OLD_DATA ignoring data from the past for frame odom at time 12.1 -> transforms time_offset
robot_localization | TF_REPEATED_DATA ignoring data with redundant timestamp for frame base_link -> transforms mismatch
bt_navigator | Robot's pose is not available: Could not get robot pose -> transforms transform
rclcpp | Detected jump back in time. Clearing TF buffer. -> transforms time_offset
phc2sys | clockcheck: clock jumped backward or running slower than expected! -> transforms time_offset
ptp4l | port 1: UNCALIBRATED, master offset 37000000000 s2 -> clock_sync time_offset
chronyd | System clock wrong by 1.83 seconds, no selectable sources -> clock_sync time_offset
lidar_top | timestamp is 37.0 s ahead of system time -> lidar time_offset
time_sync_monitor | NTP offset 412 ms is above limit -> clock_sync time_offset
fusion_node | Message stamp is in the future, rejecting -> perception time_offset
planner | deadline missed by 120 ms -> planner late
behavior_path_planner | Planning cycle took 310 ms, exceeds 100 ms -> planner late
planner_server | GridBased: failed to create plan with tolerance 0.50 -> planner degraded
motion_velocity_planner | no trajectory received -> planner no_signal
controller_server | Control loop missed its desired rate of 20.0000 Hz. Current loop rate is 11.2 Hz -> controller late
controller_server | Failed to make progress -> controller degraded
trajectory_follower | trajectory is too old: 1.2 s -> controller late
bt_navigator | Behavior Tree tick rate 100.00 was exceeded! -> behaviour_tree late
lifecycle_manager | Failed to change state for node: amcl -> lifecycle dead
lifecycle_manager_navigation | CRITICAL FAILURE: SERVER planner_server IS DOWN after not receiving a heartbeat for 4000 ms. Shutting down related nodes. -> lifecycle dead
map_server | failed to load map yaml file -> map mismatch
launch | [lidar_centerpoint-3]: process has died [pid 812, exit code -9, cmd ...] -> perception out_of_memory
launch | [ndt_scan_matcher-7]: process has died [pid 99, exit code -11, cmd ...] -> localisation dead
launch | [velodyne_driver_node-1]: process has died [pid 20, exit code -6] -> lidar dead
obstacle_detector | terminate called after throwing an instance of 'std::runtime_error' -> perception dead
kernel | Out of memory: Killed process 4111 (component_conta) total-vm:9931244kB -> memory out_of_memory
kernel | python3 invoked oom-killer: gfp_mask=0x100cca -> memory out_of_memory
memory | nearly full -> memory out_of_memory
system_monitor | out of memory, 42 MiB left -> memory out_of_memory
traffic_light_classifier | CUDA error: out of memory -> gpu out_of_memory
kernel | NVRM: Xid (PCI:0000:01:00): 79, pid=0, GPU has fallen off the bus. -> gpu hardware_error
kernel | pcieport 0000:00:1d.0: AER: Corrected error received: 0000:00:1d.0 -> pcie hardware_error
kernel | CPU3: Core temperature above threshold, cpu clock throttled (total events = 41) -> computer_temperature throttled
cpu_temperature | too hot -> computer_temperature overheated
jetson_stats | System throttled due to over-current -> computer_power throttled
kernel | hwmon hwmon1: Undervoltage detected! -> computer_power supply_low
power_monitor | input voltage 21.2 V below 22 V -> computer_power supply_low
cpu_usage | CPU load 98 % -> cpu overload
gpu_monitor | GPU usage 99 % -> gpu overload
disk | slow -> disk slow_io
kernel | INFO: task rosbag2:811 blocked for more than 120 seconds. -> disk slow_io
kernel | blk_update_request: I/O error, dev sda, sector 2048 -> disk hardware_error
rosbag2_cpp | Cache buffers have been flushed slowly: cache full, dropped 812 messages -> recorder overload
rosbag2_transport | Number of messages lost on the transport layer: 410 -> recorder lost_data
recorder | Failed to write: No space left on device -> disk full
storage_monitor | /data 98% used -> disk full
rmw_fastrtps | [RTPS_TRANSPORT_SHM Error] Failed init_port fastrtps_port7412: open_and_lock_file failed -> dds_shared_memory denied
iceoryx | MEPOO__MEMPOOL_GETCHUNK_POOL_IS_RUNNING_OUT_OF_CHUNKS -> dds_shared_memory full
talker | write to /dev/shm failed: No space left on device -> dds_shared_memory full
rmw_cyclonedds_cpp | rmw_create_node: failed to create domain, error Error -> dds_discovery disconnected
ddsi | Failed to find a free participant index for domain 0 -> dds_discovery disconnected
perception_node | New publisher discovered on topic '/points', offering incompatible QoS. No messages will be received from it. Last incompatible policy: RELIABILITY -> qos mismatch
os_driver | failed to set SO_RCVBUF: kernel limit rmem_max is 212992 -> receive_buffer full
network_monitor | UDP receive errors: 812 RcvbufErrors in 1 s -> receive_buffer full
kernel | igb 0000:03:00.0 eth1: igb: eth1 NIC Link is Down -> ethernet_link disconnected
switch_monitor | port 3 negotiated 100 Mbit/s half duplex -> ethernet_link degraded
wpa_supplicant | wlan0: CTRL-EVENT-DISCONNECTED bssid=aa reason=4 -> wifi disconnected
can_driver | can0: bus-off -> can_bus bus_off
socketcan_bridge | write failed: No buffer space available (ENOBUFS) -> can_interface overload
canbus | NET_NOT_FOUND: cannot open CAN card -> can_interface disconnected
can_client | CAN transmit timeout, no acknowledge -> can_interface no_signal
bms_node | cell undervoltage, voltage below 3.0 V -> robot_battery supply_low
battery_monitor | BMS protection active, discharge disabled -> robot_battery value_low
base_driver | serial port /dev/ttyUSB0: Input/output timeout, no response from motor controller -> vehicle_interface no_signal
pacmod_interface | report not received from vehicle within 100 ms -> vehicle_interface no_signal
chassis_monitor | steering command deviates from feedback, implausible -> vehicle_interface implausible
topic_state_monitor_pointcloud | topic timeout -> lidar no_signal
ouster_ros | client: poll error or sensor stopped streaming -> lidar no_signal
hesai_lidar | UDP socket bind failed: Address already in use -> lidar denied
innoviz_node | missed 7 blocks in frame 4411 -> lidar lost_data
lidar_rear | cannot reach 192.168.1.201: no route to host -> lidar disconnected
camera_left | sequence id gap: expected 81, got 85 -> camera lost_data
v4l2_camera | Failed to open device /dev/video2: Permission denied -> camera denied
camera_info_manager | Camera calibration file front.yaml not found -> camera not_learned
oak_d | stereo queue overflow, oldest frames overwritten -> depth_camera overload
radar_left | checksum mismatch in object list -> radar lost_data
ars_540 | sensor misaligned by 2.4 deg -> radar not_learned
gps_driver | GPS signal lost -> gnss degraded
nmea_serial | serial read returned nothing, timeout after 2 s -> gnss no_signal
oxts | position accuracy 3.2 m -> gnss degraded
rtk_client | caster closed the connection (401 Unauthorized) -> gnss_corrections late
bno055 | device ID mismatch, wrong chip -> imu mismatch
odometry_publisher | odom not published for 0.8 s -> wheel_odometry no_signal
pose_instability_detector | position deviates 2.1 m from dead reckoning -> localisation degraded
kiss_icp | registration did not converge after 500 iterations -> localisation degraded
ukf_node | Failed to meet update rate! Took 0.21 s -> localisation late
multi_object_tracker | input delay 0.9 s exceeds tolerance -> perception late
euclidean_cluster | process crashed, respawning in 2 s -> perception dead
occupancy_grid_map | transform lookup failed: base_link to map -> transforms transform
object_prediction | segmentation fault (core dumped) -> perception dead
freespace_planner | no path found to goal -> planner degraded
mission_planner | goal is off the lanelet map, route planning failed -> planner degraded
mpc_lateral | solver infeasible, holding last command -> controller degraded
control_node | trajectory timeout: 0.6 s since last message -> controller starved
vehicle_interface | heartbeat missed 3 times -> vehicle_interface no_signal
odrive_can | axis 1 encoder error, motor disarmed: over temperature -> vehicle_interface overheated
steering_actuator | torque out of range -> vehicle_interface implausible
vehicle_bus | can1: controller entered error-passive state -> can_bus bus_off
pcan_usb | device unplugged -> can_interface disconnected
kernel | e1000e 0000:00:1f.6 enp0s31f6: Detected Hardware Unit Hang -> ethernet_link disconnected
kernel | EXT4-fs error (device nvme0n1p2): unable to read inode -> disk hardware_error
kernel | nvme nvme0: I/O 21 QID 4 timeout, aborting -> disk hardware_error
kernel | mce: [Hardware Error]: Machine check events logged -> computer hardware_error
kernel | thermal thermal_zone0: critical temperature reached (105 C), shutting down -> computer_temperature overheated
fan_controller | chassis fan 2 stalled -> computer_temperature overheated
nvidia_smi | clocks throttle reason: HW thermal slowdown -> computer_temperature throttled
tensorrt_yolox | engine deserialization failed: version mismatch -> gpu mismatch
rosbag_record | disk write throughput 40 MB/s cannot keep up with 95 MB/s -> disk slow_io
mcap_writer | database or disk is full -> disk full
zenoh_bridge | no peers found on 224.0.0.224 -> dds_discovery disconnected
fastdds | Participant liveliness lost: lidar_container -> dds_discovery disconnected
robot_state_publisher | frame wheel_left has two parents -> transforms mismatch
clock_monitor | clock drift of 0.9 s per day -> clock_sync time_offset
gptp | grandmaster changed, not synchronized -> clock_sync time_offset
emergency_stop_button | channel A and B disagree: discrepancy fault -> emergency_stop circuit
charger_dock | battery critical: 6 % state of charge -> robot_battery value_low
lte_modem | signal weak, uplink delay 900 ms -> teleoperation late
joystick_teleop | Connection to operator lost -> teleoperation disconnected
"""

HEALTHY = """
controller_server | Control loop missed its desired rate of 20.0000 Hz. Current loop rate is 50.3 Hz
rate_monitor | desired 9.5 Hz, reported 10.2 Hz
rviz2 | New publisher discovered on topic '/map', offering incompatible QoS. Last incompatible policy: DURABILITY
foxglove_bridge | requesting incompatible QoS. Last incompatible policy: RELIABILITY
rosbag2_recorder | New publisher discovered on topic '/points', offering incompatible QoS. Last incompatible policy: RELIABILITY
lidar_top | connection re-established, 0 packets lost
camera_front | driver reconnected after 2 s
gnss | back to normal
ptp4l | port 1 is synchronized
launch | [map_server-2]: process has finished cleanly [exit code 0]
ekf_localizer | initializing, waiting for initial pose
ndt_scan_matcher | waiting for map
ouster | sensor is warming up
mrm_handler | MRM state changed: comfortable stop
vehicle_cmd_gate | emergency stop is active
planner | parameter max_vel is deprecated
safety_monitor | E-stop pressed by operator
lidar_driver | no errors since start
"""


def _finding(line: str) -> tuple[str, str]:
    name, _, message = line.partition(" | ")
    item = EvidenceItem(
        id="E1", code="LOG_X_00000000", source="ros_log", ecu=name, status="active", severity=Severity.ERROR,
        occurrences=1, frame_count=1, active_s=1.0, active_share_pct=1.0, seconds_into_drive=60.0, message=message,
        recording="drive.mcap", frame=1,
    )  # fmt: skip
    (sign,) = signs(Evidence.model_construct(items=(item,)), load_catalogue(), lambda code: Entry(code, "", ""))
    return sign.component.id, sign.failure


@pytest.mark.parametrize("line", LINES.strip().splitlines())
def test_text_names_component_and_failure(line: str) -> None:
    text, _, expected = line.rpartition(" -> ")
    assert " ".join(_finding(text)) == expected


@pytest.mark.parametrize("line", HEALTHY.strip().splitlines())
def test_healthy_talk_is_no_fault(line: str) -> None:
    assert _finding(line)[1] in CONSEQUENCES
