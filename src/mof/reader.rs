//! Texts and the texts they include → declarations.

use std::borrow::Cow;

use super::{
    FileId, MofError, Problem, Sources,
    ast::Declaration,
    error::Fault,
    lexer::Dialect,
    parser::{Parser, Production, Session},
};

/// How deep include files may include others.
pub const MAX_INCLUDE_DEPTH: usize = 32;

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
/// one to the next. A text is read once: of one that is included again, nothing comes out again, so
/// that the files of a directory may include each other in any way but a circle.
#[derive(Default)]
pub struct Reader {
    session: Session,
    /// The texts being read, outermost first.
    open: Vec<FileId>,
}

impl Reader {
    /// The declarations of a text and of what it includes, in order.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn read(
        &mut self,
        sources: &mut Sources,
        file: FileId,
        loader: &mut dyn Loader,
    ) -> Result<Vec<Declaration>, MofError> {
        self.open.clear();
        let mut declarations = Vec::new();
        self.read_nested(sources, file, loader, &mut declarations)?;
        Ok(declarations)
    }

    fn read_nested(
        &mut self,
        sources: &mut Sources,
        file: FileId,
        loader: &mut dyn Loader,
        out: &mut Vec<Declaration>,
    ) -> Result<(), MofError> {
        self.open.push(file);
        let mut position = 0;
        loop {
            // A parser borrows the texts, to which an include adds one: hence one for each production.
            let mut step = || {
                let session = &mut self.session;
                let mut parser = Parser::new(sources, file, position, Dialect::Standard, session)?;
                let production = parser.production()?;
                Ok((production, parser.position()))
            };
            let (production, end) = step().map_err(|fault: Fault| fault.located(sources))?;
            position = end;
            match production {
                None => break,
                Some(Production::Declaration(declaration)) => out.push(declaration),
                Some(Production::Include { name, at }) => {
                    let included = self
                        .include(sources, &name, loader)
                        .map_err(|problem| Fault::new(problem, at).located(sources))?;
                    if let Some(Included { full_name, text }) = included {
                        let included = sources.add(&full_name, text)?;
                        self.read_nested(sources, included, loader, out)?;
                    }
                }
            }
        }
        self.open.pop();
        Ok(())
    }

    /// What the innermost open text includes by `name`; `None` if it was read already.
    fn include(
        &self,
        sources: &Sources,
        name: &str,
        loader: &mut dyn Loader,
    ) -> Result<Option<Included>, Problem> {
        let refused = |reason| Problem::Include { name: name.to_owned(), reason };
        let file = *self.open.last().expect("an include stands in an open text");
        let full_name = loader.find(sources.name(file), name).map_err(refused)?;
        if let Some(start) = self.open.iter().position(|&open| **sources.name(open) == *full_name) {
            let mut chain: Vec<&str> =
                self.open[start..].iter().map(|&open| &**sources.name(open)).collect();
            chain.push(&full_name);
            let chain = chain.join(" → ");
            return Err(Problem::IncludeCycle { name: full_name, chain });
        }
        if sources.contains(&full_name) {
            return Ok(None);
        }
        if self.open.len() > MAX_INCLUDE_DEPTH {
            return Err(Problem::IncludeDepth);
        }
        let text = loader.read(&full_name).map_err(refused)?;
        Ok(Some(Included { full_name, text }))
    }
}

/// A text to read next.
struct Included {
    full_name: String,
    text: Cow<'static, str>,
}
