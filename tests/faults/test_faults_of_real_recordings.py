"""Real recordings, checked by a loop over single frames that shares nothing with the detectors."""

import polars as pl

from argus_assets.faults.can_frames import TIME_ORDER, data_frames
from argus_assets.faults.detection import find_events
from argus_assets.faults.j1939.detector import WANTED as J1939_WANTED
from argus_assets.faults.j1939.transport import reassemble as reassemble_tp
from argus_assets.faults.uds_obd.addressing import by_sender, wanted
from argus_assets.faults.uds_obd.isotp import reassemble as reassemble_isotp
from argus_assets.recordings.drive import Drive
from tests.support.j1939_reference import receive
from tests.support.whole_recording import read_recording

PGN_COMPONENT_ID = 0xFEEB
PGN_VEHICLE_ID = 0xFEEC
PGN_ENGINE_CONFIGURATION = 0xFEE3


def test_isotp_answers_of_a_canedge(recordings):
    batch, _ = read_recording(recordings / "canedge" / "17BD1DB7_00000006_00000170.MF4")
    frames = batch.frames.lazy().with_columns(recording=pl.lit("r"))
    rows = data_frames(frames, wanted()).collect().sort(TIME_ORDER)
    found = reassemble_isotp(by_sender(rows).frames)

    whole, single, begun, want, data, count = [], [], 0, 0, b"", 0
    for can_id, payload in batch.frames.select("arbitration_id", "payload").iter_rows():
        if can_id != 0x7EC:
            continue
        kind = payload[0] >> 4
        if kind == 0:
            single.append(payload[1 : 1 + payload[0]])
        elif kind == 1:
            begun += 1
            want, data, count = (payload[0] & 15) << 8 | payload[1], payload[2:], 1
        elif kind == 2 and want and payload[0] & 15 == count & 15:
            data, count = data + payload[1:], count + 1
            if len(data) >= want:
                whole.append(data[:want])
                want = 0

    assert begun == found.multi_frame.height > 0
    assert len(whole) == found.multi_frame["complete"].sum() < begun
    assert sorted(found.messages["payload"].to_list()) == sorted([*whole, *filter(None, single)])


def test_j1939_transport_of_a_canedge(recordings):
    batch, _ = read_recording(recordings / "canedge" / "FCBF0606_00003482_00000001.MF4")
    rows = data_frames(batch.frames.lazy().with_columns(recording=pl.lit("r")), J1939_WANTED)
    rows = rows.collect().sort(TIME_ORDER)
    # A recording without long lists of trouble codes: other groups have them all the same.
    pgns = {PGN_ENGINE_CONFIGURATION, PGN_COMPONENT_ID, PGN_VEHICLE_ID}
    found = reassemble_tp(rows, pgns=pgns)

    frames = rows.select("timestamp", "channel", "arbitration_id", "payload").iter_rows()
    whole, incomplete = receive(frames, pgns)

    columns = ["channel", "source_address", "destination_address", "pgn", "payload"]
    assert sorted(found.messages.select(columns).iter_rows()) == sorted(message[:5] for message in whole)
    assert {message.pgn for message in whole} == {PGN_ENGINE_CONFIGURATION, PGN_VEHICLE_ID}
    assert (~found.sessions["complete"]).sum() == incomplete


def test_recordings_without_trouble_codes_give_only_the_silences_that_are_in_them(recordings):
    found = []
    for path in sorted((recordings / "canedge").glob("*.MF4")):
        batch, _ = read_recording(path)
        tables = (
            t.lazy().with_columns(recording=pl.lit(path.stem)) for t in (batch.frames, batch.logs, batch.diagnostics)
        )
        events = find_events(Drive(*tables)).events
        found += events.select("recording", "code", "channel", "ecu", pl.col("active_s").round(1)).rows()
    # Seen by eye: on the one bus all one-second messages of 0x03 are away for 12 s, on the other the engine is off.
    assert found == [
        ("94C49784_00000005_00000017", "CAN_SILENT", "CAN1", "SA 0x03", 1.6),
        ("FCBF0606_00003482_00000001", "CAN_SILENT", "CAN1", "SA 0x00", 127.5),
    ]
