# Runs before anything is installed. "$1" is the root of the new system; what is between @ is replaced.
set -eu
mkdir -p "$1/etc/apt/preferences.d"
cat > "$1/etc/apt/preferences.d/next-release" <<'END'
Package: *
Pin: release n=@suite@
Pin-Priority: 100

Package: @packages@
Pin: release n=@suite@
Pin-Priority: 990
END
