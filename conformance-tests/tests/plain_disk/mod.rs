//! A disk that boots the composed image without Bootwright: systemd-boot on the ESP, and the image's files
//! as they are on an ext4 root. It shows that image and harness work, whatever the plugins do.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use bootwright_conformance::{
    host::{command, privileged, run},
    images::OciImage,
};

const MIB: u64 = 1 << 20;
const ESP_MIB: u64 = 64;
const ROOT_MIB: u64 = 512;
const ROOT_TYPE: &str = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709";

/// Unpacks layers into a tmpfs of a private mount namespace, and makes an ext4 of it.
const UNPACK: &str = r#"
set -eu
root=$1 output=$2
shift 2
mount -t tmpfs -o mode=0755 tmpfs "$root"
for layer; do tar -xzf "$layer" -C "$root"; done
mke2fs -q -t ext4 -L root -d "$root" "$output"
"#;

/// Writes the disk image `disk`, using `scratch` for the partitions on the way.
pub fn make(image: &OciImage, kernel_arguments: &[String], scratch: &Path, disk: &Path) -> Result<()> {
    let (esp, root) = (scratch.join("esp.img"), scratch.join("root.img"));
    make_esp(image, kernel_arguments, scratch, &esp)?;
    make_root(image, scratch, &root)?;
    sized(disk, ESP_MIB + ROOT_MIB + 2)?;
    let table =
        format!("label: gpt\nstart=1MiB, size={ESP_MIB}MiB, type=U\nsize={ROOT_MIB}MiB, type={ROOT_TYPE}\n");
    let mut sfdisk = command("sfdisk").arg("--quiet").arg(disk).stdin(Stdio::piped()).spawn()?;
    std::io::Write::write_all(&mut sfdisk.stdin.take().context("no input")?, table.as_bytes())?;
    anyhow::ensure!(sfdisk.wait()?.success(), "sfdisk did not succeed");
    place(&esp, disk, 1)?;
    place(&root, disk, 1 + ESP_MIB)
}

fn make_esp(image: &OciImage, kernel_arguments: &[String], scratch: &Path, esp: &Path) -> Result<()> {
    let modules = format!("/usr/lib/modules/{}", image.kernel_version()?);
    let read = |path: &str| image.read_file(path)?.with_context(|| format!("the image has no {path}"));
    let options = kernel_arguments.join(" ");
    let entry = format!("title plain\nlinux /linux\ninitrd /initrd\noptions root=LABEL=root {options}\n");
    sized(esp, ESP_MIB)?;
    run(command("mkfs.vfat").args(["-F", "32", "-n", "ESP"]).arg(esp))?;
    run(command("mmd").arg("-i").arg(esp).args(["::/EFI", "::/EFI/BOOT", "::/loader", "::/loader/entries"]))?;
    for (name, bytes) in [
        ("EFI/BOOT/BOOTX64.EFI", read("/usr/lib/systemd/boot/efi/systemd-bootx64.efi")?),
        ("linux", read(&format!("{modules}/vmlinuz"))?),
        ("initrd", read(&format!("{modules}/initramfs.img"))?),
        ("loader/entries/plain.conf", entry.into_bytes()),
    ] {
        let file = scratch.join("file");
        fs::write(&file, bytes)?;
        run(command("mcopy").arg("-i").arg(esp).arg(&file).arg(format!("::/{name}")))?;
    }
    Ok(())
}

fn make_root(image: &OciImage, scratch: &Path, root: &Path) -> Result<()> {
    let mount = scratch.join("root");
    fs::create_dir(&mount)?;
    sized(root, ROOT_MIB)?;
    let mut unpack = privileged("unshare");
    unpack.args(["--mount", "--propagation", "private", "sh", "-c", UNPACK, "unpack"]).arg(&mount).arg(root);
    unpack.args(image.layers()?.iter().map(|layer| image.blob_path(&layer.blob.sha256)));
    run(&mut unpack).map(drop)
}

fn sized(path: &Path, mib: u64) -> Result<()> {
    Ok(File::create(path)?.set_len(mib * MIB)?)
}

fn place(partition: &Path, disk: &Path, at_mib: u64) -> Result<()> {
    let mut dd = Command::new("dd");
    dd.arg(format!("if={}", partition.display())).arg(format!("of={}", disk.display()));
    dd.args(["bs=1M", "conv=notrunc,sparse", "status=none", &format!("seek={at_mib}")]);
    run(&mut dd).map(drop)
}
