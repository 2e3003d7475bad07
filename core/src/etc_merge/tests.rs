//! Properties of the merge over random trees, a table of the cases that people meet, and real folders.

mod cases;
mod folders;
mod properties;
