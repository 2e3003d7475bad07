//! Every mutation of the disk goes through here: [`Root`] is a folder that one may change, [`Faults`] sees each change first.
//!
//! No path leaves the folder (cap-std), each mutation is counted, and a test can stop the world before any of them.

mod faults;
mod json;
mod protection;
mod root;

pub use faults::{Fault, Faults};
pub(crate) use faults::{again, is_no_answer};
pub use protection::Protection;
pub use root::{ReplaceStyle, Root, TEMPORARY_PREFIX, hash_into};
