# `./dev stack`: real components on this machine, for trying widerow out. Sourced by dev.
#
# Data and logs stand under .stack/run/NAME, programs under .stack/lib/NAME. What runs is told by .stack/run/NAME.runs: the
# pid, when that process began (a number may be used again), and its variables. Knows of no server more than its ports; how
# one starts and how it is asked stands in its folder.
# shellcheck shell=bash
stack_names=(redis mariadb kafka hbase search nsq debezium)
# What comes up only when it is named.
stack_others=(canal maxwell)
stack_home=$PWD/.stack

# The variables a component is started with: ports that do not clash with the usual ones, and heaps that stay below
# 8 GiB together. WIDEROW_STACK_NAME_VARIABLE in the environment takes the place of each.
stack_defaults() {
    case "$1" in
    redis) echo PORT=16379 HEAP=1gb ;;
    mariadb) echo PORT=13306 HEAP=128m ;;
    kafka) echo PORT=19092 CONTROLLER_PORT=19093 HEAP=256m TOPICS=order.changed:4,shop.canal:4,shop.maxwell:4 ;;
    hbase) echo PORT=16100 REGION_PORT=16120 ZOOKEEPER_PORT=12181 HEAP=1g ;;
    search) echo PORT=19200 HEAP=512m ;;
    nsq) echo PORT=14150 HTTP_PORT=14151 ;;
    debezium) echo PORT=18083 HEAP=384m ;;
    # They listen nowhere.
    canal | maxwell) echo PORT=0 HEAP=256m ;;
    esac
}

# What a client is to be told. Reads the variables of `stack_settings`.
stack_address() {
    case "$1" in
    redis) echo "redis://127.0.0.1:$PORT/0" ;;
    mariadb) echo "127.0.0.1:$PORT, user and password widerow, database shop" ;;
    kafka) echo "127.0.0.1:$PORT" ;;
    hbase) echo "127.0.0.1:$PORT (master), 127.0.0.1:$REGION_PORT (regions)" ;;
    search) echo "http://127.0.0.1:$PORT" ;;
    nsq) echo "127.0.0.1:$PORT, http://127.0.0.1:$HTTP_PORT" ;;
    debezium) echo "http://127.0.0.1:$PORT, topics shop.shop.TABLE in kafka" ;;
    canal | maxwell) echo "topic shop.$1 in kafka" ;;
    esac
}

# Who must run before it.
stack_needs() {
    case "$1" in
    debezium | canal | maxwell) echo mariadb kafka ;;
    esac
}

stack_settings() {
    local name=$1 pair key override
    for pair in $(stack_defaults "$name"); do
        key=${pair%%=*}
        override=WIDEROW_STACK_${name^^}_$key
        printf '%s ' "$key=${!override:-${pair#*=}}"
    done
    if [ -n "$(stack_needs "$name")" ]; then
        echo "BROKER_PORT=$(stack_recorded kafka PORT) DATABASE_PORT=$(stack_recorded mariadb PORT)"
    fi
}

# When process $1 began, in ticks since the machine started.
stack_birth() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }

# The pid of a component that runs; nothing otherwise.
stack_pid() {
    local pid born settings
    read -r pid born settings 2>/dev/null <"$stack_home/run/$1.runs" || return 0
    : "$settings"
    [ "$(stack_birth "$pid")" != "$born" ] || grep -q '^State:.Z' "/proc/$pid/status" || echo "$pid"
}

# Variable $2 of component $1 as it was started.
stack_recorded() {
    { tr ' ' '\n' <"$stack_home/run/$1.runs" | sed -n "s/^$2=//p"; } 2>/dev/null || true
}

# Runs a script of a component: name, script, variables.
stack_call() {
    local name=$1 script=$2
    shift 2
    env "$@" DATA="$stack_home/run/$name" LIB="$stack_home/lib/$name" SETUP="$PWD/stack/mariadb/shop.sql" \
        "$PWD/stack/$name/$script" 9>&-
}

stack_health() {
    local settings
    settings=$(cut -d ' ' -f 3- "$stack_home/run/$1.runs")
    # shellcheck disable=SC2086 # one variable a word
    stack_call "$1" health $settings 2>&1
}

stack_up_one() {
    local name=$1 pid settings told began=$SECONDS
    pid=$(stack_pid "$name")
    if [ -n "$pid" ]; then
        told=$(stack_health "$name") ||
            die "$name runs (pid $pid) but does not answer${told:+: $told}. See .stack/run/$name/$name.log; ./dev stack down $name ends it."
        say "$name: is up"
    else
        need_stack "$name"
        say "$name: starting"
        settings=$(stack_settings "$name")
        # shellcheck disable=SC2086 # one variable a word
        pid=$(stack_call "$name" start $settings) ||
            die "$name did not start; another port: WIDEROW_STACK_${name^^}_PORT=NUMBER"
        # shellcheck disable=SC2086
        echo "$pid" "$(stack_birth "$pid")" $settings >"$stack_home/run/$name.runs"
        say "$name: up after $((SECONDS - began)) s, pid $pid"
    fi
    stack_line "$name"
}

# Name and address, on standard output.
stack_line() (
    # shellcheck disable=SC2046 # one variable a word
    export $(cut -d ' ' -f 3- "$stack_home/run/$1.runs")
    printf '%-9s %s\n' "$1" "$(stack_address "$1")"
)

stack_up() {
    local name need done=' '
    for name in "$@"; do
        for need in $(stack_needs "$name") "$name"; do
            [[ $done != *" $need "* ]] || continue
            stack_up_one "$need"
            done+="$need "
        done
    done
}

stack_down_one() {
    local name=$1 pid rest=1200
    pid=$(stack_pid "$name")
    if [ -n "$pid" ]; then
        say "$name: stopping pid $pid"
        kill -CONT "$pid" 2>/dev/null || true
        kill -TERM "$pid" 2>/dev/null || true
        while [ -n "$(stack_pid "$name")" ]; do
            rest=$((rest - 1))
            if [ "$rest" -eq 0 ]; then
                say "$name: still there after a minute, killed"
                kill -KILL "$pid" 2>/dev/null || true
            fi
            sleep 0.05
        done
    fi
    rm -f "$stack_home/run/$name.runs"
}

stack_down() {
    local purge='' name i names=()
    for name in "$@"; do
        if [ "$name" = --purge ]; then purge=yes; else names+=("$name"); fi
    done
    [ ${#names[@]} -gt 0 ] || names=("${stack_names[@]}" "${stack_others[@]}")
    local all=("${stack_names[@]}" "${stack_others[@]}")
    for ((i = ${#all[@]} - 1; i >= 0; i--)); do
        name=${all[i]}
        [[ " ${names[*]} " == *" $name "* ]] || continue
        stack_down_one "$name"
        [ -z "$purge" ] || rm -rf "${stack_home:?}/run/$name"
    done
}

stack_status() {
    local name pid told state memory failed=
    printf '%-9s %-8s %8s %8s  %s\n' name state pid memory 'address; what it says'
    for name in "$@"; do
        pid=$(stack_pid "$name")
        if [ -z "$pid" ]; then
            state=down
            [ ! -e "$stack_home/run/$name.runs" ] || { state=died; failed=yes; }
            printf '%-9s %-8s\n' "$name" "$state"
            continue
        fi
        if told=$(stack_health "$name"); then state=up; else state=unwell failed=yes; fi
        memory=$(sed -n 's/^VmRSS:\s*\([0-9]*\) kB/\1/p' "/proc/$pid/status")
        printf '%-9s %-8s %8s %5s MB  %s\n' "$name" "$state" "$pid" "$((${memory:-0} / 1024))" \
            "$(stack_line "$name" | cut -c 11-); ${told//$'\n'/ }"
    done
    [ -z "$failed" ]
}

stack() {
    local what=${1:-} name
    [ $# -eq 0 ] || shift
    case "$what" in
    up | down | status) ;;
    sql)
        [ -n "$(stack_pid mariadb)" ] || die "mariadb does not run; ./dev stack up mariadb starts it."
        PORT=$(stack_recorded mariadb PORT) DATA=$stack_home/run/mariadb LIB=$stack_home/lib/mariadb \
            stack/mariadb/sql ${1:+-e "$1"}
        return
        ;;
    *) die "unknown: stack $what; allowed: stack up, stack down [--purge], stack status, each with names" ;;
    esac
    for name in "$@"; do
        [ "$what $name" != "down --purge" ] || continue
        [[ " ${stack_names[*]} ${stack_others[*]} " == *" $name "* ]] ||
            die "unknown: stack $what $name; allowed: ${stack_names[*]} ${stack_others[*]}"
    done
    mkdir -p "$stack_home/run" "$stack_home/lib"
    if [ "$what" = status ]; then
        [ $# -gt 0 ] || set -- "${stack_names[@]}" "${stack_others[@]}"
        stack_status "$@"
        return
    fi
    # One at a time: two would start the same server twice.
    exec 9>"$stack_home/lock"
    flock -n 9 || die "another ./dev stack $what is at work here; wait for it"
    if [ "$what" = up ] && [ $# -eq 0 ]; then set -- "${stack_names[@]}"; fi
    "stack_$what" "$@"
}
