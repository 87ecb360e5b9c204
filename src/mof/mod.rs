//! MOF text (DSP0004 §7 and annex A) → declarations → the CIM model.
//!
//! ```text
//! text ──lexer──▶ tokens ──parser──▶ ast::Declaration ──compile──▶ cim::{Class, …}
//! ```
//!
//! [`parse`] reads a text and what it includes; [`compile`] gives its declarations types. Both stop at
//! the first error, which names file, line and column. [`parse_instance`] reads an instance out of an
//! embedded string. [`print`] writes the model as MOF.
//!
//! What is deliberately absent: files (a [`Loader`] of the caller's finds what a text includes),
//! inheritance (the repository's), and MOF 3 (DSP0221).

pub mod ast;
pub mod compile;
mod error;
mod lexer;
mod parser;
mod source;

use std::borrow::Cow;

pub use error::{MofError, Problem};
pub use parser::MAX_INCLUDE_DEPTH;
pub use source::{FileId, Location, MAX_TEXT, Place, Sources};

use crate::cim::Instance;

/// Finds the texts that others include.
pub trait Loader {
    /// The full name of the file that the text `from` means by `name`: the same for the same file,
    /// whoever includes it.
    ///
    /// # Errors
    /// Why there is no such file.
    fn find(&mut self, from: &str, name: &str) -> Result<String, String>;

    /// The text of a file by its full name.
    ///
    /// # Errors
    /// Why it can't be read.
    fn read(&mut self, full_name: &str) -> Result<Cow<'static, str>, String>;
}

/// A loader that knows no files.
pub struct NoIncludes;

impl Loader for NoIncludes {
    fn find(&mut self, _from: &str, _name: &str) -> Result<String, String> {
        Err("nothing can be included here".to_owned())
    }

    fn read(&mut self, _full_name: &str) -> Result<Cow<'static, str>, String> {
        Err("nothing can be included here".to_owned())
    }
}

/// Reads texts one after the other, so that a `#pragma namespace` and the spelling of names last from
/// one to the next.
#[derive(Default)]
pub struct Reader {
    session: parser::Session,
}

impl Reader {
    /// The declarations of a text and of what it includes, in order. Of a text that includes one read
    /// before, that part is left out.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn read(
        &mut self,
        sources: &mut Sources,
        file: FileId,
        loader: &mut dyn Loader,
    ) -> Result<Vec<ast::Declaration>, MofError> {
        let mut declarations = Vec::new();
        let read = parser::parse_file(sources, file, loader, &mut self.session, &mut declarations);
        self.session.close();
        read.map(|()| declarations)
    }
}

/// Reads the first instance of an embedded text; what follows it is ignored. Beyond DSP0004 it takes
/// what libvirt-cim took: strings in single quotes, strings that the end of the line closes,
/// backslashes that escape nothing.
///
/// Without the class the types are open: numbers are [`Scalar::Untyped`](crate::cim::Scalar::Untyped)
/// in decimal, datetimes and references are strings; the repository can conform them to the class.
///
/// # Errors
/// The first that is wrong, in a file called `embedded instance`.
pub fn parse_instance(text: &str) -> Result<Instance, MofError> {
    let mut sources = Sources::default();
    let file = sources.add("embedded instance", text.to_owned())?;
    let declaration = parser::parse_embedded(&sources, file)?;
    compile::untyped_instance(&sources, declaration)
}
