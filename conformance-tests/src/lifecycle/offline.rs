//! A disk image, looked at and changed while no machine runs on it: as an attacker, or an accident, would.

use std::{
    fs::OpenOptions,
    io::{Seek as _, SeekFrom, Write as _},
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{host, images::OciImage};

const SECTOR: u64 = 512;
const BLOCK: u64 = 4096;

/// What a planted init prints when it runs as init. It never may.
pub const PLANTED: &str = "THE PLANTED INIT RAN";

/// A raw disk image with an ESP as its first and an ext4 root as its second partition.
#[derive(Debug, Clone)]
pub struct OfflineDisk {
    path: PathBuf,
    esp: u64,
    root: u64,
    esp_guid: String,
}

impl OfflineDisk {
    /// Finds the partitions.
    ///
    /// # Errors
    /// When the image has no such partition table.
    pub fn open(path: &Path) -> Result<Self> {
        let table: Value =
            serde_json::from_slice(&host::run(host::command("sfdisk").arg("--json").arg(path))?)?;
        let start = |index: usize| {
            let partition = table.pointer(&format!("/partitiontable/partitions/{index}/start"));
            partition.and_then(Value::as_u64).map(|start| start * SECTOR).context("a partition is missing")
        };
        let guid = table.pointer("/partitiontable/partitions/0/uuid").and_then(Value::as_str);
        let esp_guid = guid.context("the ESP has no GUID")?.to_owned();
        Ok(Self { path: path.to_owned(), esp: start(0)?, root: start(1)?, esp_guid })
    }

    /// The image file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The partition GUID of the ESP, as the table stores it.
    ///
    /// # Errors
    /// When it is no GUID.
    pub fn esp_guid(&self) -> Result<[u8; 16]> {
        parse_guid(&self.esp_guid)
    }

    /// Copies everything on the ESP into a folder. A machine may run on the disk, if it has written out what it changed and changes nothing now.
    ///
    /// # Errors
    /// When the ESP cannot be read.
    pub fn copy_esp(&self, to: &Path) -> Result<()> {
        self.mtools("mcopy", &["-s", "-n", "::", &to.to_string_lossy()], &[]).map(drop)
    }

    /// Paths of all files on the ESP.
    ///
    /// # Errors
    /// When the ESP cannot be read.
    pub fn esp_files(&self) -> Result<Vec<String>> {
        let listing = self.mtools("mdir", &["-/", "-b", "::/"], &[])?;
        Ok(listing.lines().map(|line| line.trim_start_matches("::").to_owned()).collect())
    }

    /// Content of a file on the ESP.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn esp_file(&self, path: &str) -> Result<Vec<u8>> {
        self.mtools_bytes("mcopy", &[&format!("::{path}"), "-"], &[])
    }

    /// Replaces a file on the ESP.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn replace_esp_file(&self, path: &str, content: &[u8]) -> Result<()> {
        self.mtools("mcopy", &["-o", "-", &format!("::{path}")], content).map(drop)
    }

    /// Leaves a folder of the ESP as a power cut may leave it where the name of a new file of ours lies in two sectors, of which only the second was
    /// written: the folder ends before the rest of the name.
    ///
    /// # Errors
    /// When the ESP cannot be read or written.
    pub fn lose_half_a_name(&self, folder: &str) -> Result<()> {
        /// As no other file there.
        const SIZE: u32 = 777_777;
        for length in 40..200 {
            let path = format!("::{folder}/bootwright-{}.efi", "f".repeat(length));
            self.mtools("mcopy", &["-", &path], &vec![b'x'; SIZE as usize])?;
            if let Some(lost) = self.first_part_of_name(SIZE)? {
                let disk = OpenOptions::new().write(true).open(&self.path)?;
                return Ok(disk.write_all_at(&vec![0; usize::try_from(lost.end - lost.start)?], lost.start)?);
            }
            self.mtools("mdel", &[&path], &[])?;
        }
        anyhow::bail!("no name in {folder} lies in two sectors")
    }

    /// Where the entries of a file of this size are that lie in another sector than its last one, if they are few. Each has 32 bytes; those of the
    /// long name come before the short one, the last part first (Microsoft, "FAT: General Overview of On-Disk Format").
    fn first_part_of_name(&self, size: u32) -> Result<Option<Range<u64>>> {
        const ENTRY: usize = 32;
        let mut esp = vec![0; usize::try_from(self.root - self.esp)?];
        OpenOptions::new().read(true).open(&self.path)?.read_exact_at(&mut esp, self.esp)?;
        let is_short = |raw: &[u8]| raw.starts_with(b"BOOTWR~") && raw.ends_with(&size.to_le_bytes());
        let at = esp.chunks_exact(ENTRY).position(is_short).context("no name of ours")?;
        let is_long = |at: &usize| esp.get(at * ENTRY + 11) == Some(&0x0f);
        let start = (0..at).rev().take_while(is_long).last().unwrap_or(at) * ENTRY;
        let end = start.next_multiple_of(usize::try_from(SECTOR)?);
        let few = (1..=8).contains(&((end - start) / ENTRY)) && end <= at * ENTRY;
        Ok(few.then(|| self.esp + start as u64..self.esp + end as u64))
    }

    /// Replaces text in every boot entry on the ESP, and returns how many there are.
    ///
    /// # Errors
    /// When there is none, or one cannot be written.
    pub fn edit_entries(&self, edit: impl Fn(&str) -> String) -> Result<usize> {
        let files = self.esp_files()?;
        let entries: Vec<_> =
            files.iter().filter(|file| file.starts_with("/loader/entries/bootwright-")).collect();
        ensure!(!entries.is_empty(), "no boot entries among {files:?}");
        for entry in &entries {
            let text = self.mtools("mtype", &[&format!("::{entry}")], &[])?;
            self.replace_esp_file(entry, edit(&text).as_bytes())?;
        }
        Ok(entries.len())
    }

    fn mtools(&self, program: &str, args: &[&str], stdin: &[u8]) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.mtools_bytes(program, args, stdin)?).into_owned())
    }

    fn mtools_bytes(&self, program: &str, args: &[&str], stdin: &[u8]) -> Result<Vec<u8>> {
        let mut command = host::command(program);
        command
            .env("MTOOLS_SKIP_CHECK", "1")
            .arg("-i")
            .arg(format!("{}@@{}", self.path.display(), self.esp))
            .args(args);
        let mut input = tempfile::tempfile()?;
        input.write_all(stdin)?;
        input.rewind()?;
        host::run(command.stdin(input))
    }

    /// Runs commands of debugfs(8) on the root file system and returns what they print.
    ///
    /// # Errors
    /// When debugfs does not succeed.
    pub fn debugfs(&self, commands: &str) -> Result<String> {
        let mut script = tempfile::NamedTempFile::new()?;
        script.write_all(commands.as_bytes())?;
        let mut command = host::command("debugfs");
        command.args(["-w", "-f"]).arg(script.path()).arg(format!(
            "{}?offset={}",
            self.path.display(),
            self.root
        ));
        Ok(String::from_utf8_lossy(&host::run(&mut command)?).into_owned())
    }

    /// Overwrites some bytes of block `index` of a file of the root file system, behind its back.
    ///
    /// # Errors
    /// When the file has no such block.
    pub fn damage(&self, file: &str, index: u64) -> Result<()> {
        let output = self.debugfs(&format!("bmap {file} {index}\n"))?;
        let block = output.lines().rev().find_map(|line| line.trim().parse::<u64>().ok());
        let block = block.filter(|block| *block != 0).with_context(|| format!("no block in: {output}"))?;
        let mut disk = OpenOptions::new().write(true).open(&self.path)?;
        disk.seek(SeekFrom::Start(self.root + block * BLOCK + 64))?;
        disk.write_all(b"damaged by a test")?;
        Ok(())
    }

    /// The object behind the root image with this digest: `/composefs/objects/xx/…`.
    pub fn root_image(&self, digest: &str) -> String {
        let (folder, name) = digest.split_at(2.min(digest.len()));
        format!("/composefs/objects/{folder}/{name}")
    }

    /// Puts an init on the physical root that says [`PLANTED`], with a shell of `image` for it to run in, and whatever
    /// else makes systemd take a folder for an operating system.
    ///
    /// # Errors
    /// When a file cannot be taken from the image or written.
    pub fn plant_init(&self, image: &OciImage) -> Result<()> {
        use std::fmt::Write as _;
        let scratch = tempfile::tempdir()?;
        let init =
            format!("#!/bin/sh\necho {PLANTED}\necho {PLANTED} > /dev/console\necho {PLANTED} > /dev/kmsg\n");
        let mut script = String::from("cd /\n");
        for folder in ["sbin", "bin", "lib64", "lib", "lib/x86_64-linux-gnu", "etc", "usr", "usr/lib", "dev"]
        {
            writeln!(script, "mkdir /{folder}")?;
        }
        let files = [
            ("sbin/init", init.into_bytes()),
            ("bin/sh", taken(image, "/usr/bin/dash")?),
            ("lib64/ld-linux-x86-64.so.2", taken(image, "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")?),
            ("lib/x86_64-linux-gnu/libc.so.6", taken(image, "/usr/lib/x86_64-linux-gnu/libc.so.6")?),
            ("usr/lib/os-release", b"ID=planted\n".to_vec()),
            ("etc/os-release", b"ID=planted\n".to_vec()),
        ];
        for (index, (path, content)) in files.iter().enumerate() {
            let source = scratch.path().join(index.to_string());
            std::fs::write(&source, content)?;
            writeln!(script, "write {} /{path}\nsif /{path} mode 0100755", source.display())?;
        }
        self.debugfs(&script).map(drop)
    }

    /// Runs the planted init in a chroot on this host, to show that it would run if it were started.
    ///
    /// # Errors
    /// When it does not say [`PLANTED`].
    pub fn prove_planted(&self) -> Result<()> {
        let script = format!(
            "d=$(mktemp -d); mount -o ro,loop,offset={} '{}' $d; trap 'umount $d; rmdir $d' EXIT; chroot $d /sbin/init 2>&1; true",
            self.root,
            self.path.display()
        );
        let mut command = host::privileged("unshare");
        // Its writes to /dev fail in a chroot; what it prints first is what counts.
        let output = host::run(command.args(["--mount", "sh", "-c", &script]))?;
        ensure!(String::from_utf8_lossy(&output).contains(PLANTED), "the planted init does not run at all");
        Ok(())
    }
}

/// A file of an image, by its real path.
fn taken(image: &OciImage, path: &str) -> Result<Vec<u8>> {
    image.read_file(path)?.with_context(|| format!("no {path} in the image"))
}

/// As the partition table stores it: the first three groups with the lowest byte first (UEFI specification, appendix A).
fn parse_guid(text: &str) -> Result<[u8; 16]> {
    let bytes = hex::decode(text.trim().replace('-', "")).with_context(|| format!("{text:?} is no GUID"))?;
    ensure!(bytes.len() == 16, "{text:?} is no GUID");
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    Ok(order.map(|place| bytes.get(place).copied().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_groups_of_a_guid_are_stored_lowest_byte_first() {
        let bytes = parse_guid("00112233-4455-6677-8899-aabbccddeeff\n").unwrap();
        assert_eq!(hex::encode(bytes), "33221100554477668899aabbccddeeff");
        assert!(parse_guid("0011").is_err());
    }
}
