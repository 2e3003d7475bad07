//! The policy file as rules. What is not understood is an error: a requirement that is passed over would be one that is not enforced.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::strict::Strict;
use crate::error::{Error, Result};

/// Everything a policy says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rules {
    /// For images of which no scope speaks.
    pub(super) default: Vec<Requirement>,
    /// By transport, then by scope; the scope `""` stands for the rest of its transport.
    pub(super) transports: BTreeMap<String, BTreeMap<String, Vec<Requirement>>>,
}

/// One thing that an image has to meet.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Requirement {
    /// Any image meets it.
    Accept,
    /// No image meets it.
    Reject,
    /// A signature, in the words of the policy: whoever checks it reads them too.
    Signed(Map<String, Value>),
}

impl Requirement {
    /// What the policy says of a signature, if it demands one.
    pub(super) fn signed(&self) -> Option<&Map<String, Value>> {
        match self {
            Self::Signed(text) => Some(text),
            Self::Accept | Self::Reject => None,
        }
    }

    fn read(value: Value) -> Result<Self> {
        let Value::Object(fields) = value else {
            return Err(Error::invalid("a requirement of the signature policy is no object"));
        };
        let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
        match kind {
            "insecureAcceptAnything" | "reject" if fields.len() != 1 => Err(Error::invalid(format!(
                "the requirement {kind:?} of the signature policy has more fields than its type"
            ))),
            "insecureAcceptAnything" => Ok(Self::Accept),
            "reject" => Ok(Self::Reject),
            "signedBy" | "sigstoreSigned" => Ok(Self::Signed(fields)),
            other => Err(Error::invalid(format!(
                "the signature policy has a requirement of the unknown type {other:?}"
            ))
            .with_hint("known: insecureAcceptAnything, reject, signedBy, sigstoreSigned")),
        }
    }
}

impl Rules {
    /// Reads a policy file.
    ///
    /// # Errors
    /// `InvalidInput` for anything that containers-policy.json(5) does not describe.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let Strict(value) = serde_json::from_slice(bytes)
            .map_err(|error| Error::invalid("the signature policy is not JSON").with_source(error))?;
        let mut top = object(value, "the signature policy")?;
        let default = top.remove("default");
        let default = default.ok_or_else(|| Error::invalid("the signature policy has no \"default\""))?;
        let transports = top.remove("transports").unwrap_or_else(|| Map::new().into());
        if let Some(unknown) = top.keys().next() {
            return Err(Error::invalid(format!("the signature policy has the unknown key {unknown:?}")));
        }
        let mut rules = Self { default: list(default)?, transports: BTreeMap::new() };
        for (transport, scopes) in object(transports, "\"transports\"")? {
            let scopes = object(scopes, &format!("transport {transport:?}"))?;
            let scopes = scopes.into_iter().map(|(scope, value)| Ok((scope, list(value)?)));
            rules.transports.insert(transport, scopes.collect::<Result<_>>()?);
        }
        Ok(rules)
    }
}

fn object(value: Value, what: &str) -> Result<Map<String, Value>> {
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(Error::invalid(format!("{what} is no object"))),
    }
}

fn list(value: Value) -> Result<Vec<Requirement>> {
    match value {
        Value::Array(items) if !items.is_empty() => items.into_iter().map(Requirement::read).collect(),
        _ => Err(Error::invalid("the signature policy has a list of requirements that is empty, or no list")),
    }
}
