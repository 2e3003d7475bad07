//! What a disk holds already: found out before anything is written, and shown to the person who would lose it.

use std::{fmt, path::Path};

use bootwright_core::{Error, ErrorKind, Result};
use serde::Deserialize;

use super::{ByteSize, tool::tool};

/// What would be lost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    /// Signatures on the whole disk ("gpt", "ext4").
    pub signatures: Vec<String>,
    /// Its partitions.
    pub partitions: Vec<FoundPartition>,
}

/// A partition that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPartition {
    /// Its number in the list, from 1.
    pub number: usize,
    /// Its length.
    pub size: ByteSize,
    /// Its name in the table, if it has one.
    pub name: Option<String>,
    /// What is in it, if that has a signature.
    pub filesystem: Option<String>,
    /// The label of what is in it.
    pub label: Option<String>,
}

impl Contents {
    /// Looks at a disk or image file without writing to it.
    ///
    /// # Errors
    /// As the programs fail.
    pub fn of(path: &Path) -> Result<Self> {
        let signatures = signatures(path)?;
        let partitions = if signatures.is_empty() { Vec::new() } else { partitions(path)? };
        Ok(Self { signatures, partitions })
    }

    /// Whether nothing known is there.
    pub fn is_empty(&self) -> bool {
        self.signatures.is_empty()
    }

    /// Refuses to overwrite anything.
    ///
    /// # Errors
    /// `InvalidInput` listing what is there.
    pub fn refuse(&self, path: &Path) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let message = format!("{} holds data that would be lost:\n{self}", path.display());
        Err(Error::new(ErrorKind::InvalidInput, message).with_hint("--wipe overwrites it"))
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  signatures: {}", self.signatures.join(", "))?;
        for partition in &self.partitions {
            write!(f, "\n  partition {}: {}", partition.number, partition.size)?;
            let named =
                [("", &partition.filesystem), ("label ", &partition.label), ("name ", &partition.name)];
            for (what, text) in named {
                if let Some(text) = text {
                    write!(f, ", {what}{text}")?;
                }
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Wipefs {
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    #[serde(rename = "type")]
    kind: String,
}

fn signatures(path: &Path) -> Result<Vec<String>> {
    let printed = tool("wipefs").args(["--no-act", "--json"]).arg(path).run_blocking()?;
    parse_signatures(&printed.text())
}

fn parse_signatures(json: &str) -> Result<Vec<String>> {
    if json.trim().is_empty() {
        return Ok(Vec::new());
    }
    let parsed: Wipefs = parse("wipefs", json)?;
    let mut kinds: Vec<_> = parsed.signatures.into_iter().map(|signature| signature.kind).collect();
    // A table has its signature at both ends of the disk.
    kinds.dedup();
    Ok(kinds)
}

fn parse<'a, T: Deserialize<'a>>(program: &str, json: &'a str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| {
        Error::internal(format!("{program} printed JSON of an unknown form")).with_source(error)
    })
}

#[derive(Deserialize)]
struct Sfdisk {
    partitiontable: Table,
}

#[derive(Deserialize)]
struct Table {
    #[serde(default = "usual_sector")]
    sectorsize: u64,
    #[serde(default)]
    partitions: Vec<TablePartition>,
}

#[derive(Deserialize)]
struct TablePartition {
    start: u64,
    size: u64,
    name: Option<String>,
}

fn usual_sector() -> u64 {
    512
}

fn partitions(path: &Path) -> Result<Vec<FoundPartition>> {
    let output = tool("sfdisk").arg("--json").arg(path).output_blocking()?;
    if !output.status.success() {
        // No table, or one of a kind that it does not read: the signatures say that much.
        return Ok(Vec::new());
    }
    let parsed: Sfdisk = parse("sfdisk", &output.text())?;
    let sector = parsed.partitiontable.sectorsize;
    let numbered = (1..).zip(parsed.partitiontable.partitions);
    numbered.map(|(number, found)| look_into(path, number, sector, found)).collect()
}

fn look_into(path: &Path, number: usize, sector: u64, found: TablePartition) -> Result<FoundPartition> {
    let (start, size) = (found.start.saturating_mul(sector), found.size.saturating_mul(sector));
    let output = tool("blkid")
        .args(["--probe", "--output", "export"])
        .arg(format!("--offset={start}"))
        .arg(format!("--size={size}"))
        .arg(path)
        .output_blocking()?;
    let printed = output.text();
    Ok(FoundPartition {
        number,
        size: ByteSize(size),
        name: found.name,
        filesystem: value_of(&printed, "TYPE"),
        label: value_of(&printed, "LABEL"),
    })
}

/// The value of `key` in what `blkid --output export` prints.
fn value_of(text: &str, key: &str) -> Option<String> {
    let mut pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.find(|(name, _)| *name == key).map(|(_, value)| value.to_owned())
}

/// Type and UUID of the file system on a device, from the bytes on it, not from a cache.
///
/// # Errors
/// As `blkid` is missing; `NotFound` if there is no file system.
pub fn filesystem_on(node: &Path) -> Result<(String, String)> {
    let output = tool("blkid").args(["--probe", "--output", "export"]).arg(node).output_blocking()?;
    let printed = output.text();
    value_of(&printed, "TYPE")
        .zip(value_of(&printed, "UUID"))
        .ok_or_else(|| Error::not_found(format!("{} holds no file system that blkid knows", node.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_disk_holds_nothing() {
        assert!(parse_signatures("").unwrap().is_empty());
        assert!(Contents::default().refuse(Path::new("/x")).is_ok());
    }

    #[test]
    fn both_ends_of_a_table_count_once() {
        let json =
            r#"{"signatures":[{"device":"x","type":"gpt"},{"device":"x","type":"gpt"},{"type":"PMBR"}]}"#;
        assert_eq!(parse_signatures(json).unwrap(), ["gpt", "PMBR"]);
    }

    /// spec: BW-702
    #[test]
    fn the_refusal_lists_sizes_types_labels_and_names() {
        let partition = FoundPartition {
            number: 2,
            size: ByteSize(5 << 30),
            name: Some("root".into()),
            filesystem: Some("ext4".into()),
            label: Some("precious".into()),
        };
        let contents = Contents { signatures: vec!["gpt".into()], partitions: vec![partition] };
        let error = contents.refuse(Path::new("/dev/x")).unwrap_err();
        for part in ["/dev/x", "gpt", "5.0 GiB", "ext4", "precious", "root"] {
            assert!(error.message().contains(part), "{part} is not in {error}");
        }
        assert!(error.hint().unwrap().contains("--wipe"));
    }
}
