//! Names of processor architectures: OCI's (Go's), the kernel's, Rust's.

/// OCI's name (`GOARCH`, as the image specification's "Image Configuration" demands) for a kernel's or Rust's name. A name that is not in the
/// table is returned as it is: it may be OCI's already.
pub fn oci_name(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" | "i386" | "i486" | "i586" | "i686" => "386",
        "armv6l" | "armv7l" | "armhf" => "arm",
        // Rust has one name for both byte orders; Linux systems of today are little-endian.
        "powerpc64" | "powerpc64le" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

/// The architecture of this machine, as OCI calls it.
pub fn host() -> &'static str {
    oci_name(std::env::consts::ARCH)
}

/// Whether two names, from whichever of the three worlds, mean one architecture.
pub fn same(a: &str, b: &str) -> bool {
    oci_name(a) == oci_name(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_three_worlds_meet() {
        for (a, b) in [("x86_64", "amd64"), ("aarch64", "arm64"), ("i686", "386"), ("riscv64", "riscv64")] {
            assert!(same(a, b), "{a} and {b}");
        }
        assert!(!same("x86_64", "386"));
    }
}
