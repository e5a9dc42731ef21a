#!/usr/bin/env bash
# Makes the real servers available that the tests run against: Apache Kafka, PostgreSQL and a
# Confluent-compatible schema registry (Apicurio). For each of them, in this order:
#
#   1. an address from the environment: LANEWAY_TEST_KAFKA (host:port,...), LANEWAY_TEST_POSTGRES (url
#      of a role that may create databases and roles), LANEWAY_TEST_REGISTRY (url of the Confluent API);
#   2. the service of docker-compose.yml, where a Docker engine answers;
#   3. an install below the cache folder, from Maven Central and Debian's packages. Tests start and
#      stop these themselves.
#
# And Confluent's Python client from PyPI, in a virtual environment below the cache folder.
#
# Running it again is quick. The cache folder is ${LANEWAY_CACHE:-${XDG_CACHE_HOME:-~/.cache}/laneway}.
# Addresses that came from Docker are left in test-servers.env there, for the Makefile to read.
set -euo pipefail

kafka_version=4.3.1
registry_version=3.0.9
client_version=2.16.0
# 2.10, the last that copies an artifact without reading its parent: Apicurio's is not on Maven Central.
dependency_plugin=org.apache.maven.plugins:maven-dependency-plugin:2.10

cd "$(dirname "$0")/.."
scripts/toolchain.sh
cache=${LANEWAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/laneway}
mkdir -p "$cache"
addresses=$cache/test-servers.env
: >"$addresses.new"
missing=()

say() { printf 'test-servers: %s\n' "$*"; }
complain() { printf 'test-servers: %s\n' "$*" >&2; }

check_java() {
    local java=java version
    [ -z "${JAVA_HOME:-}" ] || java=$JAVA_HOME/bin/java
    if ! version=$("$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -1) || [ -z "$version" ]; then
        complain "no Java runtime found as '$java'; install Java 17 or newer (Debian: openjdk-17-jre-headless)"
        return 1
    fi
    if [ "$version" -lt 17 ]; then
        complain "'$java' is Java $version; Kafka and the registry need 17 or newer, set JAVA_HOME to one"
        return 1
    fi
}

# Runs Maven's dependency plugin over the dependencies in $2 (XML), goal and options after that.
# $1 is the scratch folder that holds the generated pom.
maven() {
    local scratch=$1 dependencies=$2
    shift 2
    if ! command -v mvn >/dev/null; then
        complain "no Maven ('mvn') to fetch from Maven Central with; install it (Debian: maven)"
        return 1
    fi
    cat >"$scratch/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>laneway</groupId>
  <artifactId>test-servers</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>$dependencies</dependencies>
</project>
POM
    mvn -q -B -f "$scratch/pom.xml" "$@" >"$scratch/mvn.log" 2>&1 || { cat "$scratch/mvn.log" >&2; return 1; }
}

# A folder appears under its final name only when it is complete: built beside, then renamed.
install_kafka() {
    local target=$cache/kafka-$kafka_version scratch
    check_java || return 1
    if [ -d "$target" ]; then
        say "Kafka $kafka_version: in $target"
    else
        say "Kafka $kafka_version: fetching from Maven Central"
        scratch=$(mktemp -d "$cache/kafka.XXXXXX")
        if ! maven "$scratch" "
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$kafka_version</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>" \
            "$dependency_plugin:copy-dependencies" -DincludeScope=runtime "-DoutputDirectory=$scratch/libs"; then
            rm -rf "$scratch"
            complain "could not fetch Kafka $kafka_version from Maven Central"
            return 1
        fi
        chmod 755 "$scratch"
        mv -T "$scratch" "$target"
        say "Kafka $kafka_version: installed in $target"
    fi
    # Brokers start without it too.
    [ -f "$target/classes.jsa" ] || scripts/kafka-class-archive.sh "$target" \
        || complain "Kafka $kafka_version: no class archive could be made, brokers will start more slowly"
}

install_registry() {
    local target=$cache/apicurio-$registry_version scratch
    check_java || return 1
    [ ! -d "$target" ] || { say "Apicurio Registry $registry_version: in $target"; return; }
    say "Apicurio Registry $registry_version: fetching from Maven Central"
    scratch=$(mktemp -d "$cache/apicurio.XXXXXX")
    if ! { maven "$scratch" "" "$dependency_plugin:copy" \
            "-Dartifact=io.apicurio:apicurio-registry-app:$registry_version:tar.gz:all" \
            "-DoutputDirectory=$scratch" \
        && mkdir "$scratch/app" \
        && tar -xzf "$scratch/apicurio-registry-app-$registry_version-all.tar.gz" -C "$scratch/app"; }; then
        rm -rf "$scratch"
        complain "could not fetch Apicurio Registry $registry_version from Maven Central"
        return 1
    fi
    chmod 755 "$scratch/app"
    mv -T "$scratch/app" "$target"
    rm -rf "$scratch"
    say "Apicurio Registry $registry_version: installed in $target"
}

# The folder of a PostgreSQL whose programs really run; a distribution's wrapper may be on PATH without one.
postgres_bin() {
    local folder on_path
    on_path=$(command -v initdb || true)
    for folder in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV) ${on_path:+"$(dirname "$on_path")"}; do
        if "$folder/postgres" --version >/dev/null 2>&1 && "$folder/initdb" --version >/dev/null 2>&1; then
            printf '%s\n' "$folder"
            return
        fi
    done
    return 1
}

install_postgres() {
    local bin sudo=()
    if bin=$(postgres_bin); then
        say "PostgreSQL: $("$bin/postgres" --version | sed 's/.*) //') in $bin"
        return
    fi
    if ! command -v apt-get >/dev/null; then
        complain "no PostgreSQL server found and no apt-get to install one with; install PostgreSQL 15 or newer (initdb, postgres)"
        return 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            complain "no PostgreSQL server found; as root run: apt-get install postgresql"
            return 1
        fi
        sudo=(sudo)
    fi
    say "PostgreSQL: installing Debian's package"
    if ! { "${sudo[@]}" apt-get update -qq \
        && "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null \
        && bin=$(postgres_bin); }; then
        complain "could not install PostgreSQL with apt-get; install PostgreSQL 15 or newer by hand"
        return 1
    fi
    say "PostgreSQL: installed in $bin"
}

# Confluent's Python client, with which the tests read the topics as an operator's tools do.
install_client() {
    local target=$cache/confluent-kafka-$client_version scratch
    [ ! -d "$target" ] || { say "confluent-kafka $client_version: in $target"; return; }
    if ! command -v python3 >/dev/null; then
        complain "no Python found as 'python3'; install it with its venv module (Debian: python3-venv)"
        return 1
    fi
    say "confluent-kafka $client_version: fetching from PyPI"
    scratch=$(mktemp -d "$cache/confluent-kafka.XXXXXX")
    if ! { python3 -m venv "$scratch" \
        && "$scratch/bin/python" -m pip install -q "confluent-kafka[avro,schemaregistry]==$client_version"; }; then
        rm -rf "$scratch"
        complain "could not fetch confluent-kafka $client_version from PyPI"
        return 1
    fi
    chmod 755 "$scratch"
    mv -T "$scratch" "$target"
    say "confluent-kafka $client_version: installed in $target"
}

docker_answers() {
    [ -f docker-compose.yml ] && command -v docker >/dev/null \
        && timeout 10 docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1
}

# Starts the service $1 and prints the loopback address of its port $2.
compose_service() {
    docker compose up -d --wait "$1" >&2 && docker compose port "$1" "$2" | sed 's/^0\.0\.0\.0/127.0.0.1/'
}

compose_kafka() {
    local at
    at=$(compose_service kafka 9092) || return 1
    printf 'LANEWAY_TEST_KAFKA=%q\n' "$at" >>"$addresses.new"
}

compose_registry() {
    local at
    at=$(compose_service registry 8080) || return 1
    printf 'LANEWAY_TEST_REGISTRY=%q\n' "http://$at/apis/ccompat/v7" >>"$addresses.new"
}

# Tests need a login that row-level security binds, so not the superuser that the image makes.
compose_postgres() {
    local at superuser password
    at=$(compose_service postgres 5432) || return 1
    superuser=$(docker compose exec -T postgres printenv POSTGRES_USER || echo postgres)
    password=$(docker compose exec -T postgres printenv POSTGRES_PASSWORD) || return 1
    docker compose exec -T postgres psql -q -U "$superuser" -d postgres >&2 <<SQL || return 1
DO \$\$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'laneway_test') THEN
        CREATE ROLE laneway_test LOGIN PASSWORD 'laneway_test' NOSUPERUSER CREATEROLE CREATEDB;
    END IF;
END \$\$;
SELECT 'CREATE DATABASE laneway_test OWNER laneway_test'
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'laneway_test') \gexec
SQL
    {
        printf 'LANEWAY_TEST_POSTGRES=%q\n' "postgres://laneway_test:laneway_test@$at/laneway_test"
        printf 'LANEWAY_TEST_POSTGRES_SUPERUSER=%q\n' "postgres://$superuser:$password@$at/laneway_test"
    } >>"$addresses.new"
}

# provide NAME VARIABLE SUITES: the first of the three ways that works.
# Suites that kill their servers start private ones, so an address from elsewhere never replaces the install.
provide() {
    local name=$1 variable=$2 suites=$3 fault_suites=${4:-}
    if [ -n "${!variable:-}" ]; then
        say "$name: using the address in $variable"
    elif ! $docker || ! { say "$name: starting the service of docker-compose.yml" && "compose_$name"; }; then
        "install_$name" || missing+=("$suites")
        return 0
    fi
    if [ -n "$fault_suites" ]; then
        "install_$name" || missing+=("$fault_suites")
    fi
}

docker=false
if docker_answers; then docker=true; fi
provide kafka LANEWAY_TEST_KAFKA "suites on Kafka" \
    "Kafka fault suites (they kill brokers of their own, so an address is not enough)"
provide postgres LANEWAY_TEST_POSTGRES "suites on PostgreSQL" \
    "PostgreSQL fault suites (they kill a server of their own, so an address is not enough)"
provide registry LANEWAY_TEST_REGISTRY "suites against a Confluent-compatible schema registry"
install_client || missing+=("the operator's tools on every topic")

mv "$addresses.new" "$addresses"
if [ ${#missing[@]} -gt 0 ]; then
    complain "these suites cannot run here:"
    printf '  - %s\n' "${missing[@]}" >&2
    complain "install what is named above, give addresses in the environment, or run 'make test-embedded'"
    exit 1
fi
