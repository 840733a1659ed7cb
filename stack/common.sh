# What the start scripts share. Sourced by stack/NAME/start and health, never run.
#
# The contract of a start script. From the environment: DATA (its data folder, kept between starts), LIB (where its
# programs are kept), PORT (and further ports it names), HEAP (of a Java server). It installs nothing; jars that are
# missing come through Maven. It starts the server in a session of its own, waits until the server truly answers, and
# prints the pid; progress and errors go to standard error. SIGTERM stops the server, SIGKILL is a crash.
# FETCH_ONLY=yes ends it once everything is there. stack/NAME/health, with the same environment, asks the server: exit 0
# and a line when it is well.
# Exit: 0 it answers, 1 it did not come up, 2 wrong use, 3 a port is taken, 4 a program is missing, 5 not to be fetched.
# shellcheck shell=bash
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
name=${here##*/}

say() { printf '%s: %s\n' "$name" "$*" >&2; }
# $1: exit code. The rest: what is wrong and what to do.
quit() {
    local code=$1
    shift
    say "$*"
    exit "$code"
}

: "${DATA:?the data folder}" "${LIB:?the folder of its programs}" "${PORT:?the port to listen on}"
mkdir -p "$DATA" "$LIB"
DATA=$(cd "$DATA" && pwd)
LIB=$(cd "$LIB" && pwd)

# Prints the path of program $1: the system's, or the one unpacked into LIB.
program() {
    local folder
    type -P "$1" && return
    for folder in /usr/sbin "$LIB/usr/bin" "$LIB/usr/sbin"; do
        if [ -x "$folder/$1" ]; then
            printf '%s\n' "$folder/$1"
            return
        fi
    done
    quit 4 "missing program: $1; run ./dev test, or ./dev stack up $name once"
}

# Unpacked packages bring their libraries along.
for folder in "$LIB"/usr/lib/*-linux-gnu; do
    [ ! -d "$folder" ] || export LD_LIBRARY_PATH="$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
done

# The end of a start script that is only to fetch what is missing (FETCH_ONLY=yes).
fetched() { [ -z "${FETCH_ONLY:-}" ] || exit 0; }

# Whether something listens on port $1 of this machine.
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Refuses ports that are taken, and says by whom where the system tells.
free_ports() {
    local port holder
    for port in "$@"; do
        listens "$port" || continue
        holder=$(ss -Hltnp "sport = :$port" 2>/dev/null | sed -n 's/.*users:((\(.*\)))$/\1/p' || true)
        quit 3 "port $port is taken${holder:+ by $holder}; stop it, or choose another port"
    done
}

# The file that says LIB holds what the file $1 asks for; another version of $1 asks for another file.
mark_of() { printf '%s/.complete-%s\n' "$LIB" "$(cksum <"$1" | tr -c '0-9\n' '-')"; }

# Fills LIB with what $1 asks for by running the rest, once: two who start at the same time wait for each other.
# A run that was cut off leaves no mark, and begins anew.
fill_once() {
    local asks=$1 mark
    shift
    mark=$(mark_of "$asks")
    [ ! -e "$mark" ] || return 0
    (
        flock 9
        [ ! -e "$mark" ] || exit 0
        find "$LIB" -mindepth 1 -maxdepth 1 ! -name .lock -exec rm -rf {} +
        "$@" >"$LIB/.fetched.log" 2>&1 || { tail -n 30 "$LIB/.fetched.log" >&2; exit 1; }
        touch "$mark"
    ) 9>"$LIB/.lock" || quit 5 "could not be fetched; is there a network, and does the package registry answer?"
}

# Copies the runtime jars of pom.xml into LIB.
jars() {
    program java >/dev/null
    if [ ! -e "$(mark_of "$here/pom.xml")" ]; then
        program mvn >/dev/null
        say "fetching jars through Maven, once"
    fi
    fill_once "$here/pom.xml" mvn -q -B -Dstyle.color=never -f "$here/pom.xml" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$LIB"
}

# Compiles the Java of file $1 into DATA/classes; a runtime without a compiler will do.
compiled() {
    mkdir -p "$DATA/classes"
    "$(program java)" -cp "$LIB/*" org.eclipse.jdt.internal.compiler.batch.Main -17 -nowarn -cp "$(printf '%s:' "$LIB"/*.jar)" \
        -d "$DATA/classes" "$1"
}

# Keeps the log of the last run beside a fresh one. Prints the path.
fresh_log() {
    local log=$DATA/$name.log
    [ ! -f "$log" ] || mv -f "$log" "$log.before"
    : >"$log"
    printf '%s\n' "$log"
}

# $1: pid, $2: log, $3: seconds. The rest: a command that succeeds once the server answers. Then prints the pid;
# otherwise shows the end of the log, ends the server and this script.
await() {
    local pid=$1 log=$2 until=$((SECONDS + $3)) seconds=$3
    shift 3
    while [ "$SECONDS" -lt "$until" ]; do
        if ! kill -0 "$pid" 2>/dev/null; then
            tail -n 30 "$log" >&2
            # Somebody was faster than our look, or it was an outgoing connection, which our look does not see.
            ! grep -qi 'address already in use' "$log" || quit 3 "a port is taken; the end of $log is above"
            quit 1 "the server ended while it started; the end of $log is above"
        fi
        if "$@" >/dev/null 2>&1; then
            printf '%s\n' "$pid"
            return
        fi
        sleep 0.1
    done
    tail -n 30 "$log" >&2
    kill -KILL "$pid" 2>/dev/null || true
    quit 1 "no answer within $seconds s; the end of $log is above"
}
