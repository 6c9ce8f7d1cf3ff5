"""Real recordings, checked by a loop over single frames that shares nothing with the detectors."""

import polars as pl

from argus_assets.faults.can import TIME_ORDER, data_frames
from argus_assets.faults.finding import find_events
from argus_assets.faults.isotp import reassemble as reassemble_isotp
from argus_assets.faults.j1939 import WANTED as J1939_WANTED
from argus_assets.faults.j1939_tp import reassemble as reassemble_tp
from argus_assets.faults.obd import WANTED as OBD_WANTED
from argus_assets.recordings.drive import Drive
from argus_assets.recordings.reading import read_recording

PGN_COMPONENT_ID = 0xFEEB
PGN_VEHICLE_ID = 0xFEEC
PGN_ENGINE_CONFIGURATION = 0xFEE3


def test_isotp_answers_of_a_canedge(recordings):
    batch, _ = read_recording(recordings / "canedge" / "17BD1DB7_00000006_00000170.MF4")
    frames = batch.frames.lazy().with_columns(recording=pl.lit("r"))
    found = reassemble_isotp(data_frames(frames, OBD_WANTED).collect().sort(TIME_ORDER))

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
    for pgn in (PGN_ENGINE_CONFIGURATION, PGN_COMPONENT_ID, PGN_VEHICLE_ID):
        sessions, whole = {}, []
        begun = 0
        for channel, can_id, payload in rows.select("channel", "arbitration_id", "payload").iter_rows():
            pair = channel, can_id & 0xFFFF
            if can_id >> 16 & 0xFF == 0xEC and payload[0] == 32:
                sessions.pop(pair, None)
                if payload[5:8] == pgn.to_bytes(3, "little"):
                    begun += 1
                    sessions[pair] = (payload[1] | payload[2] << 8, b"", 1)
            elif can_id >> 16 & 0xFF == 0xEB and pair in sessions:
                size, data, number = sessions.pop(pair)
                if payload[0] != number:
                    continue
                data += payload[1:]
                if len(data) >= size:
                    whole.append(data[:size])
                else:
                    sessions[pair] = (size, data, number + 1)
        found = reassemble_tp(rows, pgns=[pgn])
        assert found.sessions.height == begun
        assert sorted(found.messages["payload"].to_list()) == sorted(whole)
    assert begun > 0


def test_recordings_without_faults_give_no_events(recordings):
    for path in sorted((recordings / "canedge").glob("*.MF4")):
        batch, _ = read_recording(path)
        tables = (t.lazy().with_columns(recording=pl.lit("r")) for t in (batch.frames, batch.logs, batch.diagnostics))
        assert find_events(Drive(*tables)).events.is_empty(), path.name
