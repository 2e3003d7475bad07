//! The files of a fake deployment, as the image has them.

use std::{collections::BTreeMap, io::Cursor};

use async_trait::async_trait;

use crate::{
    error::Result,
    tree::{Reader, TreeReader},
};

/// Files of a fake deployment.
#[derive(Debug)]
pub(crate) struct FakeTree(pub(crate) BTreeMap<String, String>);

#[async_trait]
impl TreeReader for FakeTree {
    async fn open(&self, path: &str) -> Result<Option<Reader>> {
        let text = self.0.get(path).cloned();
        Ok(text.map(|text| Box::new(Cursor::new(text.into_bytes())) as Reader))
    }

    async fn list(&self, path: &str) -> Result<Vec<String>> {
        let prefix = format!("{path}/");
        let mut names: Vec<_> = self
            .0
            .keys()
            .filter_map(|file| file.strip_prefix(&prefix)?.split('/').next().map(ToOwned::to_owned))
            .collect();
        names.dedup();
        Ok(names)
    }
}
