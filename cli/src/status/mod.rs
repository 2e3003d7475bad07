//! `status`: one view of the system, as JSON that tools of the field read, and as text.

mod host;
mod text;

pub use host::Host;
pub use text::text;

#[cfg(test)]
mod tests;
