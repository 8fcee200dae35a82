# shellcheck shell=bash
#
# Building, running and weighing bare-metal code. Source this file; it defines functions only.
#
#   firmware_build examples/firmware thumbv7m-none-eabi --locked
#   firmware_run_m3 "$(firmware_elf thumbv7m-none-eabi fabric-mq-firmware)"
#   bare_build x86_64-unknown-none alloc
#
# A target that rustup has installed is built with rustup's toolchain. Otherwise Debian's own
# compiler builds `core` and `alloc` from the library sources Debian ships, which needs no target to
# be installed; the packages are fetched on first use. The two toolchains never share a target
# directory, since neither can read what the other has compiled.
#
# FIRMWARE_TIMEOUT: seconds an emulated machine may run before it counts as hung (default 120).

FIRMWARE_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"

# Set by firmware_toolchain for the target it was asked for.
FIRMWARE_CARGO=()    # the cargo command, environment included
FIRMWARE_ARGS=()     # arguments every build needs
FIRMWARE_LINK=()     # rustc flags for linking a whole program
FIRMWARE_OUT=""      # target directory

firmware_fail() {
    printf 'firmware: %s\n' "$*" >&2
    return 1
}

# firmware_packages PACKAGE... : has the Debian packages installed, or fails saying why not.
firmware_packages() {
    local package
    local missing=()
    local as_root=()
    for package in "$@"; do
        if [[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]]; then
            missing+=("$package")
        fi
    done
    if ((${#missing[@]} == 0)); then
        return 0
    fi
    if ! command -v apt-get >/dev/null; then
        firmware_fail "needs ${missing[*]}, and there is no apt-get here to install them with"
        return 1
    fi
    if ((EUID != 0)); then
        if ! command -v sudo >/dev/null; then
            firmware_fail "needs ${missing[*]}; run as root: apt-get install ${missing[*]}"
            return 1
        fi
        as_root=(sudo -n)
    fi
    # A stale package list names versions the archive no longer has.
    if ! "${as_root[@]}" apt-get -qq update >&2 ||
        ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y \
            --no-install-recommends -o Dpkg::Use-Pty=0 "${missing[@]}" >/dev/null; then
        firmware_fail "apt-get could not install ${missing[*]}"
        return 1
    fi
}

# firmware_toolchain TARGET : sets the FIRMWARE_* variables above for TARGET.
firmware_toolchain() {
    local target=$1
    local out="${CARGO_TARGET_DIR:-$FIRMWARE_ROOT/target}"
    if command -v rustup >/dev/null &&
        rustup target list --installed 2>/dev/null | grep -Fxq -- "$target"; then
        FIRMWARE_CARGO=(cargo)
        FIRMWARE_ARGS=(--target "$target")
        FIRMWARE_LINK=()
        FIRMWARE_OUT="$out/firmware-rustup"
    else
        firmware_packages rustc-web cargo-web rust-web-src lld || return 1
        # build-std is unstable, and the sources are those of exactly this compiler.
        FIRMWARE_CARGO=(env RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc /usr/bin/cargo)
        FIRMWARE_ARGS=(-Z "build-std=core,alloc" --target "$target")
        FIRMWARE_LINK=(-C linker=ld.lld -C linker-flavor=ld.lld)
        FIRMWARE_OUT="$out/firmware-debian"
    fi
}

# firmware_cargo COMMAND ARG... : runs the cargo firmware_toolchain chose.
firmware_cargo() {
    CARGO_TARGET_DIR="$FIRMWARE_OUT" "${FIRMWARE_CARGO[@]}" "$1" "${FIRMWARE_ARGS[@]}" "${@:2}"
}

# firmware_build CRATE_DIR TARGET [CARGO_ARG...] : builds a firmware crate in the release profile.
firmware_build() {
    local dir=$1
    local target=$2
    shift 2
    firmware_toolchain "$target" || return 1
    # Cargo finds its configuration, and the crate, from the directory it is started in.
    (
        cd "$dir" || exit 1
        if ((${#FIRMWARE_LINK[@]} != 0)); then
            export RUSTFLAGS="${RUSTFLAGS:-} ${FIRMWARE_LINK[*]}"
        fi
        firmware_cargo build --release "$@"
    )
}

# firmware_elf TARGET NAME : prints the path of a program firmware_build has built.
firmware_elf() {
    firmware_toolchain "$1" || return 1
    printf '%s/%s/release/%s\n' "$FIRMWARE_OUT" "$1" "$2"
}

# bare_build TARGET [FEATURE...] : builds the library alone for a machine without an operating
# system, with no features but those named. A target without compare-and-swap refuses `alloc`.
bare_build() {
    local target=$1
    local features
    shift
    features="$(IFS=,; printf '%s' "$*")"
    firmware_toolchain "$target" || return 1
    # Whether it builds is what is asked: optimising takes three quarters of the time.
    (
        export CARGO_PROFILE_DEV_OPT_LEVEL=0 CARGO_PROFILE_DEV_DEBUG=0
        cd "$FIRMWARE_ROOT" &&
            firmware_cargo build --lib --no-default-features --features "$features"
    )
}

# firmware_qemu QEMU_ARG... : runs the emulator; its output is printed and its status handed on.
firmware_qemu() {
    local status=0
    firmware_packages qemu-system-arm || return 1
    # -icount makes time a count of instructions, 64 ns each (a core of about 16 MHz): the same
    # run every time, however busy the host is. With sleep=off an idle core skips to its next
    # interrupt.
    timeout --kill-after=5 "${FIRMWARE_TIMEOUT:-120}" qemu-system-arm \
        -display none -serial none -monitor none \
        -semihosting-config enable=on,target=native -icount shift=6,sleep=off \
        "$@" </dev/null || status=$?
    if ((status == 124 || status == 137)); then
        firmware_fail "no end after ${FIRMWARE_TIMEOUT:-120} s: stopped" || true
    fi
    return "$status"
}

# firmware_run_m3 ELF [QEMU_ARG...] : Cortex-M3, 256 KiB flash, 64 KiB RAM. A program that asks for
# its command line by semihosting is given what stands behind -append. The emulator itself says
# "Timer with period zero, disabling" of a timer this machine has and nothing here uses.
firmware_run_m3() {
    firmware_qemu -machine lm3s6965evb -cpu cortex-m3 -kernel "$@"
}

# firmware_run_m0 ELF [QEMU_ARG...] : Cortex-M0 (no compare-and-swap), 256 KiB flash, 16 KiB RAM.
firmware_run_m0() {
    firmware_qemu -machine microbit -kernel "$@"
}

# firmware_text_size ELF : prints the bytes of code and constants, vector table included.
firmware_text_size() {
    local tool
    for tool in size llvm-size; do
        if command -v "$tool" >/dev/null; then
            # Both print the sizes of one file below a line of headings.
            "$tool" "$1" | awk 'NR == 2 { print $1; found = 1 } END { exit !found }'
            return
        fi
    done
    if ! command -v readelf >/dev/null; then
        firmware_fail "needs size, llvm-size or readelf"
        return 1
    fi
    # What size counts as text: allocated sections that are not writable and take room in the file.
    readelf --wide --section-headers "$1" | sed 's/^ *\[ *[0-9]*\] *//' | awk '
        $2 != "NOBITS" && $7 ~ /A/ && $7 !~ /W/ { print "0x" $5 }
    ' | {
        local bytes=0
        local hex
        while read -r hex; do
            bytes=$((bytes + hex))
        done
        printf '%d\n' "$bytes"
    }
}
