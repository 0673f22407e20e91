//! What is made of the rows: a table, a file.

mod table;

pub use table::{figure, print, summary};
