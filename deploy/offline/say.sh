# Sourced by the build scripts: one voice for what is said, one way to fail, one way to be root.
say() { printf '[natscope] %s\n' "$*"; }
fail() {
    printf '[natscope] error: %s\n' "$*" >&2
    exit 1
}
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo --non-interactive "$@"; fi
}
