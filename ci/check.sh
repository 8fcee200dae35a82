#!/usr/bin/env bash
# What CI runs, in order, or one part of it alone. `ci/check.sh help` lists the parts.
#
# Each part ends with one line that says what was shown. Whatever the checks need and the machine lacks is fetched from
# its package archives on first use; `.ci/run` does that beforehand.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
SELF="$ROOT/ci/check.sh"
cd "$ROOT"
# shellcheck source=ci/lib/firmware.sh
. ci/lib/firmware.sh

CARGO_TARGET_DIR="$(realpath -m "${CARGO_TARGET_DIR:-$ROOT/target}")"
export CARGO_TARGET_DIR

USAGE="usage: ci/check.sh [PART [ARG]]

  (nothing)       all parts below, as CI runs them
  lint            format, clippy, rustdoc, shellcheck, ASCII, layers, cfg, unsafe, licences
  test            tests with each feature set, then the long model and damage tests
  features        every set of features on the host and on four bare targets
  firmware        the firmware examples on an emulated Cortex-M3 and Cortex-M0, and images of their flash on the host
  size            what the ring costs in flash, against its budget, and the journal, against what features.md says
  instructions    instructions per operation, against the baseline; --bless writes it
  loom            every interleaving of the small models
  membership [SEEDS]  members that pause, die and disagree, so many seeds (default 2000)
  tsan            the thread tests under ThreadSanitizer
  fuzz [SECONDS]  each fuzz target for so long (default 20)
  hostile [SECONDS]  a process that rewrites a shared lease while it is read, for so long (default 10)
  kill [ROUNDS]   processes that share a topic and a group, one killed each round (default 20)
  cuts [full]     power cuts on emulated flash, once, twice and thrice; full: 2.5 million and 10 million of them
  flips [full]    wrong bits in images of journals; full: every bit of many journals
  planted [NAME]  bugs planted in the journal, its files and what stands before it, each of which the tests must find
  crash-states [full]  a journal on files: the power goes, calls fail, files are cut off; full: a million states and more
  kill-store [ROUNDS]  a process that writes a journal on real files, killed each round (default 50)
  bench [WHICH]   the targets beside other queues; processes: only those between processes, in long rounds;
                  full: everything, into RESULTS.md
  flash-economy [ekv]  what the journal reads, programs and erases beside sequential-storage; ekv: and beside ekv, for minutes
                  (either writes ci/bench/FLASH.md)
  bench-durable [full]  the journal in files beside other durable queues; full: a million records, into DURABLE.md"

# In the order in which CI runs them: what fails soonest comes first.
PARTS=(lint test features firmware size flash-economy instructions loom membership tsan fuzz hostile kill cuts flips crash-states kill-store bench)

# Bytes of flash the ring may add to a thumbv7m firmware at opt-level s.
SIZE_BUDGET=3072
# Where features.md states what it does add.
SIZE_ROW="ring, a writer and a reader"
# The same for the journal, and how few bytes it is meant to add. It is not there yet: what fails is growing.
JOURNAL_ROW="journal on NOR flash"
JOURNAL_GOAL=8192
# Random operations and forged images that the long tests must have come through.
LEAST_OPERATIONS=1000000
LEAST_IMAGES=1000000
# Bugs that must be planted, and the tests that find them: those of the journal by itself first, of these what is done soonest.
LEAST_PLANTED=30
PLANTED_TESTS=(journal flips cuts spool shared_journal media crash_states)
# The machines without an operating system that the library is built for.
BARE_TARGETS=(thumbv6m-none-eabi thumbv7m-none-eabi x86_64-unknown-none aarch64-unknown-none)
# `alloc` uses reference counts shared between threads, which need compare-and-swap.
WITHOUT_CAS=(thumbv6m-none-eabi)

# Lower layers first; each may name those before it.
LAYERS="types error name platform lease ring message partition topic offset uri producer consumer group dlq locator durable"

# The only files that may hold unsafe code.
UNSAFE_FILES=(
    src/lease/heap.rs src/lease/memory.rs src/lease/mod.rs src/lease/pool.rs
    src/lease/remote/lease.rs src/lease/remote/loopback.rs src/lease/remote/pool.rs
    src/lease/shared/lease.rs src/lease/shared/pool.rs
    src/platform/block.rs src/platform/memory.rs src/platform/memory_loom.rs src/platform/mod.rs
    src/platform/slot.rs src/platform/unix.rs
    src/ring/copy_reader.rs src/ring/format.rs src/ring/grant.rs src/ring/reader.rs src/ring/shared.rs src/ring/writer.rs
)

# Files outside lib.rs, platform/ and observe/ with a cfg that is neither of tests nor of a whole item of the features
# alloc or postcard, how many, and why.
CFG_EXCEPTIONS=(
    "src/durable/mod.rs 4 files and threads need an operating system"
    "src/lease/memory.rs 2 the model checker's atomics have no constant constructor"
    "src/lease/mod.rs 5 leases that processes share, and the thread that renews, need an operating system; no verbs in the model checker"
    "src/lease/term.rs 2 the same as in memory.rs"
    "src/locator/mod.rs 1 a registry that processes share lies in a lease that they share"
    "src/topic/mod.rs 4 the manager's default type parameters exist with std only"
)

failed() {
    printf 'check: %s\n' "$*" >&2
    return 1
}

contains() {
    local wanted=$1 word
    shift
    for word in "$@"; do
        if [[ $word == "$wanted" ]]; then
            return 0
        fi
    done
    return 1
}

grouped() { # 1234567 -> 1,234,567
    sed -E ':a; s/^([0-9]+)([0-9]{3})/\1,\2/; ta' <<<"$1"
}

SCRATCH="$(mktemp -d "${TMPDIR:-/tmp}/check.XXXXXX")"
trap 'rm -rf "$SCRATCH"' EXIT
LOG="$SCRATCH/log"

# quietly LABEL COMMAND... : runs the command; what it prints goes to $LOG, and is shown only if it fails.
quietly() {
    local label=$1 status=0 started=$SECONDS
    shift
    "$@" >"$LOG" 2>&1 || status=$?
    if ((status != 0)); then
        cat "$LOG"
        failed "$label: status $status" || return "$status"
    fi
    printf '  %s (%d s)\n' "$label" "$((SECONDS - started))"
}
# try COMMAND... : goes on after a failure, and remembers it.
BAD=0
try() {
    "$@" || BAD=$((BAD + 1))
}

none_bad() {
    if ((BAD != 0)); then
        failed "$1: $BAD checks failed"
    fi
}

in_dir() (
    cd "$1" && shift && "$@"
)

# tested LABEL COMMAND... : runs tests quietly and adds up what they say.
PASSED=0
tested() {
    local label=$1 status=0 passed fails
    quietly "$@" || status=$?
    read -r passed fails < <(awk '/^test result:/ { p += $4; f += $6 } END { print p + 0, f + 0 }' "$LOG")
    if [[ -n ${FABRIC_MQ_COUNTS:-} ]]; then
        printf '%s %s %s\n' "$passed" "$fails" "$label" >>"$FABRIC_MQ_COUNTS"
    fi
    if ((status != 0)); then
        return "$status"
    fi
    if ((passed == 0)); then
        failed "$label: not one test ran" || return
    fi
    PASSED=$((PASSED + passed))
}

# survived WORD : adds up the figures of lines like "passed 1234 WORD".
survived() {
    grep -oE "passed [0-9]+ $1" "$LOG" | awk '{ sum += $2 } END { print sum + 0 }'
}

features_of_crate() {
    awk '/^\[/ { here = $0 == "[features]" } here && /^[a-z]/ { print $1 }' Cargo.toml | grep -vx default
}

# Arguments for cargo: no features but those named. A program that links critical-section must bring an implementation;
# on the host its own one for std does.
only() {
    local list="$*"
    if [[ " $list " == *" critical-section "* ]]; then
        list+=" critical-section/std"
    fi
    printf '%s\n' --no-default-features --features "$list"
}

sources() { # all text files of the project
    find . \( -name target -o -name .git -o -path ./ci/fuzz/corpus -o -path ./ci/fuzz/artifacts \) -prune -o -type f "$@" -print
}

crates() { # folders with a Cargo.toml
    sources -name Cargo.toml | xargs -n 1 dirname | sort
}

# Parts are functions with a prefix: some are called like programs that are run here.

# ---------------------------------------------------------------------------------------------------------------- lint

lint_layers() {
    local file
    # shellcheck disable=SC2016  # awk's variables
    find src -name '*.rs' | sort | while read -r file; do
        awk -v layers="$LAYERS" -v file="$file" '
            BEGIN {
                count = split(layers, list, " ")
                for (i = 1; i <= count; i++) rank[list[i]] = i
                own = file
                sub(/^src\//, "", own)
                deep = own ~ /\//
                sub(/[\/.].*/, "", own)
                if (own == "lib") exit
                if (!(own in rank)) { printf "%s: which layer is this? Add it to LAYERS\n", file; exit }
            }
            /^[ \t]*\/\// { next }
            # From inside a module of tests, the layer is one step further up.
            /^mod tests/ { tests = 1 }
            {
                line = $0
                if (tests && line ~ /^[ \t]/) sub(/super::/, "", line)
                if (line ~ /crate::[{*]/) printf "%s:%d: names layers in a group: one `use` for each\n", file, FNR
                if (deep ? line ~ /super::super::/ : line ~ /^(pub(\([a-z]+\))? )?use super::/)
                    printf "%s:%d: leaves its layer by super\n", file, FNR
                while (match(line, /crate::[a-z_]+/)) {
                    other = substr(line, RSTART + 7, RLENGTH - 7)
                    line = substr(line, RSTART + RLENGTH)
                    if (!(other in rank)) printf "%s:%d: %s is no layer\n", file, FNR, other
                    else if (rank[other] > rank[own]) printf "%s:%d: %s names %s above it\n", file, FNR, own, other
                }
            }' "$file" || exit
    done
}

lint_cfg() {
    local file count entry listed
    find src -name '*.rs' ! -path src/lib.rs ! -path 'src/platform/*' ! -path 'src/observe/*' | sort |
        while read -r file; do
            count="$(grep -vE '^[[:space:]]*//' "$file" | grep -E 'cfg(_attr)?!?\(' |
                grep -vcE '^[[:space:]]*#\[cfg\((test|feature = "(alloc|postcard)"|all\(feature = "postcard", feature = "alloc"\))\)\]$' || true)"
            listed=0
            for entry in "${CFG_EXCEPTIONS[@]}"; do
                if [[ ${entry%% *} == "$file" ]]; then
                    listed="$(cut -d' ' -f2 <<<"$entry")"
                fi
            done
            if ((count != listed)); then
                printf '%s: %d cfg of targets or of std, %d expected: they belong in src/platform\n' "$file" "$count" "$listed"
            fi
        done
}

lint_unsafe() {
    local file
    find src -name '*.rs' | sort | while read -r file; do
        if grep -vE '^[[:space:]]*//' "$file" | sed 's/unsafe_[a-z_]*//g' | grep -w unsafe >/dev/null; then
            contains "$file" "${UNSAFE_FILES[@]}" || printf '%s: unsafe code; see UNSAFE_FILES\n' "$file"
        elif contains "$file" "${UNSAFE_FILES[@]}"; then
            printf '%s: listed in UNSAFE_FILES, has no unsafe code\n' "$file"
        fi
    done
    for file in "${UNSAFE_FILES[@]}"; do
        [[ -f $file ]] || printf '%s: listed in UNSAFE_FILES, does not exist\n' "$file"
    done
}

lint_seam() {
    local file
    find src -name '*.rs' ! -path 'src/platform/*' | sort | while read -r file; do
        awk -v file="$file" '
            /^[ \t]*\/\// { next }
            # The one cell that is a lease: its bytes lie in a static.
            file == "src/lease/memory.rs" && /^use core::cell::UnsafeCell;/ { next }
            /(core|std)::sync::(atomic|Mutex|RwLock)|cell::(Unsafe|Ref)Cell|(^|[^a-z_])(spin|critical_section)::|core::arch|loom::/ {
                printf "%s:%d: atomics, cells and locks come from crate::platform\n", file, FNR
            }' "$file" || exit
    done
}

# demand LABEL COMMAND... : the command must have nothing to say.
demand() {
    local label=$1 said
    shift
    said="$("$@")" || failed "$label: could not be checked" || return
    if [[ -n $said ]]; then
        printf '%s\n' "$said" >&2
        failed "$label" || return
    fi
    printf '  %s\n' "$label"
}

lint_ascii() {
    local status=0
    sources ! -name '*.png' | xargs -d '\n' grep -nIP '[^\x00-\x7F]' --color=never || status=$?
    # xargs says 123 where grep has found nothing in the last files.
    ((status == 0 || status == 123))
}

part_lint() {
    local dir set sets=0 shell="not installed" deny="not installed"
    try demand "a layer never names one above it" lint_layers
    try demand "atomics, cells and locks from platform/ alone" lint_seam
    try demand "cfg outside platform/ only as listed" lint_cfg
    try demand "unsafe code only where listed" lint_unsafe
    try demand "ASCII only" lint_ascii
    for dir in $(crates); do
        try quietly "rustfmt $dir" in_dir "$dir" cargo fmt --check
    done
    for set in "--features default" "--no-default-features" "--no-default-features --features alloc" \
        "--no-default-features --features critical-section" "--all-features"; do
        # Clippy takes a type for disallowed by whatever name it is reached, so also by the seam's: lint_seam looks instead.
        # Tests have std: only the library must do without it.
        # shellcheck disable=SC2086  # words
        CLIPPY_CONF_DIR="$ROOT/ci" try quietly "clippy $set" cargo clippy --lib $set -- -D warnings \
            -A clippy::disallowed_types
        # shellcheck disable=SC2086  # words
        CLIPPY_CONF_DIR="$ROOT/ci" try quietly "clippy $set, tests and examples" cargo clippy --all-targets $set -- -D warnings \
            -A clippy::disallowed_types -A clippy::std_instead_of_core -A clippy::std_instead_of_alloc
        sets=$((sets + 1))
    done
    try quietly "clippy ci/instructions" in_dir ci/instructions cargo clippy --locked --all-targets -- -D warnings
    for set in "--features default" "--no-default-features" "--all-features"; do
        # shellcheck disable=SC2086  # words
        RUSTDOCFLAGS="-D warnings" try quietly "rustdoc $set" cargo doc --no-deps $set
    done
    if command -v shellcheck >/dev/null; then
        try quietly shellcheck shellcheck -x ci/check.sh .ci/run ci/lib/*.sh
        shell=clean
    fi
    if command -v cargo-deny >/dev/null; then
        # The advisories need a database that is not in a package archive.
        try quietly cargo-deny cargo deny --all-features --config ci/deny.toml check bans licenses sources
        deny=clean
    fi
    none_bad lint
    printf 'lint: %d source files, %d with unsafe code, %d feature sets without a warning; shellcheck %s, cargo-deny %s\n' \
        "$(find src -name '*.rs' | wc -l)" "${#UNSAFE_FILES[@]}" "$sets" "$shell" "$deny"
}

# ---------------------------------------------------------------------------------------------------------------- test

part_test() {
    local feature args sets=2 operations images
    # .ci/run has just done that, by the README's command.
    if [[ -n ${FABRIC_MQ_DEFAULT_TESTED:-} ]]; then
        printf '  default: tested before\n'
    else
        try tested "default" cargo test --no-fail-fast
    fi
    mapfile -t args < <(only)
    try tested "no features" cargo test --no-fail-fast "${args[@]}"
    for feature in $(features_of_crate); do
        if [[ $feature == std ]]; then
            continue # the default set
        fi
        mapfile -t args < <(only "$feature")
        try tested "$feature alone" cargo test --no-fail-fast "${args[@]}"
        sets=$((sets + 1))
    done
    try tested "all features" cargo test --no-fail-fast --all-features --features critical-section/std
    sets=$((sets + 1))
    # Scales at which these come through the least counts, and the threads through some seconds.
    FABRIC_MQ_SCALE=10 try tested "model, long" cargo test --release --test model -- --nocapture
    operations="$(survived operations)"
    FABRIC_MQ_SCALE=50 try tested "hostile, long" cargo test --release --test hostile -- --nocapture
    images="$(survived images)"
    FABRIC_MQ_SCALE=4 try tested "threads, optimised" cargo test --release --test threads
    none_bad test
    if ((operations < LEAST_OPERATIONS || images < LEAST_IMAGES)); then
        failed "too few: $operations operations of $LEAST_OPERATIONS, $images images of $LEAST_IMAGES" || return
    fi
    printf 'test: %s passed, 0 failed, %d feature sets; the model agreed on %s operations, %s images were survived\n' \
        "$(grouped "$PASSED")" "$sets" "$(grouped "$operations")" "$(grouped "$images")"
}

# ------------------------------------------------------------------------------------------------------------ features

# Each set of features, one a line; `std` among them only where there is an operating system.
sets_of() {
    local names=("$@") set bit line
    for ((set = 0; set < 1 << ${#names[@]}; set++)); do
        line=""
        for ((bit = 0; bit < ${#names[@]}; bit++)); do
            if ((set >> bit & 1)); then
                line+="${names[bit]} "
            fi
        done
        printf '%s\n' "$line"
    done
}

without_warning() {
    if grep -q '^warning' "$LOG"; then
        cat "$LOG"
        failed "$1: warnings" || return
    fi
}

part_features() {
    local names bare=() name set target host=0 built=0 refused=0
    mapfile -t names < <(features_of_crate)
    for name in "${names[@]}"; do
        [[ $name == std ]] || bare+=("$name")
    done
    while read -r set; do
        quietly "host: ${set:-none}" cargo check --lib --no-default-features --features "$set"
        without_warning "$set"
        host=$((host + 1))
    done < <(sets_of "${names[@]}")
    for target in "${BARE_TARGETS[@]}"; do
        while read -r set; do
            # shellcheck disable=SC2086  # words
            if [[ " $set " == *" alloc "* ]] && contains "$target" "${WITHOUT_CAS[@]}"; then
                # features.md says that this cannot be: it must still be so, or the page is out of date.
                if bare_build "$target" $set >"$LOG" 2>&1; then
                    failed "$target: $set was built, but features.md says that alloc needs compare-and-swap" || return
                fi
                if ! grep -q 'needs compare-and-swap' "$LOG"; then
                    cat "$LOG"
                    failed "$target: $set fails, but not by saying that alloc needs compare-and-swap" || return
                fi
                refused=$((refused + 1))
                continue
            fi
            # shellcheck disable=SC2086  # words
            quietly "$target: ${set:-none}" bare_build "$target" $set
            without_warning "$target: $set"
            built=$((built + 1))
        done < <(sets_of "${bare[@]}")
    done
    printf 'features: %d sets of %d features on the host, %d builds on %d bare targets, %d refused for want of compare-and-swap\n' \
        "$host" "${#names[@]}" "$built" "${#BARE_TARGETS[@]}" "$refused"
}

# ------------------------------------------------------------------------------------------------------------ firmware

# What a machine says, behind what the emulator says of it: never one within the other.
firmware_says() {
    local status=0
    "firmware_run_$1" "${@:2}" >"$SCRATCH/said" || status=$?
    cat "$SCRATCH/said"
    return "$status"
}

firmware_on() {
    local machine=$1 target=$2 program
    quietly "build for $target" firmware_build examples/firmware "$target" --locked
    for program in fabric-mq-firmware fabric-mq-firmware-task fabric-mq-firmware-flash; do
        # The last one writes images of its flash.
        quietly "run $program on $machine" firmware_says "$machine" "$(firmware_elf "$target" "$program")" \
            -append "images=$SCRATCH/images/$machine"
        cat "$LOG"
        if [[ "$(tail -n 1 "$LOG")" != ok ]]; then
            failed "$program on $machine did not end with ok" || return
        fi
        RECEIVED=$((RECEIVED + $(awk 'NF == 5 && $2 ~ /^[0-9]+$/ { sum += $2 } END { print sum + 0 }' "$LOG")))
        LOST=$((LOST + $(awk 'NF == 5 && $2 ~ /^[0-9]+$/ { sum += $3 } END { print sum + 0 }' "$LOG")))
    done
    CUTS=$((CUTS + $(awk 'NF == 5 && $1 == "flash" { sum += $4 } END { print sum + 0 }' "$LOG")))
    cp "$LOG" "$SCRATCH/images/$machine.log"
}

part_firmware() {
    local images
    RECEIVED=0 LOST=0 CUTS=0
    mkdir "$SCRATCH/images"
    firmware_on m3 thumbv7m-none-eabi
    firmware_on m0 thumbv6m-none-eabi
    if ((RECEIVED == 0 || CUTS == 0)); then
        failed "the firmware received nothing, or kept its power" || return
    fi
    FABRIC_MQ_IMAGES="$SCRATCH/images" tested "images of the flash" \
        cargo test --features durable --test firmware_flash -- --ignored --nocapture
    images="$(survived images)"
    # One before each cut and one behind the last, and the end.
    if ((images != CUTS + 4)); then
        failed "firmware: $images images were looked at, of two machines with $CUTS power cuts" || return
    fi
    printf 'firmware: two main loops and a task ok on Cortex-M3 and Cortex-M0; %s readings received, %s overwritten and told, none unaccounted for; %d power cuts took nothing that was stored, %d images of flash opened on the host with %s readings\n' \
        "$(grouped "$RECEIVED")" "$(grouped "$LOST")" "$CUTS" "$images" "$(grouped "$(survived records)")"
}

# ---------------------------------------------------------------------------------------------------------------- size

# stated_size ROW : the figure that features.md states.
stated_size() {
    awk -F ' *[|] *' -v row="$1" '$2 == row { gsub(",", "", $3); print $3 }' features.md
}

part_size() {
    local target=thumbv7m-none-eabi empty ring added stated journal journal_stated above=""
    quietly "build for $target" firmware_build ci/size "$target" --locked
    empty="$(firmware_text_size "$(firmware_elf "$target" empty)")"
    ring="$(firmware_text_size "$(firmware_elf "$target" ring)")"
    added=$((ring - empty))
    stated="$(stated_size "$SIZE_ROW")"
    if ((added <= 0 || added > SIZE_BUDGET)); then
        failed "size: the ring adds $added bytes, the budget is $SIZE_BUDGET" || return
    fi
    if [[ -z $stated ]] || ((stated < added)); then
        failed "size: the ring adds $added bytes, features.md says ${stated:-nothing}" || return
    fi
    journal=$(($(firmware_text_size "$(firmware_elf "$target" journal)") - empty))
    journal_stated="$(stated_size "$JOURNAL_ROW")"
    if [[ -z $journal_stated ]] || ((journal <= 0 || journal_stated < journal)); then
        failed "size: the journal adds $journal bytes, features.md says ${journal_stated:-nothing}" || return
    fi
    if ((journal > JOURNAL_GOAL)); then
        above=", MISSED"
    fi
    printf 'size: ring +%s bytes of %s (thumbv7m, opt-level s; empty firmware %s); features.md says %s; ' \
        "$(grouped "$added")" "$(grouped "$SIZE_BUDGET")" "$(grouped "$empty")" "$(grouped "$stated")"
    printf 'journal +%s, features.md says %s (meant to be %s%s)\n' \
        "$(grouped "$journal")" "$(grouped "$journal_stated")" "$(grouped "$JOURNAL_GOAL")" "$above"
}

# -------------------------------------------------------------------------------------------------------- instructions

part_instructions() {
    command -v valgrind >/dev/null || firmware_packages valgrind
    tested "operations and baseline" in_dir ci/instructions cargo test --release --locked
    quietly "build" in_dir ci/instructions cargo build --release --locked
    "$CARGO_TARGET_DIR/release/fabric-mq-instructions" "$@"
}

# ---------------------------------------------------------------------------------------------------------------- loom

part_loom() {
    # shellcheck disable=SC2031  # the subshell that sets these is in_dir's
    export RUSTFLAGS="${RUSTFLAGS:-} --cfg loom" CARGO_TARGET_DIR="$CARGO_TARGET_DIR/loom"
    tested "models" cargo test --release --test loom --test loom_group --test loom_locator --test loom_takeover --test loom_wait -- \
        --nocapture
    printf 'loom: %s models passed, every interleaving within their bounds\n' "$(grouped "$PASSED")"
}

# ---------------------------------------------------------------------------------------------------------- membership

part_membership() {
    local seeds=${1:-2000} shown
    [[ $seeds =~ ^[1-9][0-9]*$ ]] || usage
    # Scale 1 is 200 seeds.
    FABRIC_MQ_SCALE=$(((seeds + 199) / 200)) tested "simulation" \
        cargo test --release --test membership -- --nocapture
    shown="$(grep -oE 'passed [0-9]+ seeds: .*' "$LOG")"
    if (("$(survived seeds)" < seeds)); then
        failed "membership: $shown" || return
    fi
    printf 'membership: %s\n' "$shown"
}

# ---------------------------------------------------------------------------------------------------------------- tsan

part_tsan() {
    local host
    host="$(rustc -vV | sed -n 's/^host: //p')"
    # The sanitizer's runtime is in stable toolchains, the flag is not. A target has to be named: else build scripts and
    # macros would be instrumented too.
    # shellcheck disable=SC2031  # the subshell that sets these is in_dir's
    export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$CARGO_TARGET_DIR/tsan"
    export RUSTFLAGS="${RUSTFLAGS:-} -Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer"
    export TSAN_OPTIONS="halt_on_error=1 suppressions=$ROOT/ci/tsan/suppressions.txt"
    # Its shadow memory wants a fixed address space. One test at a time: fewer hand-overs of the harness, which it cannot see.
    tested "threads" setarch -R cargo test --target "$host" --test threads -- --test-threads=1
    printf 'tsan: %s thread tests passed, no data race\n' "$(grouped "$PASSED")"
}

# ---------------------------------------------------------------------------------------------------------------- fuzz

part_fuzz() {
    local seconds=${1:-20} host target image out corpus runs=0 count targets=0
    [[ $seconds =~ ^[1-9][0-9]*$ ]] || usage
    host="$(rustc -vV | sed -n 's/^host: //p')"
    command -v c++ >/dev/null || firmware_packages g++
    # What cargo-fuzz would pass, so that a stable toolchain does without it: edge counters, compared values, addresses.
    # shellcheck disable=SC2031  # the subshell that sets these is in_dir's
    export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$CARGO_TARGET_DIR/fuzz"
    export RUSTFLAGS="${RUSTFLAGS:-} --cfg fuzzing -Zsanitizer=address -Cunsafe-allow-abi-mismatch=sanitizer \
        -Cdebug-assertions -Coverflow-checks -Ccodegen-units=1 -Cpasses=sancov-module \
        -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
    # Optimising across crates costs minutes here, and hides the edges between them.
    export CARGO_PROFILE_RELEASE_LTO=false
    quietly "build" in_dir ci/fuzz cargo build --release --locked --target "$host"
    for target in ci/fuzz/fuzz_targets/*.rs; do
        target="$(basename "$target" .rs)"
        out="$CARGO_TARGET_DIR/artifacts/$target/"
        corpus="$CARGO_TARGET_DIR/corpus/$target"
        mkdir -p "$out" "$corpus"
        local given=("$corpus")
        # What cargo-fuzz has collected here, if anybody ran it.
        if [[ -d ci/fuzz/corpus/$target ]]; then
            given+=("ci/fuzz/corpus/$target")
        fi
        if [[ $target == attach ]]; then
            mkdir -p "$SCRATCH/golden"
            for image in tests/golden/*.bin; do
                # The first byte says how the image is opened.
                { printf '\0' && cat "$image"; } >"$SCRATCH/golden/$(basename "$image")"
            done
            given+=("$SCRATCH/golden")
        fi
        quietly "$target" "$CARGO_TARGET_DIR/$host/release/$target" -max_total_time="$seconds" -max_len=4096 -timeout=10 \
            -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$out" "${given[@]}"
        count="$(awk '/^stat::number_of_executed_units:/ { print $2 }' "$LOG")"
        if ((${count:-0} == 0)); then
            failed "fuzz: $target executed nothing" || return
        fi
        runs=$((runs + count))
        targets=$((targets + 1))
    done
    printf 'fuzz: %d targets, %s executions in %d s each, none crashed, hung or read out of bounds\n' \
        "$targets" "$(grouped "$runs")" "$seconds"
}

# ------------------------------------------------------------------------------------------------------------- hostile

part_hostile() {
    local seconds=${1:-10} rounds
    [[ $seconds =~ ^[1-9][0-9]*$ ]] || usage
    FABRIC_MQ_SECONDS=$seconds tested "peers for $seconds s" cargo test --release --test hostile_peer -- --nocapture
    rounds="$(survived rounds)"
    tested "lenders that must not compile" cargo test --doc Untrusted
    printf 'hostile: %s rounds beside processes that rewrote the lease for %d s each, none crashed, hung or was misled\n' \
        "$(grouped "$rounds")" "$seconds"
}

# ---------------------------------------------------------------------------------------------------------------- kill

part_kill() {
    local rounds=${1:-20}
    [[ $rounds =~ ^[1-9][0-9]*$ ]] || usage
    quietly "build" cargo build --release --example shared_memory
    FABRIC_MQ_ROUNDS=$rounds tested "$rounds rounds" cargo test --release --test kill -- --nocapture --test-threads=1
    if (("$(survived rounds)" < rounds)); then
        failed "kill: fewer than $rounds rounds" || return
    fi
    printf 'kill: %s\n' "$(sed -n 's/.*passed [0-9]* rounds: //p' "$LOG")"
}

# ---------------------------------------------------------------------------------------------------------------- cuts

part_cuts() {
    local scale=2 least=(100000 100000)
    if [[ ${1:-} == full ]]; then
        scale=8 least=(2500000 10000000)
    elif (($#)); then
        usage
    fi
    FABRIC_MQ_SCALE=$scale tested "cuts" cargo test --release --features durable --test cuts -- --nocapture
    if (("$(survived cuts)" < least[0] || "$(survived pairs)" < least[1])); then
        failed "cuts: fewer than ${least[*]}" || return
    fi
    printf 'cuts: %s cuts, %s pairs, %s triples, 0 violations\n' "$(grouped "$(survived cuts)")" \
        "$(grouped "$(survived pairs)")" "$(grouped "$(survived triples)")"
}

# --------------------------------------------------------------------------------------------------------------- flips

part_flips() {
    local scale=2
    if [[ ${1:-} == full ]]; then
        scale=64
    elif (($#)); then
        usage
    fi
    FABRIC_MQ_SCALE=$scale tested "flips" cargo test --release --features durable --test flips -- --nocapture
    printf 'flips: %s bits, %s pairs of bits, %s wrong segments, 0 not noticed\n' "$(grouped "$(survived flips)")" \
        "$(grouped "$(survived pairs)")" "$(grouped "$(survived segments)")"
}

# ------------------------------------------------------------------------------------------------------------- planted

# Whether a test fails in a tree, and not for want of a build. One that did not end in time has found nothing.
fails_in() { # TREE TEST
    local status=0
    quietly "build of $2" in_dir "$1" cargo test --release --no-run --features durable --test "$2" >"$SCRATCH/build" || {
        cat "$SCRATCH/build"
        exit 1
    }
    in_dir "$1" timeout 120 cargo test --release --features durable --test "$2" >"$LOG" 2>&1 || status=$?
    ((status != 0 && status != 124)) && grep -q '^test .* FAILED$\|^test result: FAILED' "$LOG"
}

# Each patch plants one bug in a copy of the tree; the tests that its first line names (all of the journal by itself if there
# is none) have to find it, one after the other until one fails there.
part_planted() {
    local tree="$SCRATCH/tree" patch name test tests found started caught=0 missed=() all=(ci/planted/*.patch)
    export CARGO_TARGET_DIR="$CARGO_TARGET_DIR/planted" CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
    if ((${#all[@]} < LEAST_PLANTED)); then
        failed "planted: ${#all[@]} bugs, of at least $LEAST_PLANTED" || return
    fi
    mkdir -p "$tree"
    git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$tree"
    if [[ -z ${1:-} ]]; then
        # What fails where nothing is planted finds nothing.
        for test in "${PLANTED_TESTS[@]}"; do
            if fails_in "$tree" "$test"; then
                cat "$LOG"
                failed "planted: $test fails without" || return
            fi
        done
    fi
    for patch in ci/planted/*"${1:-}"*.patch; do
        name="$(basename "$patch" .patch)" started=$SECONDS found=""
        read -ra tests < <(sed -n '1s/^tests: //p' "$patch" && echo)
        if ((${#tests[@]} == 0)); then
            tests=("${PLANTED_TESTS[@]:0:3}")
        fi
        for test in "${tests[@]}"; do
            if ! contains "$test" "${PLANTED_TESTS[@]}"; then
                failed "planted: $name names $test, which is none of ${PLANTED_TESTS[*]}" || return
            fi
        done
        if ! patch --quiet --directory "$tree" -p1 --forward <"$patch"; then
            failed "planted: $name does not apply" || return
        fi
        for test in "${tests[@]}"; do
            if fails_in "$tree" "$test"; then
                found=$test
                break
            fi
        done
        if [[ -n $found ]]; then
            caught=$((caught + 1))
        else
            missed+=("$name")
        fi
        printf '  %s: %s (%d s)\n' "$name" "${found:-not found}" "$((SECONDS - started))"
        patch --quiet --directory "$tree" -p1 --reverse <"$patch"
    done
    if ((${#missed[@]} != 0)); then
        failed "planted: not found: ${missed[*]}" || return
    fi
    printf 'planted: %d bugs, all found\n' "$caught"
}

# -------------------------------------------------------------------------------------------------------- crash states

part_crash-states() {
    local states fewest=20000 settings=() profile=()
    case ${1:-} in
    "") ;;
    full) fewest=1000000 settings=(FABRIC_MQ_SCALE=100) profile=(--release) ;;
    *) usage ;;
    esac
    tested "states" env "${settings[@]}" cargo test "${profile[@]}" --all-features --features critical-section/std --test crash_states -- --nocapture
    states="$(survived states)"
    if ((states < fewest)); then
        failed "crash-states: $states of $fewest" || return
    fi
    grep -oE 'passed [0-9]+ states: .*' "$LOG" | sed 's/^/  /'
    printf 'crash-states: %s states of a journal on files; nothing acknowledged was lost, nothing else was read, all went on\n' \
        "$(grouped "$states")"
}

# ---------------------------------------------------------------------------------------------------------- kill store

part_kill-store() {
    local rounds=${1:-50}
    [[ $rounds =~ ^[1-9][0-9]*$ ]] || usage
    FABRIC_MQ_ROUNDS=$rounds tested "$rounds rounds" cargo test --all-features --features critical-section/std --test kill_store -- --nocapture
    if (("$(survived rounds)" < rounds)); then
        failed "kill-store: fewer than $rounds rounds" || return
    fi
    printf 'kill-store: %s\n' "$(sed -n 's/.*passed [0-9]* rounds: //p' "$LOG")"
}

# --------------------------------------------------------------------------------------------------------------- bench

# iceoryx2 alone needs it: without, there are no targets between processes.
has_libclang() {
    { command -v ldconfig >/dev/null && ldconfig -p | grep -q 'libclang[-.]'; } || firmware_packages libclang-dev
}

part_bench() {
    local features=()
    # The rival between processes takes minutes to build: in CI's run the ones within a process do.
    if [[ ${1:-} == "" ]]; then
        printf '  without iceoryx2 and the targets between processes: bench processes has them\n'
    elif has_libclang; then
        features=(--features iceoryx2)
    elif [[ ${1:-} == processes ]]; then
        failed "bench: nothing to compare processes with" || return
    else
        printf '  no libclang: without iceoryx2, and without the targets between processes\n'
    fi
    case ${1:-} in
    full)
        in_dir ci/bench cargo run --release --locked "${features[@]}"
        printf 'bench: written to ci/bench/RESULTS.md\n'
        ;;
    "" | processes)
        local status=0 met missed which=(--quick)
        if [[ ${1:-} == processes ]]; then
            which=(--workload "X1,X2")
        fi
        quietly "build" in_dir ci/bench cargo build --release --locked "${features[@]}"
        in_dir ci/bench cargo run --release --locked "${features[@]}" -- "${which[@]}" --check 2>&1 |
            tee "$LOG" || status=$?
        met="$(grep -c '| ok$' "$LOG" || true)"
        missed="$(grep -c '| MISSED$' "$LOG" || true)"
        if ((met + missed == 0)); then
            failed "bench: nothing was measured, status $status" || return
        fi
        # Other users of a machine move these figures by more than what a change does: a miss is told, and does not fail.
        printf 'bench: %d targets met, %d missed (report only; noise of the machine included)\n' "$met" "$missed"
        ;;
    *)
        usage
        ;;
    esac
}

# ------------------------------------------------------------------------------------------------------- flash-economy

part_flash-economy() {
    local status=0 met missed features=()
    case ${1:-} in
    "") ;;
    ekv) features=(--features ekv) ;;
    *) usage ;;
    esac
    quietly "build" in_dir ci/flash cargo build --release --locked "${features[@]}"
    "$CARGO_TARGET_DIR/release/fabric-mq-flash" --write >"$LOG" || status=$?
    cat "$LOG"
    met="$(grep -c '| ok |$' "$LOG" || true)"
    missed="$(grep -c '| MISSED |$' "$LOG" || true)"
    if ((met == 0 || status > 1)); then
        failed "flash-economy: nothing was counted, status $status" || return
    fi
    # What is known not to be so is stated with its cause in the crate, and counts as known; anything else fails.
    if ((status != 0)); then
        failed "flash-economy: $missed targets missed" || return
    fi
    printf 'flash-economy: %d targets met, %d known to be missed, none else; written to ci/bench/FLASH.md\n' "$met" \
        "$(grep -c '| missed: ' "$LOG" || true)"
}

# ------------------------------------------------------------------------------------------------------- bench-durable

part_bench-durable() {
    local met missed words=()
    case ${1:-} in
    "") ;;
    full) words=(--full) ;;
    *) usage ;;
    esac
    quietly "build" in_dir ci/bench cargo build --release --locked --features durable --bin durable
    "$CARGO_TARGET_DIR/release/durable" "${words[@]}" | tee "$LOG"
    met="$(grep -c '| ok |$' "$LOG" || true)"
    missed="$(grep -c '| MISSED |$' "$LOG" || true)"
    if ((met + missed == 0)); then
        failed "bench-durable: nothing was measured" || return
    fi
    # As above: the machine moves these figures more than a change does.
    printf 'bench-durable: %d targets met, %d missed (report only; noise of the machine included)\n' "$met" "$missed"
}

# ----------------------------------------------------------------------------------------------------------------- all

usage() {
    printf '%s\n' "$USAGE" >&2
    exit 2
}

part_all() {
    local part status started bad=()
    export FABRIC_MQ_COUNTS="${FABRIC_MQ_COUNTS:-$SCRATCH/counts}"
    touch "$FABRIC_MQ_COUNTS"
    local report=()
    for part in "${PARTS[@]}"; do
        printf '\n== %s\n' "$part"
        started=$SECONDS
        status=0
        # A part that hangs is a part that fails.
        timeout --kill-after=10 "${CHECK_TIMEOUT:-1200}" bash "$SELF" "$part" || status=$?
        if ((status != 0)); then
            bad+=("$part")
        fi
        report+=("$(printf '%-13s %5d s  %s' "$part" "$((SECONDS - started))" "$( ((status == 0)) && echo ok || echo "FAILED ($status)")")")
    done
    printf '\n'
    printf '%s\n' "${report[@]}"
    printf '%d of %d parts ok%s\n' "$((${#PARTS[@]} - ${#bad[@]}))" "${#PARTS[@]}" "${bad:+, failed: ${bad[*]}}"
    awk '{ p += $1; f += $2 } END { printf "%d passed, %d failed\n", p, f }' "$FABRIC_MQ_COUNTS"
    ((${#bad[@]} == 0))
}

part=${1:-all}
case $part in
help | --help | -h)
    printf '%s\n' "$USAGE"
    exit
    ;;
all | lint | test | features | firmware | size | loom | tsan) (($# <= 1)) || usage ;;
fuzz | hostile | kill | crash-states | kill-store | bench | membership | cuts | flips | planted | flash-economy | bench-durable) (($# <= 2)) || usage ;;
instructions) [[ $# == 1 || ($# == 2 && $2 == --bless) ]] || usage ;;
*) usage ;;
esac
"part_$part" "${@:2}"
