//! Queries and filters over lists (DSP0200 §5.3.2.20, §5.3.2.24.1).

use super::{ProviderError, conform::shown, core::Core};
use crate::{
    cim::{CimError, CimName, Class, Instance, OpenOptions, StatusCode},
    query::{self, Filter, Language, Query, QueryError, Schema},
    repository::Repository,
};

impl Schema for Repository {
    fn class(&self, name: &CimName) -> Option<&Class> {
        self.class_ref(name).map(|class| &**class)
    }

    fn is_a(&self, class: &CimName, ancestor: &CimName) -> bool {
        class == ancestor || Repository::is_a(self, class, ancestor)
    }

    fn is_declared_below(&self, class: &CimName, property: &CimName) -> bool {
        Repository::is_declared_below(self, class, property)
    }
}

/// What picks instances out of a list.
#[derive(Clone, Debug)]
pub(super) enum Selector {
    /// A filter of an Open… operation.
    Filter(Filter),
    /// A SELECT statement.
    Query(Query),
}

impl Selector {
    /// The instance as it is to be shown, or nothing if it is not picked. The instance has every
    /// property of its class.
    ///
    /// # Errors
    /// If nobody can tell within bounds whether it is to be picked.
    pub(super) fn pick(
        &self,
        instance: Instance,
        schema: &Repository,
    ) -> Result<Option<Instance>, ProviderError> {
        let judged = match self {
            Self::Filter(filter) => filter.judge(&instance, schema),
            Self::Query(query) => query.judge(&instance, schema),
        };
        let judged = judged.map_err(|error| ProviderError::Failed(error.to_string()))?;
        Ok((judged == Some(true)).then(|| match self {
            Self::Filter(_) => instance,
            Self::Query(query) => query.project(instance, schema),
        }))
    }
}

impl Core {
    /// The SELECT statement, checked against the schema.
    ///
    /// # Errors
    /// QUERY_LANGUAGE_NOT_SUPPORTED, INVALID_QUERY, QUERY_FEATURE_NOT_SUPPORTED.
    pub(super) fn query(&self, language: &str, text: &str) -> Result<Query, CimError> {
        let Some(language) = Language::from_name(language) else {
            return Err(unknown_language(language, "WQL and DMTF:CQL are"));
        };
        let query = query::parse(language, text, &self.query_limits).map_err(invalid)?;
        query.check(&*self.repository).map_err(invalid)?;
        Ok(query)
    }

    /// The filter of an Open… operation on instances of `class`, or of any class.
    ///
    /// # Errors
    /// INVALID_PARAMETER if only one of language and filter is there, else as for a query.
    pub(super) fn filter(
        &self,
        class: Option<&CimName>,
        open: &OpenOptions,
    ) -> Result<Option<Selector>, CimError> {
        let (language, text) = match (&open.filter_language, &open.filter) {
            (None, None) => return Ok(None),
            (Some(language), Some(text)) => (language, text),
            (None, Some(_)) | (Some(_), None) => {
                let text =
                    "FilterQueryLanguage and FilterQuery go together, received only one of them";
                return Err(CimError::new(StatusCode::InvalidParameter, text));
            }
        };
        if !Filter::is_language(language) {
            return Err(unknown_language(language, "DMTF:FQL is"));
        }
        let filter = Filter::parse(text, &self.query_limits).map_err(invalid)?;
        if let Some(class) = class {
            filter.check(class, &*self.repository).map_err(invalid)?;
        }
        Ok(Some(Selector::Filter(filter)))
    }
}

fn unknown_language(language: &str, known: &str) -> CimError {
    let language = shown(language);
    let text = format!("query language `{language}` is not supported: {known}");
    CimError::new(StatusCode::QueryLanguageNotSupported, text)
}

fn invalid(error: QueryError) -> CimError {
    let status = match error {
        QueryError::Unsupported { .. } => StatusCode::QueryFeatureNotSupported,
        _ => StatusCode::InvalidQuery,
    };
    CimError::new(status, error.to_string())
}
