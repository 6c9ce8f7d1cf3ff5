#!/usr/bin/env bash
# A throw-away Ceph RADOS gateway on loopback: one monitor, one OSD in memory, one S3 gateway. For tests only.
#   ceph-rgw.sh start DIR   prints one line: endpoint access_key secret_key
#   ceph-rgw.sh stop DIR
# Needs Debian's radosgw, ceph-mon and ceph-osd, and root (the daemons drop nothing and write only into DIR).
set -euo pipefail

usage() { sed -n '2,5p' "$0" >&2; exit 2; }
[ $# -eq 2 ] || usage
command=$1
dir=$2

stop() {
  for file in "$dir"/run/*.pid; do
    [ -e "$file" ] || continue
    pid=$(cat "$file")
    kill "$pid" 2>/dev/null || continue
    for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$pid" 2>/dev/null || true
  done
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

fail() {
  echo "$1" >&2
  tail -n 20 "$dir"/log/*.log >&2 2>/dev/null || true
  stop
  exit 1
}

case $command in
  stop) stop; exit 0 ;;
  start) ;;
  *) usage ;;
esac

for program in radosgw radosgw-admin ceph-mon ceph-osd ceph ceph-authtool monmaptool uuidgen; do
  command -v "$program" >/dev/null || { echo "$program is not installed (Debian: radosgw ceph-mon ceph-osd ceph-common uuid-runtime)" >&2; exit 3; }
done

rm -rf "$dir"
mkdir -p "$dir"/{mon,osd,rgw,run,log}
# The daemons must not keep the caller's pipes open: they get the log, and the last line goes to descriptor 3.
exec 3>&1 1>>"$dir/log/start.log" 2>&1
fsid=$(uuidgen)
osd_uuid=$(uuidgen)
port=$(free_port)
mon_v1=$(free_port)
mon_v2=$(free_port)
conf=$dir/ceph.conf
cat > "$conf" <<CONF
[global]
fsid = $fsid
mon_host = [v2:127.0.0.1:$mon_v2,v1:127.0.0.1:$mon_v1]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
run_dir = $dir/run
log_file = $dir/log/\$name.log
admin_socket = $dir/run/\$name.asok
pid_file = $dir/run/\$name.pid
keyring = $dir/admin.keyring
mon_data = $dir/mon
osd_data = $dir/osd
osd_objectstore = memstore
memstore_device_bytes = 8589934592
[osd]
keyring = $dir/osd/keyring
[client.rgw]
keyring = $dir/rgw/keyring
rgw_frontends = beast endpoint=127.0.0.1:$port
rgw_data = $dir/rgw
CONF

# The monitor, with authentication on: without it the gateway never connects.
ceph-authtool --create-keyring "$dir/mon.keyring" --gen-key -n mon. --cap mon 'allow *'
ceph-authtool --create-keyring "$dir/admin.keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
ceph-authtool "$dir/mon.keyring" --import-keyring "$dir/admin.keyring"
monmaptool --create --clobber --fsid "$fsid" --addv a "[v2:127.0.0.1:$mon_v2,v1:127.0.0.1:$mon_v1]" "$dir/monmap"
ceph-mon -c "$conf" --mkfs -i a --monmap "$dir/monmap" --keyring "$dir/mon.keyring"
ceph-mon -c "$conf" -i a 3>&- || fail "the monitor did not start"

# The OSD: its uuid has to be the same at `osd new` and at mkfs.
secret=$(ceph-authtool --gen-print-key)
echo "{\"cephx_secret\": \"$secret\"}" | ceph -c "$conf" osd new "$osd_uuid" 0 -i -
ceph-authtool --create-keyring "$dir/osd/keyring" -n osd.0 --add-key "$secret"
ceph-osd -c "$conf" -i 0 --mkfs --osd-uuid "$osd_uuid"
ceph-osd -c "$conf" -i 0 --osd-uuid "$osd_uuid" 3>&- || fail "the OSD did not start"
for _ in $(seq 100); do ceph -c "$conf" osd stat | grep -q ' 1 up' && break; sleep 0.3; done

# The gateway and its first user.
ceph -c "$conf" auth get-or-create client.rgw mon 'allow rwx' osd 'allow rwx' -o "$dir/rgw/keyring"
radosgw-admin -c "$conf" -n client.rgw user create --uid argus --display-name argus --access-key argus --secret-key argus-secret
radosgw -c "$conf" -n client.rgw 3>&- || fail "the gateway did not start"
for _ in $(seq 100); do
  python3 -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:$port', timeout=2)" && break
  sleep 0.3
done
python3 -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:$port', timeout=5)" || fail "the gateway does not answer"
echo "http://127.0.0.1:$port argus argus-secret" >&3
