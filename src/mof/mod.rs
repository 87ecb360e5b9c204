//! MOF text (DSP0004 §7 and annex A) → declarations → the CIM model.
//!
//! ```text
//! text ──lexer──▶ tokens ──parser──▶ ast::Declaration ──compile──▶ cim::{Class, …}
//! ```
//!
//! A [`Reader`] reads a text and what it includes; [`compile`] gives classes and qualifiers their types,
//! [`instances`] instances. All stop at the first error, which names file, line and column.
//! [`parse_instance`] reads an instance out of an embedded string; [`print`] writes the model as MOF.
//!
//! What is deliberately absent: files (a [`Loader`] of the caller's finds what a text includes),
//! inheritance (the repository's), and MOF 3 (DSP0221).

pub mod ast;
pub mod compile;
mod error;
mod instances;
mod lexer;
mod names;
mod parser;
pub mod print;
mod reader;
mod source;
#[cfg(test)]
mod tests;

pub use error::{MofError, Problem};
pub use instances::{ClassOf, instances, parse_instance};
pub use reader::{Loader, MAX_INCLUDE_DEPTH, NoIncludes, Reader};
pub use source::{FileId, Location, MAX_TEXT, Place, Sources};
