# shellcheck shell=bash
# A private sensor: Redis on a Unix socket, collector, analyzer, all in one folder that goes
# away with them. Read after lib.sh; `start_sensor`, then `stop_sensor` in a trap.

: "${root:?read lib.sh first}" "${bin:?}" "${dim?}" "${plain?}"

folder=
pids=()

# An account without rights for the analyzer.
nobody=65534

start_sensor() {
    folder=$(mktemp -d "${TMPDIR:-/tmp}/ravn.XXXXXX")
    # The analyzer, which is another user, goes through it.
    chmod 711 "$folder"
    write_users
    start_redis
    start_analyzer
    start_collector
    wait_for_sensor
}

# Stops what start_sensor started, the last first, and removes the folder.
stop_sensor() {
    local at pid tries
    for ((at = ${#pids[@]} - 1; at >= 0; at--)); do
        pid=${pids[at]}
        alive "$pid" || continue
        kill -TERM "$pid" 2>/dev/null || continue
        # The daemons drain under a deadline of their own; past it nothing is waited for.
        for ((tries = 0; tries < 120; tries++)); do
            alive "$pid" || break
            sleep 0.1
        done
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    pids=()
    # A collector that was killed left its pins.
    [ ! -f "$folder/collector.toml" ] ||
        "$bin/ravn-collector" unload --config "$folder/collector.toml" >/dev/null || true
    [ -z "$folder" ] || rm -rf "$folder"
    folder=
}

# One random password a user, and the ACL file as it is shipped with their digests in it.
write_users() {
    local user password
    cp "$root/systemd/redis/users.acl" "$folder/users.acl"
    chmod 600 "$folder/users.acl"
    for user in collector analyzer reader operator; do
        password=$(new_password)
        sed -i "s/@$user@/$(digest "$password")/" "$folder/users.acl"
        (umask 077 && printf '%s\n' "$password" >"$folder/$user.password")
    done
    chown "$nobody" "$folder/analyzer.password"
}

# spawn NAME COMMAND…: in a session of its own, so that Ctrl-C reaches it through this script
# alone, and killed with this script whatever happens to it.
spawn() {
    local name=$1
    shift
    setsid setpriv --pdeathsig TERM -- "$@" >"$folder/$name.log" 2>&1 </dev/null &
    pids+=($!)
}

start_redis() {
    say "starting a private Redis"
    spawn redis redis-server --port 0 --unixsocket "$folder/redis.sock" --unixsocketperm 777 \
        --aclfile "$folder/users.acl" --dir "$folder" --save '' --appendonly no \
        --maxmemory 512mb --maxmemory-policy noeviction
    local tries=0
    until reader_cli ping >/dev/null 2>&1; do
        if ! alive "${pids[-1]}" || [ $((tries += 1)) -gt 100 ]; then trouble redis; fi
        sleep 0.1
    done
}

reader_cli() {
    REDISCLI_AUTH=$(<"$folder/reader.password") \
        redis-cli -s "$folder/redis.sock" --user ravn-reader --no-auth-warning "$@"
}

redis_table() {
    printf '[redis]\nurl = "unix://%s/redis.sock"\nusername = "ravn-%s"\npassword_file = "%s/%s.password"\n' \
        "$folder" "$1" "$folder" "$1"
}

start_analyzer() {
    say "starting the analyzer ${dim}(unprivileged)${plain}"
    install -d -o "$nobody" -m 700 "$folder/alerts"
    {
        printf 'alerts_file = "%s/alerts/alerts.jsonl"\n' "$folder"
        redis_table analyzer
    } >"$folder/analyzer.toml"
    local program=$bin/ravn-analyzer
    local drop=(--reuid "$nobody" --regid "$nobody" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all)
    if ! setpriv "${drop[@]}" test -x "$program"; then
        # A checkout under /root: the other user cannot reach it there.
        install -m 755 "$program" "$folder/ravn-analyzer"
        program=$folder/ravn-analyzer
    fi
    # --pdeathsig again: a change of user clears it.
    spawn analyzer setpriv "${drop[@]}" --pdeathsig TERM -- "$program" run --config "$folder/analyzer.toml"
}

start_collector() {
    say "starting the collector"
    {
        redis_table collector
        # An instance of its own, which goes with its collector.
        printf '[pins]\ninstance = "quickstart-%s"\nkeep = false\n' "${folder##*.}"
    } >"$folder/collector.toml"
    spawn collector "$bin/ravn-collector" run --config "$folder/collector.toml"
}

alive() { kill -0 "$1" 2>/dev/null; }

# trouble NAME: its last words, and the end.
trouble() {
    local status=1
    if ! alive "${pids[-1]}"; then
        wait "${pids[-1]}" || status=$?
    fi
    tail -n 20 "$folder/$1.log" >&2
    die "$1 did not start; its last words are above" "$status"
}

wait_for_sensor() {
    local began=$SECONDS
    until RAVN_REDIS_URL=$(url reader) "$bin/ravn" wait --seconds 1 2>"$folder/wait.log"; do
        alive "${pids[-1]}" || trouble collector
        alive "${pids[-2]}" || trouble analyzer
        if [ $((SECONDS - began)) -gt 60 ]; then
            tail -n 10 "$folder/analyzer.log" "$folder/collector.log" >&2
            die "not ready within 60 s: $(<"$folder/wait.log")"
        fi
    done
    say "ready after $(since "$began")"
}

# url USER: with the user's password.
url() {
    printf 'unix://%s/redis.sock?user=ravn-%s&pass=%s' "$folder" "$1" "$(<"$folder/$1.password")"
}

# sensor_environment: for whoever asks the sensor.
sensor_environment() {
    export PATH="$bin:$PATH"
    export RAVN_REDIS_SOCKET=$folder/redis.sock RAVN_REDIS_USER=ravn-reader
    REDISCLI_AUTH=$(<"$folder/reader.password")
    RAVN_REDIS_URL=$(url reader)
    RAVN_OPERATOR_URL=$(url operator)
    export REDISCLI_AUTH RAVN_REDIS_URL RAVN_OPERATOR_URL
    # With the analyzer's rights ravn doctor can look at Redis' policy.
    export RAVN_ANALYZER_CONFIG=$folder/analyzer.toml
    # So that ravn-collector check and unload speak of this sensor.
    export RAVN_COLLECTOR_CONFIG=$folder/collector.toml
}
