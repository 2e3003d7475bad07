//! Reading names and arguments until `image_config` is there.
use crate::{
    error::Result,
    model::KernelCmdline,
    tree::{TreeReader, TreeReaderExt},
};
pub(super) struct OsRelease(std::collections::BTreeMap<String, String>);
impl OsRelease {
    pub fn parse(text: &str) -> Self {
        Self(
            text.lines()
                .filter_map(|l| l.split_once('='))
                .map(|(k, v)| (k.to_owned(), v.trim_matches('"').to_owned()))
                .collect(),
        )
    }
    pub fn title(&self) -> String {
        self.0.get("PRETTY_NAME").cloned().unwrap_or_else(|| "Linux".into())
    }
    pub fn version(&self) -> Option<String> {
        self.0.get("VERSION_ID").cloned()
    }
}
pub(super) async fn kernel_arguments(tree: &dyn TreeReader) -> Result<KernelCmdline> {
    let mut all = KernelCmdline::new();
    for name in tree.list("usr/lib/bootc/kargs.d").await? {
        let text = tree.read_text(&format!("usr/lib/bootc/kargs.d/{name}")).await?.unwrap_or_default();
        let value: toml::Value = toml::from_str(&text)
            .map_err(|e| crate::Error::invalid(format!("{name} is malformed")).with_source(e))?;
        for arg in
            value.get("kargs").and_then(|k| k.as_array()).into_iter().flatten().filter_map(|v| v.as_str())
        {
            all.push(crate::model::KernelArg::new(arg)?);
        }
    }
    Ok(all)
}
