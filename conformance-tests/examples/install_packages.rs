//! Installs the system packages that the tests need, and says which.

fn main() -> anyhow::Result<()> {
    let installed = bootwright_conformance::packages::ensure_installed(&|line| println!("{line}"))?;
    println!("{} packages were installed", installed.len());
    Ok(())
}
