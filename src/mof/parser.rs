//! Tokens → declarations, by recursive descent with one token of look-ahead.
//!
//! The grammar nests to a fixed depth, so no input can exhaust the stack.

use std::borrow::Cow;

use super::{
    FileId, MofError, Place, Problem, Sources,
    ast::{
        ClassDeclaration, Declaration, FlavorWord, Ident, InitialValue, Initializer,
        InstanceDeclaration, Literal, MethodDeclaration, ParameterDeclaration, PropertyDeclaration,
        QualifierType, QualifierUse,
    },
    error::Fault,
    lexer::{Dialect, LexError, Lexer, Token, TokenKind},
    names::{Names, check_unique},
};
use crate::cim::{ArrayKind, CimType, DataType, Namespace, Scope};

/// What survives from one text to the next.
#[derive(Default)]
pub(super) struct Session {
    names: Names,
    namespace: Option<Namespace>,
}

/// Reads the first instance of an embedded text.
pub(super) fn parse_embedded(
    sources: &Sources,
    file: FileId,
) -> Result<InstanceDeclaration, MofError> {
    let mut session = Session::default();
    let mut read = || {
        let mut parser = Parser::new(sources, file, 0, Dialect::Embedded, &mut session)?;
        let qualifiers = parser.qualifiers()?;
        parser.instance(qualifiers)
    };
    read().map_err(|fault| fault.located(sources))
}

/// What the top level of a text is made of. Includes are carried out by the reader, which may add
/// texts; a parser only looks at its own.
pub(super) enum Production {
    Declaration(Declaration),
    Include { name: String, at: Place },
}

type Parsed<T> = Result<T, Fault>;

fn lexical(file: FileId, error: LexError) -> Fault {
    let fault = Fault::new(error.problem, Place::new(file, error.at));
    Fault { hint: error.hint.map(Cow::Borrowed), ..fault }
}

pub(super) struct Parser<'s> {
    lexer: Lexer<'s>,
    token: Token<'s>,
    file: FileId,
    session: &'s mut Session,
}

impl<'s> Parser<'s> {
    /// A parser for what stands from byte `position` on.
    pub(super) fn new(
        sources: &'s Sources,
        file: FileId,
        position: usize,
        dialect: Dialect,
        session: &'s mut Session,
    ) -> Parsed<Self> {
        let mut lexer = Lexer::new(sources.text(file), position, dialect);
        let token = lexer.next().map_err(|error| lexical(file, error))?;
        Ok(Self { lexer, token, file, session })
    }

    fn advance(&mut self) -> Parsed<Token<'s>> {
        let next = self.lexer.next().map_err(|error| lexical(self.file, error))?;
        Ok(std::mem::replace(&mut self.token, next))
    }

    fn place(&self) -> Place {
        Place::new(self.file, self.token.start)
    }

    fn unexpected(&self, expected: impl Into<Cow<'static, str>>) -> Fault {
        let found = match self.token.kind {
            TokenKind::End => "the end of the text".to_owned(),
            TokenKind::String(_) => "a string".to_owned(),
            _ => format!("`{}`", &self.lexer.text()[self.token.start..self.token.end]),
        };
        Fault::new(Problem::Unexpected { expected: expected.into(), found }, self.place())
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.token.kind, TokenKind::Identifier(text) if text.eq_ignore_ascii_case(word))
    }

    fn is_mark(&self, mark: u8) -> bool {
        self.token.kind == TokenKind::Punctuation(mark)
    }

    /// Goes past the mark if it is next.
    fn take_mark(&mut self, mark: u8) -> Parsed<bool> {
        let taken = self.is_mark(mark);
        if taken {
            self.advance()?;
        }
        Ok(taken)
    }

    fn mark(&mut self, mark: u8, after: &'static str) -> Parsed<()> {
        if self.take_mark(mark)? {
            return Ok(());
        }
        Err(self.unexpected(format!("`{}` {after}", char::from(mark))))
    }

    /// Goes past the word if it is next.
    fn take_word(&mut self, word: &str) -> Parsed<bool> {
        let taken = self.is_word(word);
        if taken {
            self.advance()?;
        }
        Ok(taken)
    }

    fn ident(&mut self, expected: &'static str) -> Parsed<Ident> {
        let TokenKind::Identifier(text) = self.token.kind else {
            return Err(self.unexpected(expected));
        };
        let ident = Ident { name: self.session.names.name(text), at: self.place() };
        self.advance()?;
        Ok(ident)
    }

    /// Where the next token begins.
    pub(super) fn position(&self) -> usize {
        self.token.start
    }

    /// The next declaration or include; `None` at the end. Other directives are carried out.
    pub(super) fn production(&mut self) -> Parsed<Option<Production>> {
        loop {
            let at = self.place();
            return Ok(Some(match self.token.kind {
                TokenKind::End => return Ok(None),
                TokenKind::Pragma => match self.directive()? {
                    Some(name) => Production::Include { name, at },
                    None => continue,
                },
                _ => Production::Declaration(self.declaration()?),
            }));
        }
    }

    /// `#pragma name ("parameter")`; returns the file to include, if that is what it says. DSP0004
    /// bids us ignore what we don't know; `locale`, `source` and the like tell us nothing.
    fn directive(&mut self) -> Parsed<Option<String>> {
        self.advance()?;
        let TokenKind::Identifier(name) = self.token.kind else {
            return Err(self.unexpected("the name of a pragma"));
        };
        self.advance()?;
        self.mark(b'(', "after the pragma's name")?;
        let at = self.place();
        let parameter = self.string("the pragma's parameter, a string")?;
        self.mark(b')', "after the pragma's parameter")?;
        if name.eq_ignore_ascii_case("include") {
            return Ok(Some(parameter));
        }
        if name.eq_ignore_ascii_case("namespace") {
            let namespace = Namespace::parse(&parameter).map_err(|_| {
                let expected = "a namespace such as \"root/virt\"".into();
                Fault::new(Problem::Unexpected { expected, found: format!("{parameter:?}") }, at)
            })?;
            self.session.namespace = Some(namespace);
        }
        Ok(None)
    }

    fn declaration(&mut self) -> Parsed<Declaration> {
        let qualified = self.is_mark(b'[');
        let qualifiers = self.qualifiers()?;
        if self.is_word("class") {
            return self.class(qualifiers).map(Declaration::Class);
        }
        if self.is_word("instance") {
            return self.instance(qualifiers).map(Declaration::Instance);
        }
        if self.is_word("qualifier") && !qualified {
            return self.qualifier_type().map(Declaration::Qualifier);
        }
        let fault = self.unexpected(if qualified {
            "`class` or `instance`"
        } else {
            "`class`, `instance`, `qualifier`, `#pragma` or `[`"
        });
        let hint = ["association", "indication"].into_iter().find(|word| self.is_word(word));
        Err(match hint {
            Some("association") => fault.hint("an association is `[Association] class …`"),
            Some(_) => fault.hint("an indication is `[Indication] class …`"),
            None => fault,
        })
    }

    fn qualifiers(&mut self) -> Parsed<Vec<QualifierUse>> {
        let mut qualifiers: Vec<QualifierUse> = Vec::new();
        if !self.take_mark(b'[')? {
            return Ok(qualifiers);
        }
        loop {
            let qualifier = self.qualifier()?;
            qualifiers.push(qualifier);
            if self.take_mark(b']')? {
                check_unique(qualifiers.iter().map(|qualifier| &qualifier.name))?;
                return Ok(qualifiers);
            }
            if !self.take_mark(b',')? {
                return Err(self.unexpected("`,` or `]` after a qualifier"));
            }
        }
    }

    fn qualifier(&mut self) -> Parsed<QualifierUse> {
        let name = self.ident("the name of a qualifier")?;
        let at = self.place();
        let value = if self.take_mark(b'(')? {
            let value = InitialValue::One(self.literal()?);
            self.mark(b')', "after the qualifier's value")?;
            Some(Initializer { at, value })
        } else if self.is_mark(b'{') {
            Some(self.initializer()?)
        } else {
            None
        };
        let mut flavors = Vec::new();
        if self.take_mark(b':')? {
            flavors.push(self.flavor()?);
            while matches!(self.token.kind, TokenKind::Identifier(_)) {
                flavors.push(self.flavor()?);
            }
        }
        Ok(QualifierUse { name, value, flavors })
    }

    fn flavor(&mut self) -> Parsed<(FlavorWord, Place)> {
        let at = self.place();
        for flavor in FlavorWord::ALL {
            if self.take_word(flavor.keyword())? {
                return Ok((flavor, at));
            }
        }
        Err(self.unexpected(
            "a flavor (EnableOverride, DisableOverride, ToSubclass, Restricted, Translatable)",
        ))
    }

    fn alias(&mut self) -> Parsed<Option<Ident>> {
        if !self.take_word("as")? {
            return Ok(None);
        }
        let TokenKind::Alias(text) = self.token.kind else {
            return Err(self.unexpected("an alias such as `$Name` after `as`"));
        };
        let alias = Ident { name: self.session.names.name(text), at: self.place() };
        self.advance()?;
        Ok(Some(alias))
    }

    fn class(&mut self, qualifiers: Vec<QualifierUse>) -> Parsed<ClassDeclaration> {
        self.advance()?;
        let name = self.ident("the name of the class")?;
        // Nothing can refer to the alias of a class.
        self.alias()?;
        let superclass = if self.take_mark(b':')? {
            Some(self.ident("the name of the superclass")?)
        } else {
            None
        };
        let mut class = ClassDeclaration {
            name,
            superclass,
            qualifiers,
            properties: Vec::new(),
            methods: Vec::new(),
        };
        self.mark(b'{', "before the members of the class")?;
        while !self.take_mark(b'}')? {
            self.member(&mut class)?;
        }
        check_unique(class.properties.iter().map(|property| &property.name))?;
        check_unique(class.methods.iter().map(|method| &method.name))?;
        self.mark(b';', "after the class")?;
        Ok(class)
    }

    fn member(&mut self, class: &mut ClassDeclaration) -> Parsed<()> {
        let qualifiers = self.qualifiers()?;
        let ty_at = self.place();
        let mut ty = self.data_type("a property, a method or `}`")?;
        let name = self.ident("the name of a property or method")?;
        if self.take_mark(b'(')? {
            if ty.base == CimType::Reference {
                let problem = Problem::Unexpected {
                    expected: "a data type before a method".into(),
                    found: "a reference".into(),
                };
                return Err(Fault::new(problem, ty_at).hint("methods return no references"));
            }
            let parameters = self.parameters()?;
            self.mark(b';', "after the method")?;
            class.methods.push(MethodDeclaration {
                name,
                return_type: ty.base,
                parameters,
                qualifiers,
            });
            return Ok(());
        }
        ty.array = self.array()?;
        let default = if self.take_mark(b'=')? { Some(self.initializer()?) } else { None };
        if !self.take_mark(b';')? {
            return Err(self.unexpected(match default {
                Some(_) => "`;` after the default value",
                None => "`;`, `=`, `[` or `(` after the name",
            }));
        }
        class.properties.push(PropertyDeclaration { name, ty, default, qualifiers });
        Ok(())
    }

    /// A data type, or a class and `REF`.
    fn data_type(&mut self, expected: &'static str) -> Parsed<DataType> {
        let TokenKind::Identifier(text) = self.token.kind else {
            return Err(self.unexpected(expected));
        };
        if let Some(base) = data_type_keyword(text) {
            self.advance()?;
            return Ok(DataType::scalar(base));
        }
        let class = self.ident(expected)?;
        if !self.take_word("ref")? {
            let problem = Problem::Unexpected {
                expected: "a data type, or a class and `REF`".into(),
                found: format!("`{}`", class.name),
            };
            return Err(Fault::new(problem, class.at).hint(nearest_type(text)));
        }
        let mut ty = DataType::scalar(CimType::Reference);
        ty.reference_class = Some(class.name);
        Ok(ty)
    }

    fn array(&mut self) -> Parsed<ArrayKind> {
        if !self.take_mark(b'[')? {
            return Ok(ArrayKind::Scalar);
        }
        let kind = match self.token.kind {
            TokenKind::Integer(size) => match u32::try_from(size) {
                Ok(size) if size > 0 => ArrayKind::Fixed(size),
                _ => return Err(self.unexpected("an array size from 1 to 4294967295")),
            },
            _ => ArrayKind::Array,
        };
        if kind != ArrayKind::Array {
            self.advance()?;
        }
        self.mark(b']', "after the array's size")?;
        Ok(kind)
    }

    fn parameters(&mut self) -> Parsed<Vec<ParameterDeclaration>> {
        let mut parameters: Vec<ParameterDeclaration> = Vec::new();
        if self.take_mark(b')')? {
            return Ok(parameters);
        }
        loop {
            let qualifiers = self.qualifiers()?;
            let mut ty = self.data_type("a parameter")?;
            let name = self.ident("the name of the parameter")?;
            ty.array = self.array()?;
            parameters.push(ParameterDeclaration { name, ty, qualifiers });
            if self.take_mark(b')')? {
                check_unique(parameters.iter().map(|parameter| &parameter.name))?;
                return Ok(parameters);
            }
            if !self.take_mark(b',')? {
                return Err(self.unexpected("`,` or `)` after a parameter"));
            }
        }
    }

    fn initializer(&mut self) -> Parsed<Initializer> {
        let at = self.place();
        if !self.take_mark(b'{')? {
            return Ok(Initializer { at, value: InitialValue::One(self.literal()?) });
        }
        let mut values = Vec::new();
        if !self.take_mark(b'}')? {
            loop {
                let at = self.place();
                values.push((self.literal()?, at));
                if self.take_mark(b'}')? {
                    break;
                }
                if !self.take_mark(b',')? {
                    return Err(self.unexpected("`,` or `}` after a value"));
                }
            }
        }
        Ok(Initializer { at, value: InitialValue::Many(values) })
    }

    fn literal(&mut self) -> Parsed<Literal> {
        let literal = match &self.token.kind {
            TokenKind::String(_) => return self.string("a string").map(Literal::String),
            TokenKind::Integer(n) => Literal::Integer(*n),
            TokenKind::Real(n) => Literal::Real(*n),
            TokenKind::Char(unit) => Literal::Char(*unit),
            TokenKind::Alias(text) => Literal::Alias(self.session.names.name(text)),
            TokenKind::Identifier(_) if self.is_word("true") => Literal::Boolean(true),
            TokenKind::Identifier(_) if self.is_word("false") => Literal::Boolean(false),
            TokenKind::Identifier(_) if self.is_word("null") => Literal::Null,
            TokenKind::Identifier(_) => {
                return Err(self.unexpected("a value").hint("text is written in double quotes"));
            }
            TokenKind::Pragma | TokenKind::Punctuation(_) | TokenKind::End => {
                return Err(self.unexpected("a value"));
            }
        };
        self.advance()?;
        Ok(literal)
    }

    /// One string or several side by side.
    fn string(&mut self, expected: &'static str) -> Parsed<String> {
        if !matches!(self.token.kind, TokenKind::String(_)) {
            return Err(self.unexpected(expected));
        }
        let mut text = String::new();
        while matches!(self.token.kind, TokenKind::String(_)) {
            if let TokenKind::String(piece) = self.advance()?.kind {
                text = if text.is_empty() { piece.into_owned() } else { text + &piece };
            }
        }
        Ok(text)
    }

    fn qualifier_type(&mut self) -> Parsed<QualifierType> {
        self.advance()?;
        let name = self.ident("the name of the qualifier")?;
        self.mark(b':', "before the qualifier's type")?;
        let TokenKind::Identifier(text) = self.token.kind else {
            return Err(self.unexpected("a data type"));
        };
        let Some(base) = data_type_keyword(text) else {
            return Err(self.unexpected("a data type").hint(nearest_type(text)));
        };
        self.advance()?;
        let mut ty = DataType::scalar(base);
        ty.array = self.array()?;
        let default = if self.take_mark(b'=')? { Some(self.initializer()?) } else { None };
        self.mark(b',', "and `Scope(…)` after the qualifier's type")?;
        let scopes = self.scopes()?;
        let mut flavors = Vec::new();
        if self.take_mark(b',')? {
            if !self.take_word("flavor")? {
                return Err(self.unexpected("`Flavor(…)`"));
            }
            self.mark(b'(', "after `Flavor`")?;
            loop {
                flavors.push(self.flavor()?);
                if self.take_mark(b')')? {
                    break;
                }
                self.mark(b',', "or `)` after a flavor")?;
            }
        }
        self.mark(b';', "after the qualifier's declaration")?;
        Ok(QualifierType { name, ty, default, scopes, flavors })
    }

    fn scopes(&mut self) -> Parsed<Vec<Scope>> {
        if !self.take_word("scope")? {
            return Err(self.unexpected("`Scope(…)`"));
        }
        self.mark(b'(', "after `Scope`")?;
        let mut scopes = Vec::new();
        loop {
            let TokenKind::Identifier(text) = self.token.kind else {
                return Err(self.unexpected("a scope"));
            };
            // `schema` and `qualifier` stand in old declarations; neither can carry qualifiers here.
            let is = |word: &str| text.eq_ignore_ascii_case(word);
            if is("any") {
                scopes = Scope::ALL.to_vec();
            } else if let Some((_, scope)) = SCOPES.into_iter().find(|(word, _)| is(word)) {
                if !scopes.contains(&scope) {
                    scopes.push(scope);
                }
            } else if !is("schema") && !is("qualifier") {
                return Err(self.unexpected(
                    "a scope (class, association, indication, property, reference, method, \
                     parameter, any)",
                ));
            }
            self.advance()?;
            if self.take_mark(b')')? {
                return Ok(scopes);
            }
            self.mark(b',', "or `)` after a scope")?;
        }
    }

    fn instance(&mut self, qualifiers: Vec<QualifierUse>) -> Parsed<InstanceDeclaration> {
        if !self.take_word("instance")? {
            return Err(self.unexpected("`instance of` and a class"));
        }
        if !self.take_word("of")? {
            return Err(self.unexpected("`of` after `instance`"));
        }
        let class = self.ident("the name of a class")?;
        let alias = self.alias()?;
        let namespace = self.session.namespace.clone();
        let mut properties: Vec<(Ident, Initializer)> = Vec::new();
        self.mark(b'{', "before the properties of the instance")?;
        while !self.take_mark(b'}')? {
            self.qualifiers()?;
            let name = self.ident("a property or `}`")?;
            self.mark(b'=', "after the property's name")?;
            let value = self.initializer()?;
            self.mark(b';', "after the property's value")?;
            properties.push((name, value));
        }
        check_unique(properties.iter().map(|(name, _)| name))?;
        // Not `mark`: what follows an embedded instance is ignored, so it may be no token at all.
        if !self.is_mark(b';') {
            return Err(self.unexpected("`;` after the instance"));
        }
        if self.lexer.dialect() == Dialect::Standard {
            self.advance()?;
        }
        Ok(InstanceDeclaration { class, alias, namespace, qualifiers, properties })
    }
}

const SCOPES: [(&str, Scope); 7] = [
    ("class", Scope::Class),
    ("association", Scope::Association),
    ("indication", Scope::Indication),
    ("property", Scope::Property),
    ("reference", Scope::Reference),
    ("method", Scope::Method),
    ("parameter", Scope::Parameter),
];

fn data_type_keyword(text: &str) -> Option<CimType> {
    CimType::from_name(text).filter(|ty| *ty != CimType::Reference)
}

/// A word to the author of an unknown type.
fn nearest_type(text: &str) -> &'static str {
    match text.to_ascii_lowercase().as_str() {
        "int" | "int8" | "int16" | "int32" | "int64" | "uint" | "sint" | "integer" => {
            "integers are uint8, sint8, … uint64, sint64"
        }
        "bool" => "did you mean boolean?",
        "float" | "double" | "real" => "reals are real32 and real64",
        "char" => "did you mean char16?",
        "str" | "text" => "did you mean string?",
        _ => "a reference is a class and `REF` before its name",
    }
}
