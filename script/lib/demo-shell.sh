# What the two demos share; sourced after common.sh, not run.
# shellcheck shell=bash
BUILD=(-c "${CONFIGURATION:-release}" -Xswiftc -enable-testing)

# build_demo: installs and builds; sets DRP, and `began`, from which on the demo's own time counts.
build_demo() {
    phase "packages and Python environment" "$ROOT/script/setup"
    if [ "${KEEP_BUILD:-}" != 1 ]; then
        phase "build, ${CONFIGURATION:-release} (minutes, the first time)" swift build "${BUILD[@]}" --build-tests
    fi
    DRP=$(swift build "${BUILD[@]}" --show-bin-path)/drp
    began=$(now_ms)
}

title() { printf '\n\033[1m%s\033[0m\n' "$*" | if [ -t 1 ]; then cat; else sed 's/\x1b\[[0-9;]*m//g'; fi; }

# show COMMAND...: prints a drp command as a person would type it, then runs it with the fleet file in $FLEET.
show() {
    printf '$ drp %s\n' "$*" | sed "s#$FLEET/##g"
    supervised "$DRP" "$@" --fleet "$FLEET/fleet.yaml"
}

# told: what a client's API said, from standard input.
told() {
    "$PYTHON" -c 'import json, sys
text = sys.stdin.read()
if text:
    data = json.loads(text)
    print("%s from %s: %s orders, %s sessions" % (data["client"], data["served_from"], data["orders"]["count"], data["sessions"]))
else:
    print("no answer")'
}
