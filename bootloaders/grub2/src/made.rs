//! What the programs on this disk were made of: they are made again only when that changed, or when one is damaged.
//!
//! Making one takes a good part of a second, and a machine asks for it at every boot that proves good.

use std::collections::BTreeMap;

use bootwright_core::{Result, fs::Root, model::Digest, tree::TreeReader};
use serde::{Deserialize, Serialize};

use crate::image::{Parts, Platform};

/// Beside the programs.
const RECORD: &str = "EFI/bootwright/grub-made.json";

/// What was made last, by the name of the platform.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
struct Record(BTreeMap<String, Made>);

impl Record {
    /// One that cannot be read tells nothing.
    fn read(esp: &Root) -> Self {
        esp.read_json(RECORD).unwrap_or_default().unwrap_or_default()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    /// See [`Parts::digest`].
    parts: Digest,
    program: Digest,
    /// Of the program, in bytes.
    length: usize,
}

/// A program, with what has to be remembered once it is installed.
#[derive(Debug)]
pub struct Program {
    platform: &'static str,
    made: Made,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl Program {
    /// The program of a platform for a tree: what is installed, if it is that, else made anew. `installed` reads so many bytes of what is.
    ///
    /// # Errors
    /// `NotFound` if the tree lacks the modules, or this system the program that makes it; as reading fails.
    pub async fn of(
        esp: &Root,
        platform: &Platform,
        tree: &dyn TreeReader,
        prefix: &str,
        installed: impl Fn(usize) -> Result<Option<Vec<u8>>>,
    ) -> Result<Self> {
        let parts = platform.parts(tree).await?;
        let digest = parts.digest(prefix);
        let made = Record::read(esp).0.get(platform.name).filter(|made| made.parts == digest).cloned();
        if let Some(made) = made
            && let Some(bytes) = installed(made.length)?.filter(|bytes| made.is(bytes))
        {
            return Ok(Self { platform: platform.name, made, bytes });
        }
        Self::make(platform, &parts, prefix, digest).await
    }

    async fn make(platform: &Platform, parts: &Parts, prefix: &str, digest: Digest) -> Result<Self> {
        let bytes = parts.make(prefix).await?;
        let made = Made { parts: digest, program: Digest::of(&bytes), length: bytes.len() };
        Ok(Self { platform: platform.name, made, bytes })
    }

    /// To be called once it is where it belongs.
    ///
    /// # Errors
    /// As writing fails.
    pub fn remember(self, esp: &Root) -> Result<()> {
        let mut record = Record::read(esp);
        record.0.insert(self.platform.to_owned(), self.made);
        esp.write_json(RECORD, &record)
    }
}

impl Made {
    fn is(&self, bytes: &[u8]) -> bool {
        bytes.len() == self.length && Digest::of(bytes) == self.program
    }
}
